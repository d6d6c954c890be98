#include "engine/post.h"
#include "kernels/whole.h"

/* To rows of n elements, ld apart. */
static void apply(const Kernels *kernels, const Post *p, float *y, size_t at, int rows, size_t n, size_t ld)
{
    if (!p->combines) kernels->activate_rows_f32(&p->activate, y + at, rows, n, ld);
    for (int r = 0; p->combines && r < rows; r++, at += ld) kernels->combine_f32(&(Combine){ p->arithmetic, 1, 1 }, y + at, p->operand + at, y + at, n);
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
        for (size_t from = 0; from < n; from += PIECE)
            for (int i = 0; i < posts->n; i++)
                apply(kernels, &posts->post[i], a->y, a->at + (size_t)r * a->ld + from, least(rows - r, together), n - from < PIECE ? n - from : PIECE, a->ld);
}
