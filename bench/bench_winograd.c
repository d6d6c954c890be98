/* Winograd convolutions on layers of real networks, everything included, against the direct dense product: ratios of times (above 1: faster), the
 * share of the rate of fused multiply-adds that the operations of the *direct* product would be (100 % is the direct product's limit), and the largest
 * error against sums in double, relative to the largest output, of all. Variants take turns; medians, quartiles in brackets.
 * usage: bench_winograd [rounds [threads [batch]]] */
#include "bench/measure.h"
#include "engine/winograd.h"

enum { VARIANTS = 3, CHECKED = 2000 };       /* direct, m = 4, m = 2 */

typedef struct Layer { const char *net; int c, m, size, kernel, stride; } Layer;      /* size: of the output */
static const Layer layers[] = {
    { "resnet", 64, 64, 56, 3, 1 }, { "resnet", 128, 128, 28, 3, 1 }, { "resnet", 256, 256, 14, 3, 1 }, { "resnet", 512, 512, 7, 3, 1 },
    { "yolov8n", 16, 16, 160, 3, 1 }, { "yolov8n", 32, 32, 80, 3, 1 }, { "yolov8n", 64, 64, 40, 3, 1 }, { "yolov8n", 128, 128, 20, 3, 1 },
    { "yolov8n", 64, 64, 80, 3, 1 }, { "yolov8n", 64, 80, 80, 3, 1 }, { "yolov8n", 80, 80, 80, 3, 1 }, { "yolov8n", 128, 80, 40, 3, 1 },
    { "yolov8n", 256, 80, 20, 3, 1 }, { "other", 8, 8, 112, 3, 1 }, { "other", 8, 16, 112, 3, 1 }, { "other", 16, 8, 112, 3, 1 }, { "other", 8, 64, 56, 3, 1 },
    { "other", 64, 8, 56, 3, 1 }, { "other", 3, 32, 112, 3, 1 }, { "other", 24, 24, 40, 3, 1 }, { "other", 16, 16, 14, 3, 1 }, { "other", 32, 32, 7, 3, 1 },
    { "other", 32, 32, 5, 3, 1 }, { "other", 64, 64, 3, 3, 1 }, { "other", 256, 256, 4, 3, 1 }, { "other", 256, 256, 7, 3, 1 },
    { "other", 1024, 1024, 14, 3, 1 }, { "resnet", 3, 64, 112, 7, 2 }, { "squeeze", 3, 96, 111, 7, 2 }, { "yolov5", 3, 32, 320, 6, 2 },
    { "other", 3, 32, 112, 5, 2 }, { "mobile", 3, 32, 112, 3, 2 }, { "yolov8n", 3, 16, 320, 3, 2 }, { "yolov8n", 16, 32, 160, 3, 2 },
    { "yolov8n", 32, 64, 80, 3, 2 }, { "yolov8n", 64, 128, 40, 3, 2 }, { "yolov8n", 128, 256, 20, 3, 2 }, { "yolov8n", 64, 64, 40, 3, 2 },
    { "yolov8n", 128, 128, 20, 3, 2 }, { "resnet", 128, 128, 28, 3, 2 }, { "resnet", 256, 256, 14, 3, 2 }, { "resnet", 512, 512, 7, 3, 2 },
    { "other", 64, 64, 40, 5, 2 }, { "other", 64, 64, 40, 4, 2 },
};

typedef struct Case {
    MultiplyShape shape;
    int variants;
    float *x, *w, *y, *bias;
    Multiply direct;
    Winograd winograd[2];
    void *packed[VARIANTS], *scratch;
    double pack_seconds[2];
} Case;

static void prepare(const Layer *l, int threads, int batch, Case *c)
{
    int n = l->size, in = n * l->stride, taps = l->kernel * l->kernel, k = l->c * taps, pad = (l->kernel - 1) / 2;
    size_t inputs = (size_t)batch * (size_t)(l->c * in * in), weights = (size_t)l->m * (size_t)k, scratch;
    c->x = zeroed(sizeof(float) * inputs);
    c->w = zeroed(sizeof(float) * weights);
    c->y = zeroed(sizeof(float) * (size_t)batch * (size_t)(l->m * n * n));
    c->bias = zeroed(sizeof(float) * (size_t)l->m);
    for (size_t i = 0; i < inputs; i++)
        c->x[i] = fmaxf(0, (float)(uniform() - 0.5));
    for (size_t i = 0; i < weights; i++)
        c->w[i] = (float)(uniform() - 0.5);
    const PanelWindow window = { .plane = (size_t)(in * in), .in = { in, in }, .out = { n, n }, .kernel = { l->kernel, l->kernel }, .stride = { l->stride, l->stride },
                                 .dilation = { 1, 1 }, .pad = { pad, pad } };
    c->shape = (MultiplyShape) { .window = window, .batch = batch, .groups = 1, .k = k, .columns = n * n, .weights = { c->w, (size_t)k, 1, l->m } };
    c->variants = l->kernel == 3 && l->stride == 1 ? VARIANTS : VARIANTS - 1;
    multiply_plan(&c->shape, kernels_best(), threads, MULTIPLY_DENSE, &c->direct);
    c->packed[0] = zeroed(c->direct.packed.bytes);
    packed_fill(&c->direct.packed, c->packed[0]);
    scratch = c->direct.scratch;
    for (int v = 0; v + 1 < c->variants; v++) {
        winograd_plan(&c->shape, kernels_best(), threads, 4 - 2 * v, &c->winograd[v]);
        c->packed[1 + v] = zeroed(c->winograd[v].bytes);
        double start = now();
        winograd_pack(&c->winograd[v], c->packed[1 + v]);
        c->pack_seconds[v] = now() - start;
        scratch = scratch > c->winograd[v].scratch ? scratch : c->winograd[v].scratch;
    }
    c->scratch = zeroed(scratch);
}

static void discard(Case *c)
{
    for (int v = 0; v < c->variants; v++)
        free(c->packed[v]);
    free(c->x);
    free(c->w);
    free(c->y);
    free(c->bias);
    free(c->scratch);
}

static void run(const Case *c, int variant)
{
    MultiplyRun r = { .x = c->x, .bias = c->bias, .y = c->y, .lo = -INFINITY, .hi = INFINITY, .scratch = c->scratch };
    if (variant)
        winograd_run(&c->winograd[variant - 1], &r);
    else
        multiply_run(&c->direct, &r);
}

/* Seconds of one call; repeated within a round until it lasts a millisecond. */
static double time_variant(const Case *c, int variant)
{
    double start = now(), t;
    int calls = 0;
    do {
        run(c, variant);
        calls++;
        t = now() - start;
    } while (t < 1e-3);
    return t / calls;
}

static double exact(const Case *c, int m, int n)
{
    const PanelWindow *g = &c->shape.window;
    double sum = 0;
    int kernel = g->kernel[0], taps = kernel * kernel;
    for (int k = 0; k < c->shape.k; k++) {
        int y = n / g->out[1] * g->stride[0] + k % taps / kernel - g->pad[0], x = n % g->out[1] * g->stride[1] + k % kernel - g->pad[1];
        if (y >= 0 && x >= 0 && y < g->in[0] && x < g->in[1])
            sum += (double)c->w[m * c->shape.k + k] * (double)c->x[(size_t)(k / taps) * g->plane + (size_t)(y * g->in[1] + x)];
    }
    return sum;
}

/* Largest errors over some elements of the first image. */
static void measure_errors(const Case *c, double error[VARIANTS])
{
    float got[VARIANTS][CHECKED];
    int at[CHECKED], columns = (int)c->shape.columns;
    for (int i = 0; i < CHECKED; i++)
        at[i] = (int)(uniform() * (double)columns * c->shape.weights.rows);
    double largest = 0;
    for (int v = 0; v < c->variants; v++) {
        run(c, v);
        error[v] = 0;
        for (int i = 0; i < CHECKED; i++)
            got[v][i] = c->y[at[i]];
    }
    for (int i = 0; i < CHECKED; i++) {
        double wanted = exact(c, at[i] / columns, at[i] % columns);
        largest = fmax(largest, fabs(wanted));
        for (int v = 0; v < c->variants; v++)
            error[v] = fmax(error[v], fabs((double)got[v][i] - wanted));
    }
    for (int v = 0; v < c->variants; v++)
        error[v] /= largest;
}

static void measure(const Layer *l, int rounds, int threads, int batch)
{
    static double seconds[VARIANTS][MOST_ROUNDS];
    double error[VARIANTS], ratio[MOST_ROUNDS];
    Case c;
    prepare(l, threads, batch, &c);
    double operations = 2.0 * batch * l->m * l->c * l->kernel * l->kernel * l->size * l->size;
    measure_errors(&c, error);
    for (int i = 0; i < rounds; i++)
        for (int v = 0; v < c.variants; v++)
            seconds[v][i] = time_variant(&c, v);
    printf("%-8s %4d -> %-4d %3d x %-3d  %d x %d / %d", l->net, l->c, l->m, l->size, l->size, l->kernel, l->kernel, l->stride);
    printf("  direct %7.3f ms %6.1f GFLOP/s error %.1e", 1e3 * quantile(seconds[0], rounds, 0.5),
           1e-9 * operations / quantile(seconds[0], rounds, 0.5), error[0]);
    for (int v = 1; v < c.variants; v++) {
        for (int i = 0; i < rounds; i++)
            ratio[i] = seconds[0][i] / seconds[v][i];
        double median = quantile(seconds[v], rounds, 0.5);
        printf("   m %d: %7.3f ms %6.1f  %.2f (%.2f-%.2f) %.1e", 6 - 2 * v, 1e3 * median, 1e-9 * operations / median,
               quantile(ratio, rounds, 0.5), quantile(ratio, rounds, 0.25), quantile(ratio, rounds, 0.75), error[v]);
    }
    printf("  chosen: %d  weights:", winograd_choose(&c.shape));
    for (int v = 0; v + 1 < c.variants; v++)
        printf("  %.1f MB in %.1f ms", 1e-6 * (double)c.winograd[v].bytes, 1e3 * c.pack_seconds[v]);
    printf("\n");
    discard(&c);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 11, threads = argc > 2 ? atoi(argv[2]) : 1, batch = argc > 3 ? atoi(argv[3]) : 1;
    if (rounds < 1 || rounds > MOST_ROUNDS || threads < 1 || batch < 1 || !kernels_best()) {
        fprintf(stderr, "usage: bench_winograd [rounds (1 to %d) [threads [batch]]]\n", MOST_ROUNDS);
        return 2;
    }
    if (threads > 1)
        the_clock = CLOCK_MONOTONIC;
    printf("kernels %s, %d threads, batch %d; GFLOP/s count the direct product's operations\n", kernels_best()->isa, threads, batch);
    for (size_t i = 0; i < countof(layers); i++)
        measure(&layers[i], rounds, threads, batch);
    return 0;
}
