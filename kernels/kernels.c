/* Which instruction sets this CPU and OS run, and the table for each. */
#include "kernels/levels.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct Level {
    const char *isa;
    bool (*runs)(void);
    void (*fill)(Kernels *k);
} Level;

static bool always(void) { return true; }

static void fill_scalar(Kernels *k)
{
    prune_scalar(k);
    rows_scalar(k);
    plane_scalar(k);
    panel_scalar(k);
    few_scalar(k);
    winograd_scalar(k);
}

#if defined(__x86_64__)
/* __builtin_cpu_supports also asks the OS whether it saves the wide registers. */
static bool runs_avx2(void)
{
    /* Every CPU with AVX2 has F16C, which clang 14 cannot ask for. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

static bool runs_avx512(void)
{
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}

static bool runs_avx512vnni(void)
{
    return runs_avx512() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}

static void fill_avx2(Kernels *k)
{
    prune_avx2(k);
    rows_avx2(k);
    plane_avx2(k);
    panel_avx2(k);
    pack_avx2(k);
    few_avx2(k);
    winograd_avx2(k);
}

static void fill_avx512(Kernels *k)
{
    prune_avx512(k);
    rows_avx512(k);
    plane_avx512(k);
    panel_avx512(k);
    pack_avx512(k);
    few_avx512(k);
    winograd_avx512(k);
}

static void fill_avx512vnni(Kernels *k)
{
    (void)k;
}

static const Level level_table[] = {
    { "scalar", always, fill_scalar },
    { "avx2", runs_avx2, fill_avx2 },
    { "avx512", runs_avx512, fill_avx512 },
    { "avx512vnni", runs_avx512vnni, fill_avx512vnni },
};
#elif defined(__aarch64__)
static void fill_neon(Kernels *k)
{
    prune_neon(k);
}

static const Level level_table[] = {
    { "scalar", always, fill_scalar },
    { "neon", always, fill_neon },     /* part of the architecture */
};
#else
static const Level level_table[] = {
    { "scalar", always, fill_scalar },
};
#endif

enum { LEVELS = sizeof level_table / sizeof level_table[0] };

int kernels_levels(void)
{
    int n = 1;
    while (n < LEVELS && level_table[n].runs())
        n++;
    return n;
}

const char *kernels_isa(int level)
{
    return level_table[level].isa;
}

void kernels_fill(Kernels *k, int level)
{
    for (int i = 0; i <= level; i++)
        level_table[i].fill(k);
    k->isa = level_table[level].isa;
}

static Kernels best;
static pthread_once_t best_once = PTHREAD_ONCE_INIT;

static void best_fill(void)
{
    const char *wanted = getenv("ONESHOT_ISA");
    for (int level = kernels_levels() - 1; level >= 0; level--)
        if (!wanted || !*wanted || strcmp(wanted, kernels_isa(level)) == 0) {
            kernels_fill(&best, level);
            return;
        }
}

const Kernels *kernels_best(void)
{
    pthread_once(&best_once, best_fill);
    return best.isa ? &best : NULL;
}
