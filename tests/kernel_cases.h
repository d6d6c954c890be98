/* One row for each entry of the kernel table: how to compare an implementation with the scalar one, and what to time. */
#pragma once
#include "kernels/kernels.h"
#include "tests/random.h"

typedef struct KernelCase {
    const char *name;
    size_t field;                                  /* offset in Kernels */
    /* Calls both tables on random inputs of random size and asserts what the entry promises. Draws nothing but from r. */
    void (*compare)(const Kernels *scalar, const Kernels *level, Random *r);
} KernelCase;

extern const KernelCase kernel_cases[];
extern const int kernel_case_count;
