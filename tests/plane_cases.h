/* Comparisons of the entries of kernels/plane.h, for tests/kernel_cases.c. */
#pragma once
#include "tests/kernel_cases.h"

void compare_pool(const Kernels *scalar, const Kernels *level, Random *r);
