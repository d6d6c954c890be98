/* The products on layer shapes of real networks, convolutions and products of tokens, packing of activations included: dense against the rate of fused
 * multiply-adds that this CPU reaches in the same run, sparse (random masks) against dense, and OpenBLAS's sgemm (without im2col, which convolutions would need)
 * where it is installed. All variants of a layer take turns. Prints the median and, for ratios, the quartiles of the rounds. One thread unless told; net: only layers
 * whose network begins so.
 * usage: bench_kernels [rounds [threads [net]]] */
#include "bench/measure.h"
#include "engine/tokens.h"
#include <dlfcn.h>

enum { SPARSITIES = 4, VARIANTS = 2 + SPARSITIES };  /* dense, OpenBLAS, sparse ... */
static const double sparsity[SPARSITIES] = { 0.5, 0.7, 0.8, 0.9 };

/* channels, outputs, output size, kernel, stride, times in the network; kernel 0: a product of `size` tokens */
typedef struct Layer { const char *net; int c, m, size, kernel, stride, times; } Layer;
static const Layer layers[] = {
    { "resnet50", 3, 64, 112, 7, 2, 1 }, { "resnet50", 64, 64, 56, 1, 1, 1 }, { "resnet50", 256, 64, 56, 1, 1, 2 }, { "resnet50", 64, 64, 56, 3, 1, 3 },
    { "resnet50", 64, 256, 56, 1, 1, 4 }, { "resnet50", 256, 128, 56, 1, 1, 1 }, { "resnet50", 128, 128, 28, 3, 2, 1 }, { "resnet50", 256, 512, 28, 1, 2, 1 },
    { "resnet50", 512, 128, 28, 1, 1, 3 }, { "resnet50", 128, 128, 28, 3, 1, 3 }, { "resnet50", 128, 512, 28, 1, 1, 4 }, { "resnet50", 512, 256, 28, 1, 1, 1 },
    { "resnet50", 256, 256, 14, 3, 2, 1 }, { "resnet50", 512, 1024, 14, 1, 2, 1 }, { "resnet50", 1024, 256, 14, 1, 1, 5 }, { "resnet50", 256, 256, 14, 3, 1, 5 },
    { "resnet50", 256, 1024, 14, 1, 1, 6 }, { "resnet50", 1024, 512, 14, 1, 1, 1 }, { "resnet50", 512, 512, 7, 3, 2, 1 }, { "resnet50", 1024, 2048, 7, 1, 2, 1 },
    { "resnet50", 2048, 512, 7, 1, 1, 2 }, { "resnet50", 512, 512, 7, 3, 1, 2 }, { "resnet50", 512, 2048, 7, 1, 1, 3 },
    { "resnet18", 64, 64, 56, 3, 1, 4 }, { "resnet18", 64, 128, 28, 3, 2, 1 }, { "resnet18", 128, 128, 28, 3, 1, 3 }, { "resnet18", 256, 256, 14, 3, 1, 3 },
    { "resnet18", 512, 512, 7, 3, 1, 3 },
    { "mobilenetv2", 16, 96, 112, 1, 1, 1 }, { "mobilenetv2", 96, 24, 56, 1, 1, 1 }, { "mobilenetv2", 24, 144, 56, 1, 1, 2 }, { "mobilenetv2", 192, 32, 28, 1, 1, 2 },
    { "mobilenetv2", 64, 384, 14, 1, 1, 4 }, { "mobilenetv2", 384, 64, 14, 1, 1, 3 }, { "mobilenetv2", 160, 960, 7, 1, 1, 3 }, { "mobilenetv2", 320, 1280, 7, 1, 1, 1 },
    { "minilm", 384, 384, 128, 0, 1, 4 }, { "minilm", 384, 1536, 128, 0, 1, 1 }, { "minilm", 1536, 384, 128, 0, 1, 1 },
    { "minilm, 1 token", 384, 384, 1, 0, 1, 4 }, { "minilm, 1 token", 384, 1536, 1, 0, 1, 1 }, { "minilm, 1 token", 1536, 384, 1, 0, 1, 1 },
    { "few tokens", 2048, 1000, 1, 0, 1, 1 }, { "few tokens", 2048, 1000, 2, 0, 1, 1 }, { "few tokens", 2048, 1000, 4, 0, 1, 1 },
    { "few tokens", 2048, 1000, 8, 0, 1, 1 }, { "few tokens", 4096, 4096, 1, 0, 1, 1 },
    { "bert", 768, 768, 128, 0, 1, 4 }, { "bert", 768, 3072, 128, 0, 1, 1 }, { "bert", 3072, 768, 128, 0, 1, 1 },
};

typedef void Sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/* NULL when it is not installed. */
static Sgemm *find_openblas(int threads)
{
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return NULL;
    Sgemm *sgemm = NULL;
    void (*set_threads)(int) = NULL;
    char *(*core)(void) = NULL;
    *(void **)&sgemm = dlsym(library, "cblas_sgemm");
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&core = dlsym(library, "openblas_get_corename");
    if (!sgemm || !set_threads || !core)
        return NULL;
    set_threads(threads);
    printf("OpenBLAS kernels: %s\n", core());
    return sgemm;
}

typedef struct Case {
    int m, k;
    int64_t n;
    float *x, *columns, *y, *bias;                             /* columns: what im2col would give, any contents */
    float *w[1 + SPARSITIES];
    bool tokens;
    Multiply multiply[1 + SPARSITIES];
    Tokens product[1 + SPARSITIES];
    void *packed[1 + SPARSITIES], *scratch;
} Case;

static size_t prepare_convolution(const Layer *l, const Kernels *kernels, int threads, int v, Case *c)
{
    int in = l->size * l->stride;
    Multiply *m = &c->multiply[v];
    PanelWindow window = { (size_t)(in * in), 0, { in, in }, { l->size, l->size }, { l->kernel, l->kernel }, { l->stride, l->stride }, { 1, 1 },
                           { l->kernel / 2, l->kernel / 2 } };
    MultiplyShape shape = { .window = window, .batch = 1, .groups = 1, .k = c->k, .columns = c->n, .weights = { c->w[v], (size_t)c->k, 1, c->m } };
    multiply_plan(&shape, kernels, threads, v ? MULTIPLY_SPARSE : MULTIPLY_DENSE, m);
    c->packed[v] = zeroed(m->packed.bytes);
    packed_fill(&m->packed, c->packed[v]);
    return m->scratch;
}

static size_t prepare_tokens(const Kernels *kernels, int threads, int v, Case *c)
{
    Tokens *t = &c->product[v];
    *t = (Tokens) { .tokens = c->n, .packed = { .weights = { c->w[v], (size_t)c->k, 1, c->m }, .k = c->k, .kernels = kernels, .threads = threads } };
    MultiplyForm few = v && sparsity[v - 1] < 0.75 ? MULTIPLY_BITMAP : MULTIPLY_GATHER;      /* what a plan would choose */
    tokens_plan(t, !v ? MULTIPLY_DENSE : c->n <= FEW_TOKENS ? few : MULTIPLY_SPARSE);
    c->packed[v] = zeroed(t->packed.bytes);
    packed_fill(&t->packed, c->packed[v]);
    return t->scratch;
}

static void prepare(const Layer *l, const Kernels *kernels, int threads, Case *c)
{
    int in = l->size * l->stride;
    c->tokens = !l->kernel;
    c->m = l->m;
    c->k = l->c * (c->tokens ? 1 : l->kernel * l->kernel);
    c->n = (int64_t)l->size * (c->tokens ? 1 : l->size);
    size_t weights = (size_t)c->m * (size_t)c->k, inputs = (size_t)l->c * (size_t)(c->tokens ? l->size : in * in), scratch = 0;
    c->x = zeroed(sizeof(float) * inputs);
    c->columns = zeroed(sizeof(float) * (size_t)c->k * (size_t)c->n);
    c->y = zeroed(sizeof(float) * (size_t)c->m * (size_t)c->n);
    c->bias = zeroed(sizeof(float) * (size_t)c->m);
    for (size_t i = 0; i < inputs; i++)
        c->x[i] = (float)(uniform() - 0.5);
    for (int v = 0; v <= SPARSITIES; v++) {
        c->w[v] = zeroed(sizeof(float) * weights);
        for (size_t i = 0; i < weights; i++)
            c->w[v][i] = v && uniform() < sparsity[v - 1] ? 0 : (float)(uniform() - 0.5);
        size_t own = c->tokens ? prepare_tokens(kernels, threads, v, c) : prepare_convolution(l, kernels, threads, v, c);
        scratch = scratch > own ? scratch : own;
    }
    c->scratch = zeroed(scratch);
}

static void run_variant(const Case *c, int variant, Sgemm *sgemm)
{
    const MultiplyRun run = { .x = c->x, .bias = c->bias, .y = c->y, .lo = c->tokens ? -INFINITY : 0, .hi = INFINITY, .scratch = c->scratch };
    int v = variant ? variant - 1 : 0;
    if (variant == 1 && c->tokens)
        sgemm(101, 111, 112, (int)c->n, c->m, c->k, 1, c->x, c->k, c->w[0], c->k, 0, c->y, c->m);
    else if (variant == 1)
        sgemm(101, 111, 111, c->m, (int)c->n, c->k, 1, c->w[0], c->k, c->columns, (int)c->n, 0, c->y, (int)c->n);
    else if (c->tokens)
        tokens_run(&c->product[v], &run);
    else
        multiply_run(&c->multiply[v], &run);
}

static void discard(Case *c)
{
    for (int v = 0; v <= SPARSITIES; v++) {
        free(c->w[v]);
        free(c->packed[v]);
    }
    free(c->x);
    free(c->columns);
    free(c->y);
    free(c->bias);
    free(c->scratch);
}

/* Seconds of one call; repeated within a round until it lasts a millisecond. */
static double time_variant(const Case *c, int variant, Sgemm *sgemm)
{
    double start = now(), t;
    int calls = 0;
    do {
        run_variant(c, variant, sgemm);
        calls++;
        t = now() - start;
    } while (t < 1e-3);
    return t / calls;
}

/* Sums over a network, in median seconds. */
typedef struct NetTotal { double operations, seconds[VARIANTS], peak_seconds, stride1[VARIANTS]; } NetTotal;

typedef struct Times { double seconds[VARIANTS][MOST_ROUNDS], peak[MOST_ROUNDS]; int rounds; bool blas; } Times;

static void print_layer(const Layer *l, const Case *c, const Times *times, NetTotal *total)
{
    const double (*seconds)[MOST_ROUNDS] = times->seconds, *peak = times->peak;
    int rounds = times->rounds;
    double operations = 2.0 * c->m * c->k * (double)c->n, share[MOST_ROUNDS], ratio[MOST_ROUNDS];
    for (int i = 0; i < rounds; i++)
        share[i] = 100 * operations * 1e-9 / seconds[0][i] / peak[i];
    printf("%-15s %4dx%-5d N %-6lld %dx%d/%d %6.1f GFLOP/s %5.1f %% (%.1f-%.1f)", l->net, c->m, c->k, (long long)c->n, l->kernel, l->kernel, l->stride,
           operations * 1e-9 / quantile(seconds[0], rounds, 0.5), quantile(share, rounds, 0.5), quantile(share, rounds, 0.25), quantile(share, rounds, 0.75));
    if (times->blas)
        printf("  BLAS %6.1f", operations * 1e-9 / quantile(seconds[1], rounds, 0.5));
    for (int v = 2; v < VARIANTS; v++) {
        for (int i = 0; i < rounds; i++)
            ratio[i] = seconds[0][i] / seconds[v][i];
        printf("  %.0f%% %.2f (%.2f-%.2f)", 100 * sparsity[v - 2], quantile(ratio, rounds, 0.5), quantile(ratio, rounds, 0.25), quantile(ratio, rounds, 0.75));
    }
    printf("\n");
    total->operations += l->times * operations;
    total->peak_seconds += l->times * operations * 1e-9 / quantile(peak, rounds, 0.5);
    for (int v = 0; v < VARIANTS; v++) {
        double t = l->times * (v == 1 && !times->blas ? NAN : quantile(seconds[v], rounds, 0.5));
        total->seconds[v] += t;
        total->stride1[v] += l->stride == 1 ? t : 0;
    }
}

static void print_total(const char *net, const NetTotal *t)
{
    printf("%s: dense %.1f %% of the peak, %.2f ms (OpenBLAS without im2col %.2f ms); stride 1, sparse over dense (over OpenBLAS):", net,
           100 * t->peak_seconds / t->seconds[0], 1e3 * t->seconds[0], 1e3 * t->seconds[1]);
    for (int v = 2; v < VARIANTS; v++)
        printf("  %.0f%% %.2f (%.2f)", 100 * sparsity[v - 2], t->stride1[0] / t->stride1[v], t->stride1[1] / t->stride1[v]);
    printf("\n\n");
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 11, threads = argc > 2 ? atoi(argv[2]) : 1;
    const char *net = argc > 3 ? argv[3] : "";
    const Kernels *kernels = kernels_best();
    if (rounds < 1 || rounds > MOST_ROUNDS || threads < 1 || !kernels) {
        fprintf(stderr, "usage: bench_kernels [rounds (1 to %d) [threads [net]]]\n", MOST_ROUNDS);
        return 2;
    }
    if (threads > 1)
        the_clock = CLOCK_MONOTONIC;
    printf("kernels %s, %d threads, peak of one thread %.1f GFLOP/s\n", kernels->isa, threads, peak_gflops(kernels));
    printf("one thread reads, in GB/s:");
    for (int kib = 16; kib <= 256 << 10; kib *= kib < 4096 ? 16 : 64)
        printf(" %.0f of %d KiB%s", read_rate((size_t)kib << 10), kib, kib < 256 << 10 ? "," : "\n");
    Sgemm *sgemm = find_openblas(threads);
    NetTotal total = { 0 };
    for (size_t i = 0; i < countof(layers); i++) {
        Case c;
        Times t = { .rounds = rounds, .blas = sgemm };
        if (strncmp(layers[i].net, net, strlen(net)))
            continue;
        prepare(&layers[i], kernels, threads, &c);
        for (int r = 0; r < rounds; r++) {
            t.peak[r] = threads * peak_gflops(kernels);
            for (int v = 0; v < VARIANTS; v++)
                if (v != 1 || sgemm)
                    t.seconds[v][r] = time_variant(&c, v, sgemm);
        }
        print_layer(&layers[i], &c, &t, &total);
        discard(&c);
        if (i + 1 == countof(layers) || strcmp(layers[i].net, layers[i + 1].net)) {
            print_total(layers[i].net, &total);
            total = (NetTotal) { 0 };
        }
    }
    return 0;
}
