/* ConvTranspose. With a constant weight it is a product of W' with the pixels, a row for each output channel and tap, whose rows are then added where the taps
 * reach; depthwise ones add the pixels themselves. Otherwise plain loops. */
#include <math.h>
#include <omp.h>
#include <string.h>
#include "engine/choose.h"
#include "engine/conv.h"
#include "engine/fuse.h"
#include "engine/run_ops.h"
#include "engine/walk.h"
#include "engine/widen.h"
#include "kernels/whole.h"

#define LOOPS "engine/loops_deconv.inc"
#include "engine/reals.inc"

#define RUN(T, SUFFIX) \
    static Err conv_transpose_run_##SUFFIX(Plan *plan, Step *s) \
    { \
        conv_transpose_##SUFFIX(plan, s->state, s->in[0]->data, s->in[1]->data, s->in[2] ? s->in[2]->data : NULL, s->out[0]->data); \
        return OK; \
    }
RUN(float, f32) RUN(double, f64)

/* lines: after the product's rows in scratch, one for each thread; w: of a depthwise one, which has no product */
typedef struct PanelDeconv { ConvShape shape; Columns columns; const Kernels *kernels; const float *bias, *w; size_t rows, line; } PanelDeconv;

static bool is_depthwise(const ConvShape *c) { return c->group > 1 && c->channels == 1; }

/* line[i + shift] += w * row[i] for those that lie inside */
static void add_line(float *line, int64_t out, const float *row, int64_t in, int64_t shift, float w)
{
    int64_t first = shift < 0 ? -shift : 0, end = out - shift < in ? out - shift : in;
    #pragma omp simd
    for (int64_t i = first; i < end; i++) line[i + shift] += w * row[i];
}

/* What one output channel is made of: its taps' rows, [in[1]][in[2]] each, `step` apart, and their weights (NULL: 1). */
typedef struct Taps { const float *rows, *w; size_t step; float start; } Taps;

/* Row oy of it. Pixels of one phase (ox % stride) lie behind each other in the line, `room` for each, as they do in the rows. */
static void gather_row(const ConvShape *c, const Taps *t, int64_t oy, int64_t room, float *line)
{
    int64_t stride = c->stride[2];
    #pragma omp simd
    for (int64_t i = 0; i < stride * room; i++) line[i] = t->start;
    for (int64_t ky = 0; ky < c->kernel[1]; ky++) {
        int64_t reach = oy + c->pad[1] - ky * c->dilation[1], iy = floor_div(reach, c->stride[1]);
        if (reach % c->stride[1] || iy < 0 || iy >= c->in[1]) continue;
        for (int64_t kx = 0; kx < c->kernel[2]; kx++) {
            int64_t tap = ky * c->kernel[2] + kx, at = kx * c->dilation[2] - c->pad[2], shift = floor_div(at, stride), phase = at - shift * stride;
            add_line(line + phase * room, room, t->rows + (size_t)tap * t->step + iy * c->in[2], c->in[2], shift, t->w ? t->w[tap] : 1);
        }
    }
}

static float clamped(float v, float lo, float hi) { return v < lo ? lo : v > hi ? hi : v; }

static void gather_taps(const ConvShape *c, const Taps *t, const MultiplyRun *run, float *line, float *y)
{
    int64_t stride = c->stride[2], out = c->out[2], room = pieces_in(out, stride);
    const float lo = run->lo, hi = run->hi;
    for (int64_t oy = 0; oy < c->out[1]; oy++, y += out) {
        gather_row(c, t, oy, room, line);
        if (stride == 2) {
            #pragma omp simd
            for (int64_t j = 0; j < out / 2; j++) {
                y[2 * j] = clamped(line[j], lo, hi);
                y[2 * j + 1] = clamped(line[room + j], lo, hi);
            }
            if (out % 2) y[out - 1] = clamped(line[room - 1], lo, hi);
        } else for (int64_t phase = 0; phase < stride; phase++)
            for (int64_t j = 0, ox = phase; ox < out; j++, ox += stride) y[ox] = clamped(line[phase * room + j], lo, hi);
    }
}

static Err deconv_run_panels(Plan *plan, Step *s)
{
    const PanelDeconv *d = s->state;
    const ConvShape *c = &d->shape;
    const float *bias = d->bias ? d->bias : s->in[2] ? s->in[2]->data : NULL;
    int64_t in = c->in[1] * c->in[2], out = c->out[1] * c->out[2], taps = c->kernel[1] * c->kernel[2];
    float *rows = (float *)s->scratch, *lines = rows + d->rows;
    char *own = s->scratch + s->scratch_bytes - d->columns.scratch;
    MultiplyRun run = { .y = s->out[0]->data };
    fused_run(s, false, &run);
    for (int64_t n = 0; n < c->batch; n++) {
        const float *x = (const float *)s->in[0]->data + n * c->group * c->channels * in;
        if (!d->w) columns_run(&d->columns, &(MultiplyRun){ .x = x, .y = rows, .lo = -INFINITY, .hi = INFINITY, .scratch = own });
        #pragma omp parallel for num_threads(plan->threads) if (c->outputs * out > PARALLEL_WORK)
        for (int64_t m = 0; m < c->outputs; m++) {
            int64_t at = (n * c->outputs + m) * out;
            Taps t = { rows + m * taps * in, NULL, (size_t)in, bias ? bias[m] : 0 };
            if (d->w) t = (Taps){ x + m / (c->outputs / c->group) * in, d->w + m * taps, 0, t.start };
            gather_taps(c, &t, &run, lines + d->line * (size_t)omp_get_thread_num(), run.y + at);
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
    return flat && s->in[0]->dtype == DT_F32 && s->in[1]->constant && c->channels > 0 && s->out[0]->count && rows < most && pixels < most &&
           c->channels < most && c->out[1] * c->out[2] < most && rows * pixels < most;
}

/* W (C, M / group, ky, kx): column c of a group's weights is a row of W. Where there are several, those of each are turned into [rows][channels]. */
static Err group_weights(Plan *plan, const ConvShape *c, const float *w, int64_t rows, Weights *out)
{
    float *turned;
    *out = (Weights){ w, 1, (size_t)rows, (int)rows };
    if (c->group == 1) return OK;
    TRY(plan_temporary(plan, (size_t)(c->group * c->channels * rows) * sizeof *turned, (void **)&turned));
    for (int64_t g = 0; g < c->group; g++)
        for (int64_t ch = 0; ch < c->channels; ch++)
            for (int64_t r = 0; r < rows; r++) turned[(g * rows + r) * c->channels + ch] = w[(g * c->channels + ch) * rows + r];
    *out = (Weights){ turned, (size_t)c->channels, 1, (int)rows };
    return OK;
}

static Err deconv_prep_panels(Plan *plan, Step *s, const ConvShape *c)
{
    PanelDeconv *d;
    const float *w;
    int pixels = (int)(c->in[1] * c->in[2]), rows = (int)(c->outputs / c->group * c->kernel[1] * c->kernel[2]);
    TRY(fused_weights(plan, s, 1, &w));
    TRY(plan_array(plan, 1, sizeof *d, &d));
    TRY(find_kernels(&d->kernels));
    d->shape = *c;
    d->line = (size_t)(c->out[2] + c->stride[2]);
    if (s->fused) TRY(fused_bias(plan, s, s->in[2], c->outputs, &d->bias));
    if (is_depthwise(c)) {
        float *copy;                                   /* of weights that may not stay in memory */
        TRY(plan_array(plan, s->in[1]->count, sizeof *copy, &copy));
        memcpy(copy, w, s->in[1]->bytes);
        d->w = copy;
    } else d->rows = (size_t)c->group * (size_t)rows * (size_t)pixels;
    MultiplyShape shape = { .window = panel_matrix(pixels, (size_t)pixels), .batch = 1, .groups = (int)c->group, .k = (int)c->channels, .columns = pixels };
    s->scratch_bytes = to_line((d->rows + d->line * (size_t)plan->threads) * sizeof(float));        /* what follows is aligned */
    if (!d->w) {
        TRY(group_weights(plan, c, w, rows, &shape.weights));
        TRY(columns_start(plan, s, &shape));
        TRY(columns_prepare(plan, s, &shape, &d->columns));
    }
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
    return deconv_shape(s, &c) == OK && c.group == 1 && fits_panels(s, &c) ? 1 : -1;
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
