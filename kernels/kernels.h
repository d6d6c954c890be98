/* Fast loops, one table of function pointers per instruction set level.
 *
 * kernels_fill writes the scalar functions first and lets every level that the CPU has overwrite what it improves. Each field is documented by the loop
 * that it replaces; scalar.c is that loop. Kernels are single-threaded, never allocate and cannot fail: callers check ranges before. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Kernels {
    const char *isa;               /* "scalar", "avx2", "avx512", "avx512vnni", "neon" */
} Kernels;

int  kernels_levels(void);                     /* levels that this CPU and OS can run, >= 1; level 0 is scalar */
void kernels_fill(Kernels *k, int level);
const Kernels *kernels_best(void);             /* highest level, or the one that $ONESHOT_ISA names ("scalar", "avx2" ...) */
