/* Normalizations: Softmax family, BatchNormalization, LayerNormalization family, LRN, LpNormalization. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/floats.h"
#include "engine/move.h"
#include "engine/panels.h"
#include "engine/run_ops.h"
#include "engine/widen.h"

typedef struct Norm {
    int64_t rows, n;
    int64_t period;                /* scale and bias: index i % period of a row ... */
    int64_t per_channel;           /* ... or, if not 0, one value for each run of so many elements, */
    int64_t channel_rows;          /* the rows of one sample holding the channels in turn */
    double  epsilon;
    bool    rms;
    void   *mean, *rstd;           /* NULL, or where to leave them */
} Norm;

#define LOOPS "engine/loops_norm.inc"
#include "engine/reals.inc"

static Err float_only(const Step *s)
{
    DType t = s->in[0]->dtype;
    return t == DT_F32 || t == DT_F64 ? OK : step_refuse(s, "input", s->in[0]);
}

/* Softmax, LogSoftmax, Hardmax. Before opset 13 the input counts as a matrix: axes before `axis` against the rest. */
static Axis softmax_axis(const Step *s, int axis)
{
    const Shape *x = &s->in[0]->shape;
    return s->opset < 13 ? axis_around(x, axis, x->rank) : axis_around(x, axis, axis + 1);
}

/* Softmax along an axis: y = exp(x - max) / sum exp(x - max); log form: x - max - log(sum). [outer][n][inner] */
static void softmax(const Plan *plan, const Axis *a, const double *x, double *y, bool logarithm)
{
    #pragma omp parallel for num_threads(plan->threads) if (a->outer * a->n * a->inner > PARALLEL_WORK / 4)
    for (int64_t t = 0; t < a->outer * a->inner; t++) {
        const double *from = x + t / a->inner * a->n * a->inner + t % a->inner;
        double *to = y + (from - x), most = -INFINITY;
        int64_t step = a->inner;
        double sum = 0;
        for (int64_t i = 0; i < a->n; i++) if (!(from[i * step] <= most)) most = from[i * step];
        for (int64_t i = 0; i < a->n; i++) {
            double v = exp(from[i * step] - most);
            sum += v;
            if (!logarithm) to[i * step] = v;
        }
        double scale = (1 / sum), shift = log(sum);
        for (int64_t i = 0; i < a->n; i++) to[i * step] = logarithm ? from[i * step] - most - shift : to[i * step] * scale;
    }
}

static Err softmax_run(Plan *plan, Step *s)
{
    const Axis *a = s->state;
    bool logarithm = !strcmp(s->op->type, "LogSoftmax");
    if (s->in[0]->dtype == DT_F32) floats_softmax(plan, a, s->in[0]->data, s->out[0]->data, logarithm);
    else softmax(plan, a, s->in[0]->data, s->out[0]->data, logarithm);
    return OK;
}

static Err hardmax_run(Plan *plan, Step *s)
{
    const Axis *a = s->state;
    const Buffer *x = s->in[0];
    (void)plan;
    for (int64_t t = 0; t < a->outer * a->inner; t++) {
        int64_t at = t / a->inner * a->n * a->inner + t % a->inner, best = 0;
        double most = 0;
        for (int64_t i = 0; i < a->n; i++) {
            double v, zero = 0;
            v = number_at(x, at + i * a->inner);
            if (!i || v > most) { most = v; best = i; }
            elements_from_f64(x->dtype, &zero, 1, s->out[0]->data, at + i * a->inner);
        }
        double one = 1;
        if (a->n) elements_from_f64(x->dtype, &one, 1, s->out[0]->data, at + best * a->inner);
    }
    return OK;
}

Err softmax_prep(Plan *plan, Step *s)
{
    Err e;
    Axis *a;
    int axis = 0;
    if (widened(plan, s, softmax_prep, &e)) return e;
    if (!s->in[0]->shape.rank) return err_set(ERR_SHAPE, "%s needs an axis.", s->op->type);
    TRY(axis_of(attr_i(s->node, "axis", s->opset < 13 ? 1 : -1), s->in[0]->shape.rank, &axis));
    TRY(plan_array(plan, 1, sizeof *a, &a));
    *a = softmax_axis(s, axis);
    s->state = a;
    s->run = strcmp(s->op->type, "Hardmax") ? softmax_run : hardmax_run;
    TRY(floats_ready());
    return float_only(s);
}

/* BatchNormalization: y = (x - mean) / sqrt(var + eps) * scale + bias -------------------------------------------------------------------- */

static Err batch_norm_run(Plan *plan, Step *s)
{
    const Axis *a = s->state;
    double *factor = (double *)s->scratch, *offset = factor + a->n, epsilon = (double)attr_f(s->node, "epsilon", 1e-5f);
    for (int64_t c = 0; c < a->n; c++) {
        double v[5];
        for (int i = 1; i < 5; i++) v[i] = number_at(s->in[i], c);
        factor[c] = v[1] / sqrt(v[4] + epsilon);
        offset[c] = v[2] - v[3] * factor[c];
    }
    if (s->in[0]->dtype == DT_F32) batch_norm_f32(plan, a, s->in[0]->data, s->out[0]->data, factor, offset);
    else batch_norm_f64(plan, a, s->in[0]->data, s->out[0]->data, factor, offset);
    return OK;
}

Err batch_norm_prep(Plan *plan, Step *s)
{
    Err e;
    Axis *a;
    const Shape *x = &s->in[0]->shape;
    if (widened(plan, s, batch_norm_prep, &e)) return e;
    if (attr_i(s->node, "training_mode", 0) || (s->n_out > 1 && s->out[1]))
        return err_set(ERR_UNSUPPORTED, "BatchNormalization in training mode cannot be run (node '%s').", s->node->name);
    TRY(plan_array(plan, 1, sizeof *a, &a));
    *a = x->rank > 1 ? axis_around(x, 1, 2) : (Axis){ x->rank ? x->dim[0] : 1, 1, 1 };
    for (int i = 1; i < 5; i++)
        if (s->in[i]->count != a->n) return err_set(ERR_SHAPE, "'%s' has %lld elements for %lld channels.", s->in[i]->name, (long long)s->in[i]->count, (long long)a->n);
    s->state = a;
    s->scratch_bytes = (size_t)a->n * 2 * sizeof(double);
    s->run = batch_norm_run;
    return float_only(s);
}

/* Rows: LayerNormalization, RMSNormalization, InstanceNormalization, GroupNormalization, MeanVarianceNormalization ------------------------ */

/* Whether rows go through the kernel: scale and shift lie along whole rows or are one number a channel, and moments are not wanted. */
static bool plain_rows(const Norm *g, bool scaled)
{
    return g->n > 0 && !g->mean && !g->rstd && (g->per_channel || !scaled || g->period == g->n);
}

static void norm_floats(const Plan *plan, const Norm *g, const float *x, float *y, const float *const scale_shift[2])
{
    static const Arithmetic STEP[] = { ARITHMETIC_MUL, ARITHMETIC_ADD };
    const Kernels *k = kernels_best();
    Normalize p = { NULL, NULL, (float)g->epsilon, g->rms };
    if (!g->per_channel) { p.scale = scale_shift[0]; p.shift = scale_shift[1]; }
    #pragma omp parallel for num_threads(plan->threads) if (g->rows * g->n > PARALLEL_WORK)
    for (int64_t row = 0; row < g->rows; row++) {
        float *to = y + row * g->n;
        k->normalize_f32(&p, x + row * g->n, to, (size_t)g->n);
        int64_t channels = g->per_channel ? g->n / g->per_channel : 0, first = channels ? row % g->channel_rows * channels : 0;
        for (int64_t c = 0; c < channels; c++)
            for (int i = 0; i < 2; i++) {
                if (!scale_shift[i]) continue;
                k->combine_f32(&(Combine){ STEP[i], 1, 0 }, to + c * g->per_channel, scale_shift[i] + first + c, to + c * g->per_channel, (size_t)g->per_channel);
            }
    }
}

/* LayerNormalization and its kin of tokens that lie in panels. */
static void norm_panels(const Plan *plan, const Step *s, const Norm *g)
{
    const Buffer *scale = s->n_in > 1 ? s->in[1] : NULL, *shift = s->n_in > 2 ? s->in[2] : NULL;
    panels_normalize(plan, s, &(Normalize){ scale ? scale->data : NULL, shift ? shift->data : NULL, (float)g->epsilon, g->rms });
}

static Err norm_run(Plan *plan, Step *s)
{
    if (s->in[0]->panel || s->out[0]->panel) {
        norm_panels(plan, s, s->state);
        return OK;
    }
    Norm g = *(const Norm *)s->state;
    bool layer = strstr(s->op->type, "LayerNorm") != NULL;
    g.mean = layer && !g.rms && s->n_out > 1 && s->out[1] ? s->out[1]->data : NULL;
    int inverse = g.rms ? 1 : 2;
    g.rstd = layer && s->n_out > inverse && s->out[inverse] ? s->out[inverse]->data : NULL;
    const void *scale = s->n_in > 1 && s->in[1] ? s->in[1]->data : NULL, *bias = s->n_in > 2 && s->in[2] ? s->in[2]->data : NULL;
    bool fast = s->in[0]->dtype == DT_F32 && plain_rows(&g, scale || bias);
    if (fast) norm_floats(plan, &g, s->in[0]->data, s->out[0]->data, (const float *[]){ scale, bias });
    else if (s->in[0]->dtype == DT_F32) norm_rows_f32(plan, &g, s->in[0]->data, s->out[0]->data, scale, bias);
    else norm_rows_f64(plan, &g, s->in[0]->data, s->out[0]->data, scale, bias);
    return OK;
}

static Err norm_ready(Plan *plan, Step *s, const Norm *given)
{
    Norm *g;
    TRY(plan_array(plan, 1, sizeof *g, &g));
    *g = *given;
    for (int i = 1; i < s->n_in; i++)
        if (s->in[i] && s->in[i]->dtype != s->in[0]->dtype) return err_set(ERR_UNSUPPORTED, "%s with operands of different types cannot be run.", s->op->type);
    s->state = g;
    s->run = norm_run;
    TRY(floats_ready());
    return float_only(s);
}

/* scale and bias that broadcast along rows: trailing axes of the row, leading ones of size 1. */
static Err row_period(const Step *s, int axis, Norm *g)
{
    const Shape *x = &s->in[0]->shape;
    g->period = 1;
    for (int i = 1; i < s->n_in && i < 3; i++) {
        const Buffer *b = s->in[i];
        if (!b) continue;
        int64_t span = 1;
        for (int k = 0; k < b->shape.rank; k++) {
            int at = x->rank - b->shape.rank + k;
            bool whole = at >= axis && b->shape.dim[k] == x->dim[at];
            if (!whole && (b->shape.dim[k] != 1 || span > 1)) return err_set(ERR_UNSUPPORTED, "%s with a scale or bias of this shape cannot be run.", s->op->type);
            span *= b->shape.dim[k];
        }
        if (i > 1 && span != g->period) return err_set(ERR_UNSUPPORTED, "%s with scale and bias of different shapes cannot be run.", s->op->type);
        g->period = span ? span : 1;
    }
    return OK;
}

Err layer_norm_prep(Plan *plan, Step *s)
{
    Err e;
    int axis = 0;
    const Shape *x = &s->in[0]->shape;
    if (widened(plan, s, layer_norm_prep, &e)) return e;
    TRY(axis_of(attr_i(s->node, "axis", -1), x->rank, &axis));
    for (int i = 1; i < s->n_out; i++) if (s->out[i] && s->out[i]->dtype != s->in[0]->dtype) return step_refuse(s, "output", s->out[i]);
    Norm g = { .rows = shape_span(x, 0, axis), .n = shape_span(x, axis, x->rank), .epsilon = (double)attr_f(s->node, "epsilon", 1e-5f) };
    g.rms = strcmp(s->op->type, "LayerNormalization") != 0;
    TRY(row_period(s, axis, &g));
    TRY(norm_ready(plan, s, &g));
    bool scaled = s->n_in > 1, alone = s->n_out < 2 || (!s->out[1] && (s->n_out < 3 || !s->out[2]));
    if (s->in[0]->dtype != DT_F32 || axis != x->rank - 1 || !alone || !plain_rows(&g, scaled)) return OK;
    panels_allow(s, kernels_best()->sizes.sparse, 1, 0);
    s->scratch_bytes = panels_normalize_scratch(plan, s);
    return OK;
}

/* InstanceNormalization: rows are (sample, channel). GroupNormalization: rows are (sample, group); scale per channel (opset 21) or per group (18). */
Err channel_norm_prep(Plan *plan, Step *s)
{
    Err e;
    const Shape *x = &s->in[0]->shape;
    if (widened(plan, s, channel_norm_prep, &e)) return e;
    if (x->rank < 2) return err_set(ERR_SHAPE, "%s needs an input of rank 2 or more.", s->op->type);
    int64_t channels = x->dim[1], groups = strcmp(s->op->type, "GroupNormalization") ? channels : attr_i(s->node, "num_groups", 1), plane = shape_span(x, 2, x->rank);
    if (groups < 1 || channels % groups) return err_set(ERR_SHAPE, "%lld channels cannot be split into %lld groups.", (long long)channels, (long long)groups);
    Norm g = { .rows = x->dim[0] * groups, .n = channels / groups * plane, .epsilon = (double)attr_f(s->node, "epsilon", 1e-5f), .channel_rows = groups };
    bool by_group = !strcmp(s->op->type, "GroupNormalization") && s->opset < 21;
    g.per_channel = by_group ? g.n : plane;
    for (int i = 1; i < 3; i++) if (s->in[i]->count != (by_group ? groups : channels)) return err_set(ERR_SHAPE, "'%s' does not fit the channels.", s->in[i]->name);
    if (!g.n) g.per_channel = 1;
    return norm_ready(plan, s, &g);
}

/* LRN and LpNormalization ------------------------------------------------------------------------------------------------------------ */

static Err lrn_run(Plan *plan, Step *s)
{
    Axis a = axis_around(&s->in[0]->shape, 1, 2);
    double p[4] = { (double)attr_i(s->node, "size", 1), (double)attr_f(s->node, "alpha", 1e-4f),
        (double)attr_f(s->node, "beta", 0.75f), (double)attr_f(s->node, "bias", 1) };
    if (s->in[0]->dtype == DT_F32) lrn_f32(plan, &a, s->in[0]->data, s->out[0]->data, p);
    else lrn_f64(plan, &a, s->in[0]->data, s->out[0]->data, p);
    return OK;
}

Err lrn_prep(Plan *plan, Step *s)
{
    Err e;
    if (widened(plan, s, lrn_prep, &e)) return e;
    if (s->in[0]->shape.rank < 2 || attr_i(s->node, "size", 0) < 1) return err_set(ERR_SHAPE, "LRN needs channels and a size.");
    s->run = lrn_run;
    return float_only(s);
}

/* Rows of float32 by their lengths. */
static void unit_rows(const Plan *plan, int64_t rows, int64_t n, const float *x, float *y)
{
    const Kernels *k = kernels_best();
    #pragma omp parallel for num_threads(plan->threads) if (rows * n > PARALLEL_WORK)
    for (int64_t r = 0; r < rows; r++) {
        float squares = k->total_f32(TOTAL_SQUARES, x + r * n, (size_t)n), factor = squares == 0 ? 0 : 1 / sqrtf(squares);
        k->combine_f32(&(Combine){ ARITHMETIC_MUL, 1, 0 }, x + r * n, &factor, y + r * n, (size_t)n);
    }
}

static Err lp_norm_run(Plan *plan, Step *s)
{
    int axis = 0;
    TRY(axis_of(attr_i(s->node, "axis", -1), s->in[0]->shape.rank, &axis));
    Axis a = axis_around(&s->in[0]->shape, axis, axis + 1);
    int64_t p = attr_i(s->node, "p", 2);
    if (s->in[0]->dtype == DT_F32 && p == 2 && a.inner == 1) unit_rows(plan, a.outer, a.n, s->in[0]->data, s->out[0]->data);
    else if (s->in[0]->dtype == DT_F32) lp_norm_f32(&a, s->in[0]->data, s->out[0]->data, p);
    else lp_norm_f64(&a, s->in[0]->data, s->out[0]->data, p);
    return OK;
}

Err lp_norm_prep(Plan *plan, Step *s)
{
    Err e;
    if (widened(plan, s, lp_norm_prep, &e)) return e;
    int64_t p = attr_i(s->node, "p", 2);
    if (p != 1 && p != 2) return err_set(ERR_SHAPE, "LpNormalization has p = %lld, expected 1 or 2.", (long long)p);
    s->run = lp_norm_run;
    TRY(floats_ready());
    return float_only(s);
}
