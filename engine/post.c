#include "engine/post.h"

static void apply(const Kernels *kernels, const Post *p, float *y, size_t at, size_t n)
{
    if (p->combines) kernels->combine_f32(&(Combine){ p->arithmetic, 1, 1 }, y + at, p->operand + at, y + at, n);
    else kernels->activate_f32(&p->activate, y + at, y + at, n);
}

/* Rows without a gap between them are taken together, a piece that stays in L1 at a time: planes of one pixel are many. */
void posts_apply(const Kernels *kernels, const Posts *posts, const PostArea *a)
{
    enum { PIECE = 2048 };
    size_t n = (size_t)a->columns, total = n * (size_t)a->rows, step = n < PIECE && a->ld == n ? PIECE : n, ld = a->ld == n ? step : a->ld;
    for (size_t at = a->at, done = 0; posts->n && done < total; at += ld, done += step)
        for (int i = 0; i < posts->n; i++) apply(kernels, &posts->post[i], a->y, at, total - done < step ? total - done : step);
}
