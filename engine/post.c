#include "engine/post.h"

static void apply(const Kernels *kernels, const Post *p, float *y, size_t at, size_t n)
{
    if (p->combines) kernels->combine_f32(&(Combine){ p->arithmetic, 1, 1 }, y + at, p->operand + at, y + at, n);
    else kernels->activate_f32(&p->activate, y + at, y + at, n);
}

void posts_apply(const Kernels *kernels, const Posts *posts, const PostArea *a)
{
    for (int r = 0; posts->n && r < a->rows; r++)
        for (int i = 0; i < posts->n; i++) apply(kernels, &posts->post[i], a->y, a->at + (size_t)r * a->ld, (size_t)a->columns);
}
