/* Comparisons of the kernels of Winograd convolutions, for kernel_cases.c. */
#pragma once
#include "kernels/kernels.h"
#include "tests/random.h"

void compare_interleave(const Kernels *scalar, const Kernels *level, Random *r);
void compare_winograd_input(const Kernels *scalar, const Kernels *level, Random *r);
void compare_winograd_product(const Kernels *scalar, const Kernels *level, Random *r);
void compare_winograd_output(const Kernels *scalar, const Kernels *level, Random *r);
void compare_winograd_finish(const Kernels *scalar, const Kernels *level, Random *r);
