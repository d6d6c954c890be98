/* Attention as exporters write it: MatMul, Mul or Div by a number, Add of a mask, Softmax, MatMul, around it Reshape and Transpose that split and join heads, and for
 * grouped queries Expand or Tile that repeat heads. One step takes their place, which reads operands where they were made: each operand is followed to the value
 * that it shows, and seen from there as sizes and strides. A mask may also be bools for which Where puts a number; a constant one that is causal becomes a limit,
 * and what lies beyond it is not computed.
 *
 * Operands have rank 3 (heads, rows, depth) or 4 (samples, heads, rows, depth). */
#include <math.h>
#include <string.h>
#include "engine/attend.h"
#include "engine/fuse.h"
#include "engine/panels.h"
#include "engine/plan_internal.h"
#include "engine/run_ops.h"
#include "engine/view.h"

enum { MAX_CHAIN = 12 };

/* How a value shows another one. */
typedef struct Reach {
    Buffer *base;
    View view;
    int64_t repeat;            /* so many neighbours along axis 1 are the same */
    float scale;               /* times this number */
} Reach;

/* Operands ------------------------------------------------------------------------------------------------------------------------------ */

static bool is_reshape(const Step *s)
{
    return is_type(s, "Reshape") || is_type(s, "Unsqueeze") || is_type(s, "Squeeze") || is_type(s, "Flatten") || is_type(s, "Identity");
}

/* What s shows without touching the elements; NULL: it makes new ones. */
static Buffer *shown_by(const Step *s, float *scale)
{
    float by;
    if (is_reshape(s) || is_type(s, "Transpose") || is_type(s, "Expand") || is_type(s, "Tile")) return s->in[0];
    for (int k = 0; is_type(s, "Mul") && s->n_in == 2 && k < 2; k++)
        if (number_of(s, k, &by) && shape_equal(&s->in[!k]->shape, &s->out[0]->shape)) { *scale *= by; return s->in[!k]; }
    if (!is_type(s, "Div") || !number_of(s, 1, &by) || !shape_equal(&s->in[0]->shape, &s->out[0]->shape)) return NULL;
    *scale /= by;
    return s->in[0];
}

/* Axes of size 1 grow by repeating. */
static bool repeat_axes(View *v, const Shape *to)
{
    View from = *v;
    int missing = to->rank - from.n;
    if (missing < 0) return false;
    for (int i = 0; i < to->rank; i++) {
        ViewAxis a = i < missing ? (ViewAxis){ 1, 0 } : from.axis[i - missing];
        if (a.size != to->dim[i] && a.size != 1) return false;
        v->axis[i] = a.size == to->dim[i] ? a : (ViewAxis){ to->dim[i], 0 };
    }
    v->n = to->rank;
    return true;
}

/* (samples, heads, repeats, rows, depth) to (samples, heads * repeats, rows, depth) */
static bool join_repeats(Reach *r, const Shape *to)
{
    View *v = &r->view;
    bool fits = v->n == 5 && to->rank == 4 && r->repeat == 1 && v->axis[2].stride == 0 && to->dim[0] == v->axis[0].size && to->dim[2] == v->axis[3].size &&
                to->dim[3] == v->axis[4].size;
    if (!fits) return false;
    r->repeat = v->axis[2].size;
    v->axis[1].size *= r->repeat;
    v->axis[2] = v->axis[3];
    v->axis[3] = v->axis[4];
    v->n = 4;
    return true;
}

static bool show(Reach *r, const Step *s)
{
    const int64_t *perm;
    const Shape *to = &s->out[0]->shape;
    if (is_type(s, "Transpose")) {
        int n = attr_is(s->node, "perm", &perm);
        if (r->repeat > 1 && (n != 4 || perm[1] != 1)) return false;
        view_transpose(&r->view, n ? perm : NULL, n);
        return r->view.n >= 0;
    }
    if (is_type(s, "Expand") || is_type(s, "Tile")) return repeat_axes(&r->view, to);
    if (!is_reshape(s)) return true;
    if (join_repeats(r, to)) return true;
    if (r->repeat > 1) return false;
    view_reshape(&r->view, to);
    return r->view.n >= 0;
}

/* Follows b upwards as far as the elements stay what they are. */
static bool reach_from(Buffer *b, Reach *out)
{
    const Step *chain[MAX_CHAIN];
    for (int most = MAX_CHAIN; most >= 0; most--) {            /* shorter chains stop at a value that can be described */
        Reach r = { .base = b, .repeat = 1, .scale = 1 };
        int n = 0;
        while (n < most && r.base->writer) {
            Buffer *next = shown_by(r.base->writer, &r.scale);
            if (!next) break;
            chain[n++] = r.base->writer;
            r.base = next;
        }
        r.view = view_of(&r.base->shape);
        bool fits = r.view.n >= 0;
        for (int i = n - 1; i >= 0 && fits; i--) fits = show(&r, chain[i]);
        if (!fits) continue;
        *out = r;
        return true;
    }
    return false;
}

/* The step ------------------------------------------------------------------------------------------------------------------------------ */

/* Whether queries, keys, values and results are tokens with all their heads as features, samples one after the other, and fill panels if there are several. */
static bool suit_panels(const Step *s, const Attend *a, int panel)
{
    const HeadsOf *h[] = { &a->q, &a->k, &a->v, &a->y };
    const Buffer *b[] = { s->in[0], s->in[1], s->in[2], s->out[0] };
    for (int i = 0; i < 4; i++) {
        bool query = i % 3 == 0;
        int64_t features = b[i]->shape.rank > 1 ? features_of(b[i]) : 0, tokens = query ? a->length : a->total;
        int64_t end = ((query ? a->heads : a->kv_heads) - 1) * h[i]->head + (i < 2 ? a->size : a->value_size);
        if (h[i]->column != 1 || h[i]->row != features || end > features || b[i]->count != a->batch * tokens * features) return false;
        if (a->batch > 1 && (h[i]->sample != tokens * features || tokens % panel)) return false;
    }
    return attend_columns_suit(a, panel);
}

static Err heads_run(Plan *plan, Step *s)
{
    Attend a = *(const Attend *)s->fused->own;
    a.q.data = s->in[0]->data;
    a.k.data = s->in[1]->data;
    a.v.data = s->in[2]->data;
    a.y.data = s->out[0]->data;
    a.panel = s->out[0]->panel;
    for (int i = 0; i < 2; i++) if (s->in[3 + i]) a.bias[i].data = s->in[3 + i]->data;
    attend(plan, &a, s->scratch);
    return OK;
}

static Err heads_prep(Plan *plan, Step *s)
{
    const Attend *a = s->fused->own;
    const Kernels *kernels;
    TRY(find_kernels(&kernels));
    if (suit_panels(s, a, kernels->sizes.sparse)) panels_allow(s, kernels->sizes.sparse, 7, 7);
    s->run = heads_run;
    return attend_scratch(plan, a, &s->scratch_bytes);
}

static const Op op_Attend = { "Attention of strided heads", "", 1, 3, 5, 1, 1, .prep = heads_prep };

/* Finding it ---------------------------------------------------------------------------------------------------------------------------- */

/* Strides of a value with the axes (heads, rows, columns) or (samples, heads, rows, columns). */
static HeadsOf strides_of(const View *v)
{
    const ViewAxis *last = &v->axis[v->n - 1];
    HeadsOf h = { NULL, v->n == 4 ? v->axis[0].stride : 0, v->axis[v->n - 3].stride, last[-1].stride, last->stride };
    if (h.row != 1 && h.column != 1 && last->size == 1) h.column = 1;
    else if (h.row != 1 && h.column != 1 && last[-1].size == 1) h.row = 1;
    return h;
}

static bool same_heads(const Attend *a, const View *v)
{
    return (v->n == 4 ? v->axis[0].size : 1) == a->batch && v->axis[v->n - 3].size == a->heads;
}

static bool small(int64_t n) { return n > 0 && n < 1 << 24; }

/* Q, K' and V as the two products see them. */
static bool find_operands(Attend *a, const Reach r[3], int rank)
{
    for (int i = 0; i < 3; i++) if (r[i].view.n != rank || r[i].base->dtype != DT_F32) return false;
    View q = r[0].view, k = r[1].view, v = r[2].view;
    const ViewAxis swapped = k.axis[rank - 2];
    k.axis[rank - 2] = k.axis[rank - 1];
    k.axis[rank - 1] = swapped;
    if (r[0].repeat > 1 || r[1].repeat != r[2].repeat || r[2].scale != 1) return false;
    *a = (Attend){ .dtype = DT_F32, .batch = rank == 4 ? q.axis[0].size : 1, .heads = q.axis[rank - 3].size, .length = q.axis[rank - 2].size,
                   .total = k.axis[rank - 2].size, .size = q.axis[rank - 1].size, .value_size = v.axis[rank - 1].size, .scale = (double)(r[0].scale * r[1].scale),
                   .q = strides_of(&q), .k = strides_of(&k), .v = strides_of(&v) };
    a->kv_heads = a->heads / r[1].repeat;
    const HeadsOf *all[] = { &a->q, &a->k, &a->v };
    for (int i = 0; i < 3; i++) if ((all[i]->row != 1 && all[i]->column != 1) || all[i]->row < 1 || all[i]->column < 1) return false;
    return same_heads(a, &k) && same_heads(a, &v) && k.axis[rank - 1].size == a->size && v.axis[rank - 2].size == a->total &&
           small(a->length) && small(a->total) && small(a->size) && small(a->value_size) && a->batch * a->heads > 0;
}

static bool is_product(const Step *s, int rank) { return s->n_in == 2 && s->in[0]->shape.rank == rank && s->in[1]->shape.rank == rank; }

/* What happens to scores between the products, apart from the softmax: first the scale, then masks: at most one of each kind
 * besides a causal one. */
typedef struct Between {
    Plan *plan;
    float scale;
    Bias bias[2];              /* numbers, bools */
    Buffer *mask[2];
    bool causal;
    int64_t past;
} Between;

/* Whether nothing but a scale and masks lies between a product and b, one of the values on the way. */
static bool from_product(const Buffer *b, const Shape *scores)
{
    for (int i = 0; i < 4 && b->readers == 1 && b->writer && !b->writer->late && shape_equal(&b->shape, scores); i++) {
        float number;
        const Step *s = b->writer;
        if (is_type(s, "MatMul")) return true;
        if (is_type(s, "Where")) b = s->in[number_of(s, 1, &number) ? 2 : 1];
        else if (is_type(s, "Mul") || is_type(s, "Div") || is_type(s, "Add"))
            b = s->in[!number_of(s, 1, &number) && (s->in[0]->constant || s->in[0]->count < b->count)];
        else return false;
    }
    return false;
}

/* The mask's strides behind the broadcast to the scores. */
static bool find_mask(const Buffer *mask, DType type, const Shape *scores, Bias *b)
{
    View v = view_of(&mask->shape);
    if (mask->dtype != type || !repeat_axes(&v, scores)) return false;
    for (int i = 0; i < v.n; i++) if (v.axis[i].size == 1) v.axis[i].stride = 0;
    const ViewAxis *last = &v.axis[v.n - 1];
    *b = (Bias){ .kind = b->kind, .fill = b->fill, .keys = last->size, .stride = { v.n == 4 ? v.axis[0].stride : 0, last[-2].stride, last[-1].stride, last->stride } };
    return last->stride == 0 || last->stride == 1;
}

/* What a mask does to a key: 1 nothing, 0 hides it, -1 something else. */
static int sees(const Bias *b, const void *mask, int64_t at)
{
    enum { ENOUGH = -10000 };                  /* for exp(-10000 + any ordinary score) to be 0 */
    if (b->kind != BIAS_ADDED) return b->fill > ENOUGH ? -1 : (((const uint8_t *)mask)[at] != 0) == (b->kind == BIAS_SEEN);
    float v = ((const float *)mask)[at];
    return v == 0 ? 1 : v <= ENOUGH ? 0 : -1;
}

/* Whether the mask, a constant, shows query i the keys up to *past + i and no others. */
static bool is_causal(const Buffer *mask, const Bias *b, const Shape *scores, int64_t *past)
{
    const int64_t *d = &scores->dim[scores->rank - 2];
    if (b->stride[0] || b->stride[1] || b->stride[3] != 1 || (!b->stride[2] && d[0] > 1)) return false;
    for (*past = 0; *past + 1 < d[1] && sees(b, mask->data, *past + 1) == 1; ++*past) { }
    for (int64_t i = 0; i < d[0]; i++)
        for (int64_t j = 0; j < d[1]; j++) if (sees(b, mask->data, i * b->stride[2] + j) != (j <= *past + i)) return false;
    return true;
}

static bool take_mask(Buffer *mask, Bias b, const Shape *scores, Between *t)
{
    bool bools = b.kind != BIAS_ADDED;
    int64_t past;
    if (!find_mask(mask, bools ? DT_BOOL : DT_F32, scores, &b)) return false;
    if (!t->causal && mask->constant && buffer_load(t->plan, mask) == OK && is_causal(mask, &b, scores, &past)) {
        t->causal = true;
        t->past = past;
        return true;
    }
    if (t->mask[bools] || (t->mask[0] && b.fill > -INFINITY)) return false;        /* numbers are added first */
    t->mask[bools] = mask;
    t->bias[bools] = b;
    return true;
}

/* The value before s, which adds a mask or hides scores; NULL: it does something else. */
static Buffer *unmasked(const Step *s, Between *t)
{
    float fill;
    const Shape *scores = &s->out[0]->shape;
    for (int k = 0; is_type(s, "Add") && k < 2; k++)
        if (from_product(s->in[k], scores) && take_mask(s->in[!k], (Bias){ .kind = BIAS_ADDED }, scores, t)) return s->in[k];
    for (int k = 1; is_type(s, "Where") && k < 3; k++) {
        Bias b = { .kind = k == 2 ? BIAS_HIDDEN : BIAS_SEEN };
        if (!from_product(s->in[k], scores) || !number_of(s, 3 - k, &fill)) continue;
        b.fill = (double)fill;
        if (take_mask(s->in[0], b, scores, t)) return s->in[k];
    }
    return NULL;
}

/* From the softmax's input up to the first product: that one. Bools are applied to scores after numbers. */
static Step *find_scores(const Step *softmax, Between *t)
{
    Buffer *b = softmax->in[0];
    for (int i = 0; i < 3 && b->readers == 1 && b->writer && !b->writer->late; i++) {
        const Step *s = b->writer;
        Buffer *next = NULL;
        if (is_type(s, "Mul") || is_type(s, "Div")) {
            next = shown_by(s, &t->scale);
            if (next) b = next;
            break;
        }
        next = unmasked(s, t);
        if (!next) break;
        b = next;
    }
    return written_by(b, "MatMul", 1);
}

/* The Reshape that is the only reader of what s writes; s: there is none. */
static Step *reshaped(const Plan *p, Step *s)
{
    for (int i = s->at + 1; i < p->n_step && i <= s->at + 8 && s->out[0]->readers == 1; i++) {
        Step *next = p->step[i];
        if (next && !next->late && is_reshape(next) && next->in[0] == s->out[0]) return next;
    }
    return s;
}

/* The product itself, or what is its only reader: a Transpose, a Reshape or the latter behind the former. *y: of the heads in that. */
static Step *find_result(Plan *p, Step *product, HeadsOf *y)
{
    const Shape *shape = &product->out[0]->shape;
    View v = view_of(shape);
    Step *last = product;
    for (int i = product->at + 1; i < p->n_step && i <= product->at + 8 && product->out[0]->readers == 1; i++) {
        Step *s = p->step[i];
        const int64_t *perm;
        int64_t stride[MAX_RANK];
        if (!s || s->late || !is_type(s, "Transpose") || s->in[0] != product->out[0]) continue;
        int n = attr_is(s->node, "perm", &perm);
        if (n != shape->rank || perm[n - 1] != n - 1) break;
        shape_strides(&s->out[0]->shape, stride);
        for (int k = 0; k < n; k++) v.axis[perm[k]].stride = stride[k];
        last = s;
    }
    *y = strides_of(&v);
    y->column = 1;
    return reshaped(p, last);
}

static bool along_last(const Step *softmax)
{
    int64_t axis = attr_i(softmax->node, "axis", softmax->opset < 13 ? 1 : -1), rank = softmax->in[0]->shape.rank;
    return axis == -1 || axis == rank - 1;
}

static Err fuse_heads(Plan *p, Step *product)
{
    Attend a, *own;
    Between t = { .plan = p, .scale = 1 };
    Reach r[3];
    int rank = product->out[0]->shape.rank;
    const Step *softmax = rank == 3 || rank == 4 ? only_from(product, 0, "Softmax") : NULL;
    if (!softmax || !is_product(product, rank) || !along_last(softmax) || product->out[0]->dtype != DT_F32) return OK;
    Step *first = find_scores(softmax, &t);
    if (!first || !is_product(first, rank)) return OK;
    if (!reach_from(first->in[0], &r[0]) || !reach_from(first->in[1], &r[1]) || !reach_from(product->in[1], &r[2])) return OK;
    if (!find_operands(&a, r, rank)) return OK;
    a.scale *= (double)t.scale;
    memcpy(a.bias, t.bias, sizeof a.bias);
    a.causal = t.causal;
    a.past = t.past;
    Step *last = find_result(p, product, &a.y);
    TRY(step_become(p, last, &op_Attend, (Buffer *[]){ r[0].base, r[1].base, r[2].base, t.mask[0], t.mask[1] }, 5));
    TRY(plan_array(p, 1, sizeof *own, &own));
    *own = a;
    last->fused->own = own;
    return OK;
}

Err fuse_attention(Plan *p)
{
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        if (s && !s->late && is_type(s, "MatMul") && s->out[0]) TRY(fuse_heads(p, s));
    }
    return OK;
}
