/* What the rows of products share. */
#pragma once
#include "engine/infer.h"

/* Multiply-adds: product of all sizes of s times the n sizes of `factor`. ERR_SHAPE while any of them is unknown or symbolic, or beyond 2^62. */
Err macs_of(const Shape *s, const int64_t *factor, int n, int64_t *macs);
