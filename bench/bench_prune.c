/* The pruning pass (threshold and masking, 80 % zeros, unstructured) beside memcpy of the same bytes: on the weights of a model, layer by layer and by one
 * threshold, and on one synthetic layer. All contestants take turns in one run, with 1 thread and with all; medians, fastest and slowest.
 *
 *     bench_prune [--rounds N] [--bytes N] [MODEL.onnx]      default: 7 rounds, 1 GiB, $ONESHOT_MODELS/resnet50.onnx if it is there
 *
 * Both memcpy and the pruning pass run over memory that was written before: page faults belong to neither. memcpy with 2 threads copies a half in each,
 * which start together once for all layers. */
#include "engine/infer.h"
#include "engine/seconds.h"
#include "kernels/kernels.h"
#include "kernels/whole.h"
#include "recipes/prune.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MOST = 101, LAYERS_MOST = 1024, THREADS_MOST = 2 };

/* Layers of float weights: pristine ones, and the ones that are pruned or copied to, which a model of nothing else holds. */
typedef struct Set {
    int n;
    float *from[LAYERS_MOST], *to[LAYERS_MOST];
    Model model;
    Constant constant[LAYERS_MOST];
    Weight weight[LAYERS_MOST];
    int64_t bytes;
} Set;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "bench_prune: %s: %s\n", what, err_text());
    exit(1);
}

static void set_add(Set *s, int64_t rows, int64_t columns)
{
    if (s->n == LAYERS_MOST)
        die("too many layers");
    size_t bytes = (size_t)(rows * columns) * sizeof(float);
    s->from[s->n] = block_new(bytes);
    s->to[s->n] = block_new(bytes);
    if (!s->from[s->n] || !s->to[s->n])
        die("out of memory");
    s->constant[s->n] = (Constant) { .name = "w", .tensor = { DT_F32, shape_of(2, (int64_t[2]) { rows, columns }), bytes, s->to[s->n] }, .edited = true };
    s->weight[s->n] = (Weight) { .constant = &s->constant[s->n], .name = "w", .n_axis = 2, .elements = rows * columns, .quant_axis = -1,
                                 .axis = { { AXIS_OUT, rows, columns }, { AXIS_IN, columns, 1 } } };
    s->n++;
    s->bytes += (int64_t)bytes;
}

/* One parallel region, each thread its part of every layer. */
static void copy(const Set *s, int threads)
{
    #pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int t = 0; t < threads; t++)
        for (int i = 0; i < s->n; i++) {
            size_t bytes = s->constant[i].tensor.bytes, part = to_line(bytes / (size_t)threads);
            size_t begin = (size_t)t * part < bytes ? (size_t)t * part : bytes, end = begin + part < bytes ? begin + part : bytes;
            memcpy((char *)s->to[i] + begin, (const char *)s->from[i] + begin, end - begin);
        }
}

static void prune(Set *s, int threads)
{
    omp_set_num_threads(threads);
    for (int i = 0; i < s->n; i++)
        s->weight[i].zeros = 0;
    s->model.arena = arena_new();
    const PruneOptions o = { .sparsity = 0.8 };
    PruneResult *r = NULL;
    if (!s->model.arena || prune_plan(&s->model, s->weight, s->n, &o, NULL, &r) != OK || prune_apply(&s->model, &o, r, NULL) != OK)
        die("pruning");
    if (r->zeros_after != llround(0.8 * (double)r->prunable))
        die("the number of zeros is wrong");
    arena_free(s->model.arena);
}

typedef struct Series { double time[ROUNDS_MOST]; } Series;

static void report(const char *what, int threads, const Set *s, Series *x, int rounds)
{
    qsort(x->time, (size_t)rounds, sizeof *x->time, by_value);
    double g = (double)s->bytes / 1e9;
    printf("  %-6s %d threads  %8.2f ms  (%.2f to %.2f)  %6.2f GB/s\n", what, threads, 1e3 * x->time[rounds / 2], 1e3 * x->time[0], 1e3 * x->time[rounds - 1],
           g / x->time[rounds / 2]);
}

static void compare(const char *name, Set *s, int rounds)
{
    static Series copies[THREADS_MOST + 1], prunes[THREADS_MOST + 1];
    double ratio[THREADS_MOST + 1];
    int most = omp_get_num_procs() < THREADS_MOST ? omp_get_num_procs() : THREADS_MOST;
    for (int r = -1; r < rounds; r++)
        for (int t = 1; t <= most; t++) {
            double a = seconds_now();
            copy(s, t);
            double b = seconds_now();
            prune(s, t);
            double c = seconds_now();
            if (r < 0)
                continue;              /* the first round warms up */
            copies[t].time[r] = b - a;
            prunes[t].time[r] = c - b;
        }
    printf("%s: %d layers, %.1f MB\n", name, s->n, (double)s->bytes / 1e6);
    for (int t = 1; t <= most; t++) {
        report("memcpy", t, s, &copies[t], rounds);
        report("prune", t, s, &prunes[t], rounds);
        ratio[t] = copies[t].time[rounds / 2] / prunes[t].time[rounds / 2];
    }
    for (int t = 1; t <= most; t++)
        printf("  rate of pruning / rate of memcpy, %d threads: %.2f (wanted: 0.50)\n", t, ratio[t]);
}

static void load_model(const char *path, Set *s)
{
    Model *m;
    Weight *w = NULL;
    const char *complaint = NULL;
    int n = 0;
    if (model_load(path, &m) != OK || ops_bind(m) != OK || infer(m, NULL, 0, &complaint) != OK || weights_find(m, &w, &n) != OK)
        die(path);
    for (int i = 0; i < n; i++) {
        if (w[i].constant->tensor.dtype != DT_F32 || w[i].keep != KEEP_NOT)
            continue;
        int64_t rows = w[i].constant->tensor.shape.dim[0];
        set_add(s, rows, w[i].elements / rows);
        if (constant_fetch(m, w[i].constant) != OK)
            die(path);
        memcpy(s->from[s->n - 1], w[i].constant->tensor.data, (size_t)w[i].elements * sizeof(float));
    }
    model_free(m);
}

/* A trained layer looks about so: bell-shaped, output channels of different scale. */
static void make_layer(Set *s, int64_t bytes)
{
    int64_t columns = 8192, rows = bytes / (columns * (int64_t)sizeof(float));
    set_add(s, rows, columns);
    uint32_t x = 1;
    for (int64_t i = 0; i < rows * columns; i++) {
        float sum = 0;
        for (int k = 0; k < 4; k++) {
            x = x * 1664525u + 1013904223u;
            sum += (float)(int32_t)x * 0x1p-31f;
        }
        s->from[0][i] = sum * (0.8f + (float)(i / columns % 7) / 16);
    }
}

int main(int argc, char **argv)
{
    int rounds = 7;
    int64_t bytes = (int64_t)1 << 30;
    char found[4096];
    const char *path = NULL, *models = getenv("ONESHOT_MODELS");
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = atoi(argv[++i]);
        else if (strcmp(argv[i], "--bytes") == 0 && i + 1 < argc)
            bytes = atoll(argv[++i]);
        else
            path = argv[i];
    if (!path && models && snprintf(found, sizeof found, "%s/resnet50.onnx", models) < (int)sizeof found) {
        FILE *f = fopen(found, "rb");
        path = f ? found : NULL;
        if (f)
            fclose(f);
    }
    if (rounds < 1 || rounds > ROUNDS_MOST || bytes < 1 << 20 || !kernels_best())
        die("bad arguments");
    printf("kernels: %s; %d processors\n", kernels_best()->isa, omp_get_num_procs());
    static Set model, layer;
    if (path) {
        load_model(path, &model);
        compare(path, &model, rounds);
    } else
        printf("no model: give one, or set ONESHOT_MODELS\n");
    make_layer(&layer, bytes);
    compare("one synthetic layer", &layer, rounds);
    return 0;
}
