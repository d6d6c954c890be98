/* Comparisons of the panel kernels, for kernel_cases.c. */
#pragma once
#include "kernels/kernels.h"
#include "tests/random.h"

void compare_pack(const Kernels *scalar, const Kernels *level, Random *r);
void compare_dense(const Kernels *scalar, const Kernels *level, Random *r);
void compare_sparse(const Kernels *scalar, const Kernels *level, Random *r);
