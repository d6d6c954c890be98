/* Recurrences of linear attention and its convolution, determinants, and scattering into a cache.
 * https://onnx.ai/onnx/operators/onnx__LinearAttention.html , onnx__CausalConvWithState.html , onnx__Det.html , onnx__TensorScatter.html */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/infer.h"
#include "engine/move.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

static Err all_float(const Step *s)
{
    for (int i = 0; i < s->n_in; i++) if (s->in[i] && !dtype_is_float(s->in[i]->dtype)) return step_refuse(s, "input", s->in[i]);
    return OK;
}

/* LinearAttention: a state (key, value) for each head of keys; every token decays it, adds key x value and reads it with its queries. ---------------- */

typedef struct Linear {
    int64_t batch, length, heads, kv_heads, size, value_size;
    bool gated, delta;
    double scale;
    int64_t decays, betas;         /* last axes of decay and beta */
} Linear;

/* One token of head g: state S (size, value_size) in and out; v: scratch (value_size). */
static void linear_token(const Step *s, const Linear *l, const int64_t at[3], double *state, double *v)
{
    int64_t token = at[0] * l->length + at[1], g = at[2];
    for (int64_t d = 0; d < l->size && l->gated; d++) {
        bool each = l->decays != l->kv_heads;
        double decay = exp(number_at(s->in[4], token * l->decays + (each ? g * l->size + d : g)));
        for (int64_t m = 0; m < l->value_size; m++) state[d * l->value_size + m] *= decay;
    }
    const int64_t k = (token * l->kv_heads + g) * l->size;
    for (int64_t m = 0; m < l->value_size; m++) {
        v[m] = number_at(s->in[2], (token * l->kv_heads + g) * l->value_size + m);
        if (!l->delta) continue;
        double seen = 0, beta = number_at(s->in[5], token * l->betas + (l->betas > 1 ? g : 0));
        for (int64_t d = 0; d < l->size; d++) seen += state[d * l->value_size + m] * number_at(s->in[1], k + d);
        v[m] = beta * (v[m] - seen);
    }
    for (int64_t d = 0; d < l->size; d++) {
        double key = number_at(s->in[1], k + d);
        for (int64_t m = 0; m < l->value_size; m++) state[d * l->value_size + m] += key * v[m];
    }
    int64_t share = l->heads / l->kv_heads;
    for (int64_t h = g * share; h < (g + 1) * share; h++)
        for (int64_t m = 0; m < l->value_size; m++) {
            double sum = 0;
            for (int64_t d = 0; d < l->size; d++) sum += number_at(s->in[0], (token * l->heads + h) * l->size + d) * state[d * l->value_size + m];
            sum *= l->scale;
            elements_from_f64(s->out[0]->dtype, &sum, 1, s->out[0]->data, (token * l->heads + h) * l->value_size + m);
        }
}

static Err linear_run(Plan *plan, Step *s)
{
    const Linear *l = s->state;
    int64_t cells = l->size * l->value_size;
    double *state = (double *)s->scratch, *v = state + cells;
    (void)plan;
    for (int64_t i = 0; i < l->batch * l->kv_heads; i++) {
        if (s->in[3]) elements_to_f64(s->in[3]->dtype, s->in[3]->data, i * cells, cells, state);
        else memset(state, 0, (size_t)cells * sizeof *state);
        for (int64_t t = 0; t < l->length; t++) linear_token(s, l, (int64_t[]){ i / l->kv_heads, t, i % l->kv_heads }, state, v);
        elements_from_f64(s->out[1]->dtype, state, cells, s->out[1]->data, i * cells);
    }
    return OK;
}

Err linear_attention_prep(Plan *plan, Step *s)
{
    Linear *l;
    const Shape *q = &s->in[0]->shape, *k = &s->in[1]->shape, *v = &s->in[2]->shape;
    const Attr *rule = node_attr(s->node, "update_rule");
    TRY(plan_array(plan, 1, sizeof *l, &l));
    TRY(all_float(s));
    l->heads = attr_i(s->node, "q_num_heads", 0);
    l->kv_heads = attr_i(s->node, "kv_num_heads", 0);
    l->gated = !rule || attr_s_is(s->node, "update_rule", "gated", false) || attr_s_is(s->node, "update_rule", "gated_delta", false);
    l->delta = !rule || attr_s_is(s->node, "update_rule", "delta", false) || attr_s_is(s->node, "update_rule", "gated_delta", false);
    if (q->rank != 3 || k->rank != 3 || v->rank != 3 || l->kv_heads < 1 || l->heads < 1 || l->heads % l->kv_heads || q->dim[2] % l->heads || v->dim[2] % l->kv_heads)
        return err_set(ERR_SHAPE, "The heads of a LinearAttention do not fit.");
    l->batch = q->dim[0]; l->length = q->dim[1]; l->size = q->dim[2] / l->heads; l->value_size = v->dim[2] / l->kv_heads;
    l->scale = (double)attr_f(s->node, "scale", 0);
    if (l->scale == 0) l->scale = 1 / sqrt((double)l->size);
    if (l->gated != (s->in[4] != NULL) || l->delta != (s->in[5] != NULL)) return err_set(ERR_SHAPE, "LinearAttention's decay or beta does not fit its update_rule.");
    int64_t tokens = l->batch * l->length;
    l->decays = s->in[4] && tokens ? s->in[4]->count / tokens : 0;
    l->betas = s->in[5] && tokens ? s->in[5]->count / tokens : 0;
    bool fits = k->dim[2] == l->kv_heads * l->size && s->in[1]->count == tokens * k->dim[2] && s->in[2]->count == tokens * v->dim[2];
    if (s->in[4]) fits = fits && s->in[4]->count == tokens * l->decays && (l->decays == l->kv_heads || l->decays == l->kv_heads * l->size);
    if (s->in[5]) fits = fits && s->in[5]->count == tokens * l->betas && (l->betas == 1 || l->betas == l->kv_heads);
    if (s->in[3]) fits = fits && s->in[3]->count == l->batch * l->kv_heads * l->size * l->value_size;
    if (!fits) return err_set(ERR_SHAPE, "The operands of a LinearAttention do not fit together.");
    if (s->out[0]->shape.rank < 0) TRY(step_output(plan, s, 0, s->in[0]->dtype, &(Shape){ 3, { l->batch, l->length, l->heads * l->value_size } }));
    if (s->out[1]->shape.rank < 0) TRY(step_output(plan, s, 1, s->in[0]->dtype, &(Shape){ 4, { l->batch, l->kv_heads, l->size, l->value_size } }));
    s->state = l;
    s->scratch_bytes = (size_t)(l->size * l->value_size + l->value_size) * sizeof(double);
    s->run = linear_run;
    return OK;
}

/* CausalConvWithState: each channel with its own taps, the past state before the input; SiLU if asked. ------------------------------------------------- */

/* Element i of channel c, state first. */
static double causal_at(const Step *s, int64_t c, int64_t i, int64_t taps)
{
    if (i >= taps - 1) return number_at(s->in[0], c * s->in[0]->shape.dim[2] + i - taps + 1);
    return s->in[3] ? number_at(s->in[3], c * (taps - 1) + i) : 0;
}

static Err causal_run(Plan *plan, Step *s)
{
    const Shape *x = &s->in[0]->shape;
    int64_t taps = s->in[1]->shape.dim[2], length = x->dim[2], channels = x->dim[0] * x->dim[1];
    bool silu = !attr_s_is(s->node, "activation", "none", true);
    (void)plan;
    for (int64_t c = 0; c < channels; c++) {
        int64_t w = c % x->dim[1];
        for (int64_t i = 0; i < length; i++) {
            double sum = s->in[2] ? number_at(s->in[2], w) : 0;
            for (int64_t k = 0; k < taps; k++) sum += number_at(s->in[1], w * taps + k) * causal_at(s, c, i + k, taps);
            if (silu) sum /= 1 + exp(-sum);
            elements_from_f64(s->out[0]->dtype, &sum, 1, s->out[0]->data, c * length + i);
        }
        for (int64_t k = 0; k < taps - 1; k++) {
            double v = causal_at(s, c, length + k, taps);
            elements_from_f64(s->out[1]->dtype, &v, 1, s->out[1]->data, c * (taps - 1) + k);
        }
    }
    return OK;
}

Err causal_conv_prep(Plan *plan, Step *s)
{
    const Shape *x = &s->in[0]->shape, *w = &s->in[1]->shape;
    if (x->rank != 3 || w->rank != 3 || w->dim[0] != x->dim[1] || w->dim[1] != 1 || w->dim[2] < 1)
        return err_set(ERR_SHAPE, "The weight of a CausalConvWithState does not fit.");
    if ((s->in[2] && s->in[2]->count != x->dim[1]) || (s->in[3] && s->in[3]->count != x->dim[0] * x->dim[1] * (w->dim[2] - 1)))
        return err_set(ERR_SHAPE, "The bias or the state of a CausalConvWithState does not fit.");
    if (s->out[1]->shape.rank < 0) TRY(step_output(plan, s, 1, s->in[0]->dtype, &(Shape){ 3, { x->dim[0], x->dim[1], w->dim[2] - 1 } }));
    s->run = causal_run;
    return all_float(s);
}

/* Det: Gauss with the largest pivot -------------------------------------------------------------------------------------------------------------------- */

static double determinant(double *a, int64_t n)
{
    double det = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t best = k;
        for (int64_t i = k + 1; i < n; i++) if (fabs(a[i * n + k]) > fabs(a[best * n + k])) best = i;
        if (a[best * n + k] == 0) return 0;
        for (int64_t j = 0; j < n && best != k; j++) { double t = a[k * n + j]; a[k * n + j] = a[best * n + j]; a[best * n + j] = t; }
        det *= best == k ? a[k * n + k] : -a[k * n + k];
        for (int64_t i = k + 1; i < n; i++) {
            double f = a[i * n + k] / a[k * n + k];
            for (int64_t j = k; j < n; j++) a[i * n + j] -= f * a[k * n + j];
        }
    }
    return det;
}

static Err det_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    int64_t n = x->shape.dim[x->shape.rank - 1];
    (void)plan;
    for (int64_t i = 0; i < s->out[0]->count; i++) {
        elements_to_f64(x->dtype, x->data, i * n * n, n * n, (double *)s->scratch);
        double d = determinant((double *)s->scratch, n);
        elements_from_f64(x->dtype, &d, 1, s->out[0]->data, i);
    }
    return OK;
}

Err det_prep(Plan *plan, Step *s)
{
    const Shape *x = &s->in[0]->shape;
    (void)plan;
    if (x->rank < 2 || x->dim[x->rank - 1] != x->dim[x->rank - 2]) return err_set(ERR_SHAPE, "Det needs square matrices.");
    s->scratch_bytes = (size_t)(x->dim[x->rank - 1] * x->dim[x->rank - 1]) * sizeof(double);
    s->run = det_run;
    return all_float(s);
}

/* TensorScatter: rows of the update into the cache, from write_indices[sample] on -------------------------------------------------------------------------- */

static Err cache_run(Plan *plan, Step *s)
{
    const Buffer *past = s->in[0], *update = s->in[1], *index = s->in[2];
    int axis = *(const int *)s->state;
    int64_t size = past->shape.dim[axis], n = update->shape.dim[axis], inner = shape_span(&past->shape, axis + 1, past->shape.rank);
    int64_t outer = shape_span(&past->shape, 0, axis), samples = past->shape.dim[0];
    size_t row = (size_t)inner * element_size(past->dtype);
    (void)plan;
    memcpy(s->out[0]->data, past->data, past->bytes);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            int64_t at = 0;
            if (index) at = whole_at(index, o / (outer / samples));
            at += i;
            if (attr_s_is(s->node, "mode", "circular", false)) at = (at % size + size) % size;
            if (at < 0 || at >= size) return err_set(ERR_ARG, "Row %lld is beyond the %lld of the cache.", (long long)at, (long long)size);
            memcpy((char *)s->out[0]->data + (size_t)(o * size + at) * row, (const char *)update->data + (size_t)(o * n + i) * row, row);
        }
    return OK;
}

Err cache_scatter_prep(Plan *plan, Step *s)
{
    const Shape *p = &s->in[0]->shape, *u = &s->in[1]->shape;
    int *axis;
    TRY(plan_array(plan, 1, sizeof *axis, &axis));
    TRY(axis_of(attr_i(s->node, "axis", -2), p->rank, axis));
    if (u->rank != p->rank || !*axis || s->in[1]->dtype != s->in[0]->dtype || (s->in[2] && s->in[2]->count != p->dim[0]))
        return err_set(ERR_SHAPE, "The update does not fit the cache.");
    for (int i = 0; i < p->rank; i++) if (i == *axis ? u->dim[i] > p->dim[i] : u->dim[i] != p->dim[i]) return err_set(ERR_SHAPE, "The update does not fit the cache.");
    s->state = axis;
    s->run = cache_run;
    return movable(s, s->in[0]);
}

/* CenterCropPad: cut or filled with zeros on both sides -------------------------------------------------------------------------------------------------- */

static Err center_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    Buffer *y = s->out[0];
    size_t size = element_size(x->dtype);
    int64_t from[MAX_RANK], to[MAX_RANK], at_from = 0, at_to = 0;
    Copy c = { 0 };
    shape_strides(&x->shape, from);
    shape_strides(&y->shape, to);
    memset(y->data, 0, y->bytes);
    for (int i = 0; i < x->shape.rank; i++) {
        int64_t a = x->shape.dim[i], b = y->shape.dim[i];
        at_from += a > b ? (a - b) / 2 * from[i] : 0;
        at_to += b > a ? (b - a) / 2 * to[i] : 0;
        copy_axis(&c, a < b ? a : b, from[i], to[i]);
    }
    copy_axis(&c, 1, 1, 1);
    if (x->count && y->count) copy_strided(plan, &c, (const char *)x->data + (size_t)at_from * size, (char *)y->data + (size_t)at_to * size, size);
    return OK;
}

Err center_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = center_run;
    if (s->out[0]->shape.rank != s->in[0]->shape.rank) return err_set(ERR_SHAPE, "CenterCropPad keeps the number of axes.");
    return movable(s, s->in[0]);
}
