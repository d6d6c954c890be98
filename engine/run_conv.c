/* Convolutions in plain loops: Conv, ConvTranspose, ConvInteger, QLinearConv. */
#include <math.h>
#include <string.h>
#include "engine/quant.h"
#include "engine/element.h"
#include "engine/choose.h"
#include "engine/fuse.h"
#include "engine/run_ops.h"
#include "engine/conv.h"
#include "engine/pair.h"
#include "engine/panels.h"
#include "engine/walk.h"
#include "engine/widen.h"
#include "engine/window.h"

#define LOOPS "engine/loops_conv.inc"
#include "engine/reals.inc"
#define REAL int32_t
#define NAME(x) x##_i32
#include "engine/loops_conv.inc"
#undef REAL
#undef NAME

Err conv_shape(const Step *s, const Buffer *x, const Buffer *w, ConvShape *c)
{
    const Shape *y = &s->out[0]->shape;
    int rank = x->shape.rank - 2, pad = 3 - rank;
    bool transposed = !strcmp(s->op->type, "ConvTranspose");
    Window window;
    if (rank < 1 || rank > 3) return err_set(ERR_UNSUPPORTED, "%s with %d spatial axes cannot be run (1 to 3 can).", s->op->type, rank);
    TRY(window_read(s->node, rank, w->shape.dim + 2, &window));
    *c = (ConvShape){ .batch = x->shape.dim[0], .group = attr_i(s->node, "group", 1), .outputs = y->dim[1] };
    if (!transposed && w->shape.dim[1] > 0) c->group = x->shape.dim[1] / w->shape.dim[1];     /* the node's, but where dead channels were removed */
    if (c->group < 1 || x->shape.dim[1] % c->group || c->outputs % c->group)
        return err_set(ERR_SHAPE, "The channels cannot be split into %lld groups.", (long long)c->group);
    c->channels = x->shape.dim[1] / c->group;
    if (transposed ? w->shape.dim[1] * c->group != c->outputs : w->shape.dim[1] != c->channels) return err_set(ERR_SHAPE, "The weight does not fit the channels.");
    for (int i = 0; i < 3; i++) c->in[i] = c->out[i] = c->kernel[i] = c->stride[i] = c->dilation[i] = 1;
    for (int i = 0; i < rank; i++) {
        if (!transposed) window_same_pads(&window, i, x->shape.dim[i + 2]);
        c->in[pad + i] = x->shape.dim[i + 2];
        c->out[pad + i] = y->dim[i + 2];
        c->kernel[pad + i] = window.kernel[i];
        c->stride[pad + i] = window.stride[i];
        c->dilation[pad + i] = window.dilation[i];
        c->pad[pad + i] = window.pad_begin[i];
    }
    return OK;
}

/* 1x1 without strides and padding: all pixels are one row. */
static void flatten_pointwise(ConvShape *c)
{
    for (int i = 0; i < 3; i++) if (c->kernel[i] != 1 || c->stride[i] != 1 || c->pad[i] || c->in[i] != c->out[i]) return;
    c->in[2] = c->out[2] = c->in[0] * c->in[1] * c->in[2];
    c->in[0] = c->out[0] = c->in[1] = c->out[1] = 1;
}

#define CONV_RUN(T, SUFFIX) \
    static Err conv_run_##SUFFIX(Plan *plan, Step *s) \
    { \
        conv_##SUFFIX(plan, s->state, s->in[0]->data, s->in[1]->data, s->in[2] ? s->in[2]->data : NULL, s->out[0]->data); \
        return OK; \
    }
CONV_RUN(float, f32) CONV_RUN(double, f64)

Err conv_operands(const Step *s, const ConvShape *c)
{
    for (int i = 1; i < 3; i++) if (s->in[i] && s->in[i]->dtype != s->in[0]->dtype) return err_set(ERR_SHAPE, "The operands have different types.");
    if (s->in[2] && s->in[2]->count != c->outputs)
        return err_set(ERR_SHAPE, "The bias has %lld elements for %lld channels.", (long long)s->in[2]->count, (long long)c->outputs);
    return OK;
}

/* Convolutions by kernels: with a constant weight as products over panels, depthwise plane by plane. ---------------------------------------- */

/* Whether the kernels' sizes (int) can hold this. */
static bool fits_window(const Step *s, const ConvShape *c)
{
    const int64_t most = 1 << 30;
    if (s->in[0]->dtype != DT_F32 || !s->out[0]->count || c->in[0] != 1 || c->out[0] != 1 || c->kernel[0] != 1 || c->pad[0]) return false;
    for (int i = 1; i < 3; i++)
        if (c->stride[i] > most || c->dilation[i] > most || c->pad[i] > most || c->pad[i] < -most) return false;
    return c->channels * c->kernel[1] * c->kernel[2] < most && c->outputs < most && c->in[1] * c->in[2] < most && c->out[1] * c->out[2] < most &&
           c->batch * c->group < most;
}

/* With one input channel a group and few outputs, most of a product's loads serve one multiplication. */
static bool fits_panels(const Step *s, const ConvShape *c)
{
    return fits_window(s, c) && s->in[1]->constant && c->channels > 0 && (c->channels > 1 || c->outputs / c->group >= 4);
}

static bool fits_depthwise(const Step *s, const ConvShape *c)
{
    return fits_window(s, c) && c->channels == 1;
}

static PanelWindow window_of(const ConvShape *c)
{
    PanelWindow w = { .plane = (size_t)(c->in[1] * c->in[2]) };
    for (int i = 0; i < 2; i++) {
        w.in[i] = (int)c->in[i + 1];
        w.out[i] = (int)c->out[i + 1];
        w.kernel[i] = (int)c->kernel[i + 1];
        w.stride[i] = (int)c->stride[i + 1];
        w.dilation[i] = (int)c->dilation[i + 1];
        w.pad[i] = (int)c->pad[i + 1];
    }
    return w;
}

MultiplyRun conv_operands_of(const Step *s, const float *bias, bool adds)
{
    const Buffer *own = s->n_in > 2 ? s->in[2] : NULL;
    MultiplyRun run = { .x = s->in[0]->data, .bias = bias ? bias : own ? own->data : NULL, .y = s->out[0]->data, .scratch = s->scratch };
    fused_run(s, adds, &run);
    return run;
}

typedef struct DepthwiseConv { Planes planes; const Kernels *kernels; int64_t batch, per_group; const float *w; } DepthwiseConv;      /* w NULL: not constant */

static void depthwise_area(const Planes *planes, const MultiplyRun *run, const PlaneArea *a)
{
    const DepthwiseConv *c = (const DepthwiseConv *)planes;
    const PanelWindow g = planes_window(planes, a);
    const Depthwise d = { .planes = a->n, .x = a->x, .w = (c->w ? c->w : a->w) + a->m * g.kernel[0] * g.kernel[1], .y = run->y + a->at, .y_plane = a->y_plane,
                          .bias = run->bias ? run->bias + a->m : NULL, .residual = run->residual ? run->residual + a->at : NULL, .lo = run->lo, .hi = run->hi };
    c->kernels->depthwise_f32(&g, &d);
    posts_apply(c->kernels, &run->posts, &(PostArea){ run->y, a->at, a->y_plane, a->n, g.out[0] * g.out[1] });
}

static Err conv_run_depthwise(Plan *plan, Step *s)
{
    const DepthwiseConv *c = s->state;
    const Planes *p = &c->planes;
    int64_t outputs = p->outputs, runs = (outputs + p->together - 1) / p->together;
    const MultiplyRun run = conv_operands_of(s, p->bias, true);
    const PlaneArea whole = { .w = s->in[1]->data, .plane = p->window.plane, .height = p->window.in[0], .end = p->window.out[0] };
    #pragma omp parallel for num_threads(plan->threads) if (s->out[0]->count > PARALLEL_WORK)
    for (int64_t i = 0; i < c->batch * runs; i++) {
        PlaneArea a = whole;
        int64_t image = i / runs;
        a.m = (int)(i % runs) * p->together;
        a.n = outputs - a.m < p->together ? (int)outputs - a.m : p->together;
        a.x = run.x + (size_t)((image * outputs + a.m) / c->per_group) * a.plane;
        planes_place(p, image, &a);
        depthwise_area(p, &run, &a);
    }
    return OK;
}

/* So many planes that follow each other go to one call that inputs and outputs stay in the L1 cache; 1 where several outputs read one plane. */
static int planes_together(const ConvShape *c)
{
    const int64_t most = 4096;                 /* floats */
    int64_t planes = most / (c->in[1] * c->in[2] + c->out[1] * c->out[2] + 1);
    return c->outputs != c->group || planes < 1 ? 1 : (int)planes;
}

/* Constant weights with what was fused into them; w stays NULL while the weights are not constant. */
static Err conv_prep_depthwise(Plan *plan, Step *s, const ConvShape *shape)
{
    DepthwiseConv *c;
    const float *w;
    TRY(plan_array(plan, 1, sizeof *c, &c));
    TRY(find_kernels(&c->kernels));
    c->planes = (Planes){ .window = window_of(shape), .outputs = (int)shape->outputs, .together = planes_together(shape), .area = depthwise_area };
    c->batch = shape->batch;
    c->per_group = shape->outputs / shape->group;
    if (s->in[1]->constant) {
        float *own;
        TRY(fused_weights(plan, s, 0, &w));
        TRY(plan_array(plan, s->in[1]->count, sizeof *own, &own));
        memcpy(own, w, s->in[1]->bytes);
        c->w = own;
        if (s->fused) TRY(fused_bias(plan, s, s->in[2], shape->outputs, &c->planes.bias));
        if (c->per_group == 1) s->planes = &c->planes;
    }
    s->state = c;
    s->run = conv_run_depthwise;
    s->over = fused_residual(s);
    s->variant = "depthwise";
    return OK;
}

static Err conv_run_panels(Plan *plan, Step *s)
{
    const PanelConv *c = s->state;
    (void)plan;
    MultiplyRun run = conv_operands_of(s, c->bias, true);
    run.x_lies = (Layout)s->in[0]->panel;
    run.y_lies = (Layout)s->out[0]->panel;
    if (run.residual) run.residual_lies = (Layout)fused_residual(s)->panel;
    columns_run(&c->columns, &run);
    return OK;
}

const PanelConv *conv_panels(const Step *s) { return s->run == conv_run_panels ? s->state : NULL; }

/* How inputs and output may lie, see engine/panels.h. Posts go along rows of an image, or of all images. What may become part of a pair is read as it is. */
static void allow_layouts(Step *s, const PanelConv *c)
{
    const Multiply *m = &c->columns.multiply;
    const unsigned operands = fused_operands(s), x = multiply_reads_panels(m);
    if (variant_is_winograd(c->columns.variant)) return;
    if (multiply_writes_panels(m) && !c->cut.part_rows) {
        if (conv_operands_of(s, c->bias, true).posts.n) panels_allow_inputs(s, IN_PANELS, x);
        else panels_allow(s, IN_PANELS, x | operands, m->shape.batch > 1 ? operands : 0);
    }
    if (m->together > 1) panels_allow(s, BY_CHANNEL, 1, operands);
}

static Err conv_prep_panels(Plan *plan, Step *s, const ConvShape *c)
{
    PanelConv *panels;
    MultiplyShape shape = { .window = window_of(c), .batch = (int)c->batch, .groups = (int)c->group, .columns = c->out[1] * c->out[2] };
    shape.k = (int)(c->channels * c->kernel[1] * c->kernel[2]);
    shape.weights = (Weights){ NULL, (size_t)shape.k, 1, (int)(c->outputs / c->group) };
    TRY(plan_array(plan, 1, sizeof *panels, &panels));
    TRY(columns_start(plan, s, &shape));
    panels->cut = pair_cut(plan, s, &shape);
    shape.part_rows = panels->cut.part_rows;
    if (s->fused) TRY(fused_bias(plan, s, s->in[2], c->outputs, &panels->bias));
    TRY(columns_prepare(plan, s, &shape, &panels->columns));
    allow_layouts(s, panels);
    s->state = panels;
    s->run = conv_run_panels;
    s->over = fused_residual(s);
    return OK;
}

/* Of images of one pixel: classifiers behind a pool. Images are tokens then. */
typedef struct TokenConv { Tokens tokens; const float *bias; } TokenConv;

static bool fits_tokens(const Step *s, const ConvShape *c)
{
    if (!fits_panels(s, c) || c->group != 1) return false;
    for (int i = 1; i < 3; i++) if (c->in[i] != 1 || c->out[i] != 1 || c->kernel[i] != 1 || c->pad[i]) return false;
    return true;
}

static Err conv_run_tokens(Plan *plan, Step *s)
{
    const TokenConv *c = s->state;
    (void)plan;
    const MultiplyRun run = conv_operands_of(s, c->bias, false);
    tokens_run(&c->tokens, &run);
    return OK;
}

static Err conv_prep_tokens(Plan *plan, Step *s, const ConvShape *c)
{
    TokenConv *conv;
    const Kernels *kernels;
    TRY(find_kernels(&kernels));
    TRY(plan_array(plan, 1, sizeof *conv, &conv));
    if (s->fused) TRY(fused_bias(plan, s, s->in[2], c->outputs, &conv->bias));
    conv->tokens = (Tokens){ .tokens = c->batch, .packed = { .k = (int)c->channels, .kernels = kernels, .threads = plan->threads } };
    conv->tokens.packed.weights = (Weights){ NULL, (size_t)c->channels, 1, (int)c->outputs };
    TRY(tokens_prepare(plan, s, 0, &conv->tokens));
    s->state = conv;
    s->run = conv_run_tokens;
    return OK;
}

/* With constant operands, by kernels. */
int conv_fuses(const Step *s)
{
    ConvShape c;
    if (!s->in[1]->constant || (s->in[2] && !s->in[2]->constant) || s->in[0]->dtype != DT_F32 || s->in[1]->dtype != DT_F32) return -1;
    if (conv_shape(s, s->in[0], s->in[1], &c) != OK || conv_operands(s, &c) != OK) return -1;
    flatten_pointwise(&c);
    return fits_panels(s, &c) || fits_depthwise(s, &c) ? 1 : -1;
}

bool conv_planes(const Step *s, PanelWindow *w)
{
    ConvShape c;
    if (!s->in[1]->constant || conv_shape(s, s->in[0], s->in[1], &c) != OK || c.group != c.outputs) return false;
    flatten_pointwise(&c);
    *w = window_of(&c);
    return fits_depthwise(s, &c);
}

Err conv_prep(Plan *plan, Step *s)
{
    Err e;
    ConvShape *c;
    if (widened(plan, s, conv_prep, &e)) return e;
    TRY(plan_array(plan, 1, sizeof *c, &c));
    TRY(conv_shape(s, s->in[0], s->in[1], c));
    TRY(conv_operands(s, c));
    flatten_pointwise(c);
    if (fits_tokens(s, c)) return conv_prep_tokens(plan, s, c);
    if (fits_panels(s, c)) return conv_prep_panels(plan, s, c);
    if (fits_depthwise(s, c)) return conv_prep_depthwise(plan, s, c);
    s->state = c;
    if (s->in[0]->dtype == DT_F32) s->run = conv_run_f32;
    else if (s->in[0]->dtype == DT_F64) s->run = conv_run_f64;
    else return step_refuse(s, "input", s->in[0]);
    return OK;
}

/* Integer convolutions: operands minus zero points as int32. Padding adds the zero point, that is 0 after the subtraction. -------------- */

static Err conv_i32_of(Plan *plan, Step *s, const Buffer *const operand[5], int32_t *y)
{
    int32_t *x = (int32_t *)s->scratch, *w = x + operand[0]->count;
    TRY(minus_zero(operand[0], operand[1], 1, x));
    TRY(minus_zero(operand[2], operand[3], 0, w));
    conv_i32(plan, s->state, x, w, operand[4] ? operand[4]->data : NULL, y);
    return OK;
}

static Err integer_shape(Plan *plan, Step *s, int weight)
{
    ConvShape *c;
    int operands[2] = { 0, weight };
    for (int i = 0; i < 2; i++) {
        const Buffer *b = s->in[operands[i]];
        if (dtype_bits(b->dtype) != 8 || !dtype_is_whole(b->dtype)) return step_refuse(s, "input", b);
    }
    TRY(plan_array(plan, 1, sizeof *c, &c));
    TRY(conv_shape(s, s->in[0], s->in[weight], c));
    flatten_pointwise(c);
    s->state = c;
    s->scratch_bytes = (size_t)(s->in[0]->count + s->in[weight]->count + s->out[0]->count) * sizeof(int32_t);
    return OK;
}

static Err conv_integer_run(Plan *plan, Step *s)
{
    return conv_i32_of(plan, s, (const Buffer *[]){ s->in[0], s->in[2], s->in[1], s->in[3], NULL }, s->out[0]->data);
}

Err conv_integer_prep(Plan *plan, Step *s)
{
    s->run = conv_integer_run;
    return integer_shape(plan, s, 1);
}

/* inputs: x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias (int32, scale x_scale * w_scale) */
static Err qlinear_conv_run(Plan *plan, Step *s)
{
    const ConvShape *c = s->state;
    int32_t *acc = (int32_t *)s->scratch + s->in[0]->count + s->in[3]->count;
    TRY(conv_i32_of(plan, s, (const Buffer *[]){ s->in[0], s->in[2], s->in[3], s->in[5], s->in[8] }, acc));
    Buffer *y = s->out[0];
    int64_t plane = c->out[0] * c->out[1] * c->out[2];
    float sx = scale_at(s->in[1], 0), sy = scale_at(s->in[6], 0);
    #pragma omp parallel for num_threads(plan->threads) if (y->count > PARALLEL_WORK)
    for (int64_t row = 0; row < c->batch * c->outputs; row++) {
        float scale = sx * scale_at(s->in[4], s->in[4]->count > 1 ? row % c->outputs : 0) / sy;
        for (int64_t i = row * plane; i < (row + 1) * plane; i++) put_saturated(y, i, nearbyint((double)((float)acc[i] * scale)), s->in[7], 0);
    }
    return OK;
}

Err qlinear_conv_prep(Plan *plan, Step *s)
{
    if (dtype_bits(s->out[0]->dtype) != 8) return step_refuse(s, "output", s->out[0]);
    if (s->in[8] && s->in[8]->dtype != DT_I32) return step_refuse(s, "bias", s->in[8]);
    s->run = qlinear_conv_run;
    return integer_shape(plan, s, 3);
}
