/* Comparisons of the panel kernels, for kernel_cases.c, and what other tests of products draw. */
#pragma once
#include "kernels/kernels.h"
#include "tests/random.h"

void compare_pack(const Kernels *scalar, const Kernels *level, Random *r);
void compare_dense(const Kernels *scalar, const Kernels *level, Random *r);
void check_long_sums(const Kernels *k);
void compare_split(const Kernels *scalar, const Kernels *level, Random *r);
void compare_transpose(const Kernels *scalar, const Kernels *level, Random *r);
void compare_depthwise(const Kernels *scalar, const Kernels *level, Random *r);
void compare_sparse(const Kernels *scalar, const Kernels *level, Random *r);
void compare_gather(const Kernels *scalar, const Kernels *level, Random *r);
void compare_bitmap(const Kernels *scalar, const Kernels *level, Random *r);
void check_few_bytes(void);

/* A random window: half of them keep the size of the image (stride 1, "same" padding), a tenth are plain matrices. */
PanelWindow draw_window(Random *r);
