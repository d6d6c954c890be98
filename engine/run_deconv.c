/* ConvTranspose. With one group and a constant weight it is a product of W' with the pixels, a row for each output channel and tap, whose rows are then added where
 * the taps reach; otherwise plain loops. */
#include <math.h>
#include <string.h>
#include "engine/choose.h"
#include "engine/conv.h"
#include "engine/fuse.h"
#include "engine/run_ops.h"
#include "engine/walk.h"
#include "engine/widen.h"

#define REAL float
#define NAME(x) x##_f32
#include "engine/loops_deconv.inc"
#undef REAL
#undef NAME
#define REAL double
#define NAME(x) x##_f64
#include "engine/loops_deconv.inc"
#undef REAL
#undef NAME

#define RUN(T, SUFFIX) \
    static Err conv_transpose_run_##SUFFIX(Plan *plan, Step *s) \
    { \
        conv_transpose_##SUFFIX(plan, s->state, s->in[0]->data, s->in[1]->data, s->in[2] ? s->in[2]->data : NULL, s->out[0]->data); \
        return OK; \
    }
RUN(float, f32) RUN(double, f64)

typedef struct PanelDeconv { ConvShape shape; Columns columns; const Kernels *kernels; const float *bias; } PanelDeconv;

/* line[o] += row[i] for all pixels i that reach an o inside, o = i * stride + shift. */
static void add_line(float *line, int64_t out, const float *row, int64_t in, int64_t stride, int64_t shift)
{
    int64_t first = shift < 0 ? (stride - 1 - shift) / stride : 0;
    int64_t end = out > shift ? (out - shift + stride - 1) / stride : 0;
    if (end > in) end = in;
    for (int64_t i = first; i < end; i++) line[i * stride + shift] += row[i];
}

/* One output channel: its taps' rows, each [in[1]][in[2]], added up. */
static void gather_taps(const ConvShape *c, const float *rows, float start, float *y)
{
    for (int64_t i = 0; i < c->out[1] * c->out[2]; i++) y[i] = start;
    for (int64_t ky = 0; ky < c->kernel[1]; ky++)
        for (int64_t kx = 0; kx < c->kernel[2]; kx++, rows += c->in[1] * c->in[2])
            for (int64_t i = 0; i < c->in[1]; i++) {
                int64_t o = i * c->stride[1] + ky * c->dilation[1] - c->pad[1];
                if (o < 0 || o >= c->out[1]) continue;
                add_line(y + o * c->out[2], c->out[2], rows + i * c->in[2], c->in[2], c->stride[2], kx * c->dilation[2] - c->pad[2]);
            }
}

static Err deconv_run_panels(Plan *plan, Step *s)
{
    const PanelDeconv *d = s->state;
    const ConvShape *c = &d->shape;
    const float *bias = d->bias ? d->bias : s->in[2] ? s->in[2]->data : NULL;
    int64_t in = c->in[1] * c->in[2], out = c->out[1] * c->out[2], taps = c->kernel[1] * c->kernel[2];
    float *rows = (float *)s->scratch;
    char *own = s->scratch + s->scratch_bytes - d->columns.scratch;
    MultiplyRun run = { .y = s->out[0]->data };
    fused_run(s, false, &run);
    for (int64_t n = 0; n < c->batch; n++) {
        const float *x = (const float *)s->in[0]->data + n * c->channels * in;
        columns_run(&d->columns, &(MultiplyRun){ .x = x, .y = rows, .lo = -INFINITY, .hi = INFINITY, .scratch = own });
        #pragma omp parallel for num_threads(plan->threads) if (c->outputs * out > PARALLEL_WORK)
        for (int64_t m = 0; m < c->outputs; m++) {
            int64_t at = (n * c->outputs + m) * out;
            gather_taps(c, rows + m * taps * in, bias ? bias[m] : 0, run.y + at);
            for (int64_t i = at; i < at + out; i++) run.y[i] = run.y[i] < run.lo ? run.lo : run.y[i] > run.hi ? run.hi : run.y[i];
            posts_apply(d->kernels, &run.posts, &(PostArea){ run.y, (size_t)at, 0, 1, (int)out });
        }
    }
    return OK;
}

static bool fits_panels(const Step *s, const ConvShape *c)
{
    const int64_t most = 1 << 30;
    int64_t rows = c->outputs * c->kernel[1] * c->kernel[2], pixels = c->in[1] * c->in[2];
    bool flat = c->in[0] == 1 && c->out[0] == 1 && c->kernel[0] == 1;
    return flat && s->in[0]->dtype == DT_F32 && s->in[1]->constant && c->group == 1 && c->channels > 0 && s->out[0]->count && rows < most && pixels < most &&
           c->channels < most && c->out[1] * c->out[2] < most && rows * pixels < most;
}

/* W (C, M, ky, kx): column c of the product's weights is row c of W. */
static Err deconv_prep_panels(Plan *plan, Step *s, const ConvShape *c)
{
    PanelDeconv *d;
    const float *w;
    int pixels = (int)(c->in[1] * c->in[2]), rows = (int)(c->outputs * c->kernel[1] * c->kernel[2]);
    TRY(fused_weights(plan, s, 1, &w));
    TRY(plan_array(plan, 1, sizeof *d, &d));
    TRY(find_kernels(&d->kernels));
    d->shape = *c;
    if (s->fused) TRY(fused_bias(plan, s, s->in[2], c->outputs, &d->bias));
    MultiplyShape shape = { .window = { (size_t)pixels, .in = { 1, pixels }, .out = { 1, pixels }, .kernel = { 1, 1 }, .stride = { 1, 1 }, .dilation = { 1, 1 } },
                            .batch = 1, .groups = 1, .k = (int)c->channels, .columns = pixels, .weights = { w, 1, (size_t)rows, rows } };
    s->scratch_bytes = ((size_t)rows * (size_t)pixels * sizeof(float) + 63) / 64 * 64;        /* what follows is aligned */
    TRY(columns_prepare(plan, s, &shape, &d->columns));
    s->state = d;
    s->run = deconv_run_panels;
    return OK;
}

/* Padding of a transposed convolution whose output size is given (output_shape, SAME_*): what is too much is cut from both ends. */
static void transpose_pads(const Step *s, ConvShape *c)
{
    const int64_t *more, *given;
    int rank = s->in[0]->shape.rank - 2, n_more = attr_is(s->node, "output_padding", &more);
    bool upper = attr_s_is(s->node, "auto_pad", "SAME_UPPER", false), lower = attr_s_is(s->node, "auto_pad", "SAME_LOWER", false);
    if (!attr_is(s->node, "output_shape", &given) && !upper && !lower) return;
    for (int i = 0; i < rank; i++) {
        int a = 3 - rank + i;
        int64_t total = c->stride[a] * (c->in[a] - 1) + (i < n_more ? more[i] : 0) + (c->kernel[a] - 1) * c->dilation[a] + 1 - c->out[a];
        if (total < 0) total = 0;
        c->pad[a] = upper ? total / 2 : total - total / 2;
    }
}

static Err deconv_shape(const Step *s, ConvShape *c)
{
    TRY(conv_shape(s, s->in[0], s->in[1], c));
    TRY(conv_operands(s, c));
    transpose_pads(s, c);
    return OK;
}

int conv_transpose_fuses(const Step *s)
{
    ConvShape c;
    if (!s->in[1]->constant || (s->in[2] && !s->in[2]->constant) || s->in[1]->dtype != DT_F32) return -1;
    return deconv_shape(s, &c) == OK && fits_panels(s, &c) ? 1 : -1;
}

Err conv_transpose_prep(Plan *plan, Step *s)
{
    Err e;
    ConvShape *c;
    if (widened(plan, s, conv_transpose_prep, &e)) return e;
    TRY(plan_array(plan, 1, sizeof *c, &c));
    TRY(deconv_shape(s, c));
    if (fits_panels(s, c)) return deconv_prep_panels(plan, s, c);
    s->state = c;
    if (s->in[0]->dtype == DT_F32) s->run = conv_transpose_run_f32;
    else if (s->in[0]->dtype == DT_F64) s->run = conv_transpose_run_f64;
    else return step_refuse(s, "input", s->in[0]);
    return OK;
}
