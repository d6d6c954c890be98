/* What measurements share: clock, memory, random numbers, statistics, and the limits of this CPU. */
#pragma once
#include "kernels/kernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define countof(array) (sizeof(array) / sizeof((array)[0]))
enum { MOST_ROUNDS = 99 };

/* One thread is timed by its own CPU time: what other processes take does not count, though what they do to caches and clock does. */
static clockid_t the_clock = CLOCK_THREAD_CPUTIME_ID;

static inline double now(void)
{
    struct timespec t;
    clock_gettime(the_clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void *zeroed(size_t bytes)
{
    const size_t page = 2 << 20;                               /* large pages, as plans use */
    bytes = (bytes + page - 1) / page * page;
    void *p = aligned_alloc(page, bytes);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(8);
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    return memset(p, 0, bytes);
}

static inline double uniform(void)
{
    static uint64_t seed = 88172645463325252u;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (double)(seed >> 11) * 0x1p-53;
}

static inline int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double quantile(const double *values, int n, double q)
{
    double sorted[MOST_ROUNDS];
    memcpy(sorted, values, (size_t)n * sizeof *values);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return sorted[(int)(q * (n - 1) + 0.5)];
}

#if defined(__x86_64__)
/* 12 chains of fused multiply-adds in registers only, as wide as the kernels that are measured. */
#define ZERO(v, n) "vxorps %%" v #n ", %%" v #n ", %%" v #n "\n"
#define MADD(v, n) "vfmadd231ps %%" v "12, %%" v "12, %%" v #n "\n"
#define TWELVE(x, v) x(v, 0) x(v, 1) x(v, 2) x(v, 3) x(v, 4) x(v, 5) x(v, 6) x(v, 7) x(v, 8) x(v, 9) x(v, 10) x(v, 11)
#define CHAINS(v, turns) __asm__ volatile(TWELVE(ZERO, v) ZERO(v, 12) "1:\n" TWELVE(MADD, v) "dec %0; jnz 1b; vzeroupper" : "+r"(turns) : : \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "cc")
static inline double peak_gflops(const Kernels *kernels)
{
    enum { TURNS = 400000 };
    uint64_t turns = TURNS;
    double t = now();
    bool wide = !strncmp(kernels->isa, "avx512", 6);
    if (wide)
        CHAINS("zmm", turns);
    else
        CHAINS("ymm", turns);
    return 1e-9 * 2 * (wide ? 16 : 8) * 12 * TURNS / (now() - t);
}
#else
static inline double peak_gflops(const Kernels *kernels)
{
    (void)kernels;
    return NAN;
}
#endif

/* Reads a block again and again with 256-bit loads: bytes in a nanosecond. */
#if defined(__x86_64__)
static inline double read_rate(size_t bytes)
{
    enum { AT_ONCE = 256, ENOUGH = 64 << 20 };
    char *block = zeroed(bytes);
    double start = now();
    size_t done = 0;
    for (; done < ENOUGH; done += bytes)
        for (const char *p = block; p < block + bytes; p += AT_ONCE)
            __asm__ volatile("vmovaps (%0), %%ymm0; vmovaps 32(%0), %%ymm1; vmovaps 64(%0), %%ymm2; vmovaps 96(%0), %%ymm3\n"
                             "vmovaps 128(%0), %%ymm4; vmovaps 160(%0), %%ymm5; vmovaps 192(%0), %%ymm6; vmovaps 224(%0), %%ymm7; vzeroupper"
                             : : "r"(p) : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "memory");
    start = now() - start;
    free(block);
    return 1e-9 * (double)done / start;
}
#else
static inline double read_rate(size_t bytes)
{
    (void)bytes;
    return NAN;
}
#endif
