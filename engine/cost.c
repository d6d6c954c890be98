#include "engine/cost.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "kernels/whole.h"
#include "onnx/file.h"

static const char *const NAME[VARIANTS] = { "dense", "winograd-2", "winograd-4", "sparse", "tokens-dense", "tokens-sparse", "tokens-gather", "tokens-bitmap" };

const char *variant_name(Variant variant) { return NAME[variant]; }

static double columns_of(Variant v, const ProductSize *s)
{
    enum { REGISTER = 16 };
    int64_t columns = s->batch * s->height * s->width;
    if (v == VARIANT_TOKENS_GATHER) return (double)((columns + 1) / 2);
    return (double)(v == VARIANT_TOKENS_DENSE || v == VARIANT_TOKENS_BITMAP ? columns : round_up(columns, REGISTER));
}

/* How long reading a weight takes from the L2 cache, of what it takes from L3: 384 x 384 weights and one token on an Emerald Rapids. */
static const double NEAR = 0.2;

/* Pixels that are gathered one by one take twice as long. */
static void winograd_terms(int m, const ProductSize *s, double x[COST_TERMS])
{
    const WinogradForm f = winograd_form(m, s->kernel, s->stride);
    double tiles = (double)(s->batch * pieces_in(s->height, m) * pieces_in(s->width, m));
    int channels = (int)s->k / (s->kernel * s->kernel);
    x[3] = s->rows * channels * winograd_products(&f);
    x[0] = x[3] * tiles;
    x[1] = (double)round_up(channels * f.stride * f.stride, WINOGRAD_LANES) * tiles * m * m * winograd_step(&f, channels);
    x[2] = s->rows * tiles * m * m;
}

static void terms_of(Variant v, const ProductSize *s, double x[COST_TERMS])
{
    if (variant_is_winograd(v)) {
        winograd_terms(v == VARIANT_WINOGRAD_2 ? 2 : 4, s, x);
        return;
    }
    double columns = columns_of(v, s), weights = variant_is_sparse(v) ? s->nonzeros : s->rows * s->k;
    bool bitmap = v == VARIANT_TOKENS_BITMAP;
    x[0] = (bitmap ? s->rows * s->k : weights) * columns;
    x[1] = s->k * (bitmap ? s->rows : columns);
    x[2] = s->rows * columns;
    x[3] = weights * (s->near && v == VARIANT_TOKENS_DENSE ? NEAR : 1);
}

double cost_seconds(const Cost *cost, Variant variant, const ProductSize *size)
{
    double x[COST_TERMS], sum = 0;
    terms_of(variant, size, x);
    for (int i = 0; i < COST_TERMS; i++) sum += cost->term[variant][i] * x[i];
    return sum;
}

/* Fitting ----------------------------------------------------------------------------------------------------------------------------- */

/* Solves the normal equations for the terms that are in use; the others are 0. Gaussian elimination with the largest pivot. */
static void solve(double a[COST_TERMS][COST_TERMS + 1], const bool used[COST_TERMS], double out[COST_TERMS])
{
    int order[COST_TERMS], n = 0;
    double m[COST_TERMS][COST_TERMS + 1];
    for (int i = 0; i < COST_TERMS; i++) { out[i] = 0; if (used[i]) order[n++] = i; }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) m[i][j] = a[order[i]][order[j]];
        m[i][n] = a[order[i]][COST_TERMS];
    }
    for (int i = 0; i < n; i++) {
        int pivot = i;
        for (int r = i + 1; r < n; r++) if (m[r][i] * m[r][i] > m[pivot][i] * m[pivot][i]) pivot = r;
        if (m[pivot][i] == 0) continue;
        for (int j = 0; j <= n; j++) { double t = m[i][j]; m[i][j] = m[pivot][j]; m[pivot][j] = t; }
        for (int r = 0; r < n; r++) {
            double f = r == i ? 0 : m[r][i] / m[i][i];
            for (int j = i; j <= n; j++) m[r][j] -= f * m[i][j];
        }
    }
    for (int i = 0; i < n; i++) if (m[i][i] != 0) out[order[i]] = m[i][n] / m[i][i];
}

void cost_fit(Variant variant, const CostSample *sample, int n, double term[COST_TERMS])
{
    static const double UNIT[COST_TERMS] = { 1e8, 1e6, 1e6, 1e6 };         /* common sizes of the terms, for equations of like numbers */
    double a[COST_TERMS][COST_TERMS + 1] = { 0 };
    bool used[COST_TERMS] = { true, true, true, true };
    for (int k = 0; k < n; k++) {
        double x[COST_TERMS], scale = 1 / sample[k].seconds;
        terms_of(variant, &sample[k].size, x);
        for (int i = 0; i < COST_TERMS; i++) x[i] /= UNIT[i];
        for (int i = 0; i < COST_TERMS; i++) {
            for (int j = 0; j < COST_TERMS; j++) a[i][j] += x[i] * x[j] * scale * scale;
            a[i][COST_TERMS] += x[i] * scale;
        }
    }
    for (int left = COST_TERMS; left > 0; left--) {            /* the most negative term leaves, until none is */
        int worst = -1;
        solve(a, used, term);
        for (int i = 0; i < COST_TERMS; i++) if (term[i] < 0 && (worst < 0 || term[i] * a[i][i] < term[worst] * a[worst][worst])) worst = i;
        if (worst < 0) break;
        used[worst] = false;
    }
    for (int i = 0; i < COST_TERMS; i++) term[i] /= UNIT[i];
}

/* The file ------------------------------------------------------------------------------------------------------------------------------ */

/* Grows when the terms of a variant count something else. */
enum { TERMS_VERSION = 2 };

/* The line that a file must begin with to count. */
static void headline(char *text, size_t size)
{
    char line[256], cpu[200] = "unknown";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "model name", 10) && strchr(line, ':')) {
            snprintf(cpu, sizeof cpu, "%s", strchr(line, ':') + 2);
            cpu[strcspn(cpu, "\n")] = 0;
            break;
        }
    if (f) fclose(f);
    const Kernels *kernels = kernels_best();
    snprintf(text, size, "oneshot %s, terms %d, %s, %s\n", ONESHOT_VERSION, TERMS_VERSION, kernels ? kernels->isa : "none", cpu);
}

const char *cost_path(void)
{
    static char path[4096];
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    path[0] = 0;
    if (cache && *cache) snprintf(path, sizeof path, "%s/oneshot/cost.txt", cache);
    else if (home && *home) snprintf(path, sizeof path, "%s/.cache/oneshot/cost.txt", home);
    return path;
}

/* Makes the folders above the file. What cannot be made shows when the file is opened. */
static void make_folders(const char *path)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *at = folder + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(folder, 0777);
        *at = '/';
    }
}

Err cost_check(const char *path)
{
    Arena *arena = arena_new();
    if (!arena) return err_set(ERR_NOMEM, "Out of memory.");
    make_folders(path);
    Err e = out_check(arena, path);
    arena_free(arena);
    return e;
}

Err cost_write(const Cost *cost, const char *path)
{
    char text[2048];
    headline(text, sizeof text);
    size_t at = strlen(text);
    for (int f = 0; f < VARIANTS; f++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s %.6g %.6g %.6g %.6g\n", NAME[f], cost->term[f][0], cost->term[f][1], cost->term[f][2], cost->term[f][3]);
    make_folders(path);
    Arena *arena = arena_new();
    if (!arena) return err_set(ERR_NOMEM, "Out of memory.");
    OutFile file;
    Err e = out_open(arena, path, &file);
    if (e == OK) {
        e = out_write(&file, &(Span){ (const uint8_t *)text, at }, 1);
        if (e == OK) e = out_sync(&file);
        if (e == OK) e = out_commit(&file);
        out_close(&file);
    }
    arena_free(arena);
    return e;
}

Err cost_read(const char *path, Cost *out)
{
    char wanted[512], line[512];
    Cost cost = { .measured = true };
    FILE *f = fopen(path, "r");
    headline(wanted, sizeof wanted);
    if (!f) return err_set(ERR_IO, "%s cannot be read.", path);
    bool fits = fgets(line, sizeof line, f) && !strcmp(line, wanted);
    for (int i = 0; fits && i < VARIANTS; i++) {
        char name[32];
        double *t = cost.term[i];
        fits = fgets(line, sizeof line, f) && sscanf(line, "%31s %lf %lf %lf %lf", name, &t[0], &t[1], &t[2], &t[3]) == 5 && !strcmp(name, NAME[i]);
        for (int k = 0; fits && k < COST_TERMS; k++) fits = t[k] >= 0 && t[k] < 1;
    }
    fclose(f);
    if (!fits) return err_set(ERR_FORMAT, "%s was not written by this version of oneshot on this CPU.", path);
    *out = cost;
    return OK;
}

/* Built in ------------------------------------------------------------------------------------------------------------------------------ */

/* By `oneshot tune` on an AMD EPYC (Zen 4), and what few tokens depend on, reading the weights of tokens and gathering, on an Intel Xeon (Emerald Rapids), whose L3 cache
 * is nearer to that of other servers; November 2026. Instruction sets without a row of their own count as scalar: what they multiply is not known. */
static const struct { const char *isa; Cost cost; } BUILT_IN[] = {
    { "avx512", { .term = {
        { 1.53e-11, 1.68e-10, 1.43e-10, 0 }, { 1.75e-11, 3.11e-10, 7.64e-10, 3.06e-11 }, { 1.50e-11, 5.58e-10, 4.44e-10, 8.88e-11 },
        { 1.94e-11, 7.00e-11, 1.20e-10, 1.16e-10 }, { 1.66e-11, 9.02e-11, 8.23e-11, 1.28e-10 }, { 1.87e-11, 3.46e-10, 1.30e-10, 4.10e-10 },
        { 2.00e-10, 3.40e-9, 2.00e-9, 4.00e-11 }, { 7.00e-12, 5.20e-11, 2.00e-9, 4.50e-11 } } } },
    { "avx2", { .term = {
        { 1.58e-11, 1.89e-10, 2.04e-10, 0 }, { 1.72e-11, 1.03e-9, 7.48e-10, 1.05e-10 }, { 1.77e-11, 6.43e-10, 6.99e-10, 5.89e-11 },
        { 2.07e-11, 9.67e-11, 1.81e-10, 9.76e-11 }, { 1.73e-11, 0, 1.17e-10, 1.10e-10 }, { 2.17e-11, 3.69e-10, 3.06e-10, 8.68e-11 },
        { 2.70e-10, 1.80e-9, 1.00e-9, 0 }, { 1.50e-11, 1.10e-10, 1.00e-9, 4.00e-11 } } } },
    { "", { .term = {
        { 6.50e-10, 1.04e-8, 0, 0 }, { 5.22e-10, 0, 0, 4.98e-9 }, { 5.44e-10, 0, 0, 1.27e-9 },
        { 2.99e-10, 9.27e-9, 3.00e-9, 0 }, { 7.30e-10, 0, 0, 1.06e-10 }, { 1.08e-10, 9.26e-9, 5.17e-9, 0 },
        { 1.10e-9, 0, 0, 0 }, { 6.20e-10, 9.60e-10, 0, 4.40e-11 } } } },
};

static Cost here;
static pthread_once_t here_once = PTHREAD_ONCE_INIT;

static void find_here(void)
{
    const Kernels *kernels = kernels_best();
    int row = 0;
    if (cost_read(cost_path(), &here) == OK) return;
    while (kernels && strncmp(kernels->isa, BUILT_IN[row].isa, strlen(BUILT_IN[row].isa))) row++;
    here = BUILT_IN[row].cost;
}

const Cost *cost_here(void)
{
    pthread_once(&here_once, find_here);
    return &here;
}
