#include "engine/post.h"
#include "kernels/whole.h"

static void apply(const Kernels *kernels, const Post *p, const PostArea *a)
{
    const size_t n = (size_t)a->columns;
    size_t at = a->at;
    if (!p->combines) kernels->activate_f32(&p->activate, a->y + at, a->y + at, a->rows, n, a->ld);
    for (int r = 0; p->combines && r < a->rows; r++, at += a->ld)
        kernels->combine_f32(&(Combine){ p->arithmetic, 1, 1 }, a->y + at, p->operand + at, a->y + at, n);
}

/* Rows without a gap between them are one. A piece that stays in L1 at a time. */
void posts_apply(const Kernels *kernels, const Posts *posts, const PostArea *a)
{
    enum { PIECE = 2048 };
    const bool one = a->ld == (size_t)a->columns;
    const size_t n = (size_t)a->columns * (one ? (size_t)a->rows : 1);
    if (!posts->n || !n) return;
    const int rows = one ? 1 : a->rows, together = n < PIECE ? (int)(PIECE / n) : 1;
    for (int r = 0; r < rows; r += together)
        for (size_t from = 0; from < n; from += PIECE) {
            const PostArea piece = { a->y, a->at + (size_t)r * a->ld + from, a->ld, least(rows - r, together), n - from < PIECE ? (int)(n - from) : PIECE };
            for (int i = 0; i < posts->n; i++) apply(kernels, &posts->post[i], &piece);
        }
}
