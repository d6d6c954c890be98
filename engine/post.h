/* Posts: element-wise work on the results of a step, done piece by piece while they are in cache. */
#pragma once
#include "kernels/kernels.h"

enum { MAX_POSTS = 4 };

/* y = activation(y), or y = y op operand, where operand is shaped like y. */
typedef struct Post {
    bool combines;
    Arithmetic arithmetic;
    int input;                 /* which input of the step the operand is */
    const float *operand;      /* its data, during a run */
    Activate activate;
} Post;

typedef struct Posts { int n; Post post[MAX_POSTS]; } Posts;

/* Where: `rows` pieces of `columns` elements, `ld` apart, the first at y + at; operands likewise. */
typedef struct PostArea { float *y; size_t at, ld; int rows, columns; } PostArea;
/* All posts in order. */
void posts_apply(const Kernels *kernels, const Posts *posts, const PostArea *area);
