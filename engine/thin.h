/* A 1x1 convolution with strides reads every step-th pixel of every step-th row. What only such read can be thinned out where it is made: a quarter of it, for a
 * stride of 2, goes on to them, and they have no stride then. */
#pragma once
#include "engine/plan.h"

/* Images (N, C, H, W), and what is left of them. */
typedef struct Thin { Value *of, *value; int64_t step; } Thin;

/* The stride of a convolution that is such a one; 0: it is none. */
int64_t thin_step(const Node *n);
/* A copy of the node that reads t->value instead, with a stride of 1. Memory is the plan's. */
Err thin_node(Plan *p, const Node *n, const Thin *t, Node **out);
/* What is left of so many rows or pixels. */
static inline int64_t thin_size(int64_t n, int64_t step) { return (n + step - 1) / step; }
