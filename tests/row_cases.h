/* Comparisons of the entries of kernels/rows.h, for tests/kernel_cases.c. */
#pragma once
#include "tests/kernel_cases.h"

void compare_activate(const Kernels *scalar, const Kernels *level, Random *r);
void compare_combine(const Kernels *scalar, const Kernels *level, Random *r);
void compare_softmax(const Kernels *scalar, const Kernels *level, Random *r);
void compare_softmax_columns(const Kernels *scalar, const Kernels *level, Random *r);
void compare_normalize_columns(const Kernels *scalar, const Kernels *level, Random *r);
void compare_normalize(const Kernels *scalar, const Kernels *level, Random *r);
void compare_total(const Kernels *scalar, const Kernels *level, Random *r);
void compare_widen(const Kernels *scalar, const Kernels *level, Random *r);
void compare_narrow(const Kernels *scalar, const Kernels *level, Random *r);
