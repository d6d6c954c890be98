/* Attention as exporters write it: MatMul, Mul or Div by a number, Add of a mask, Softmax, MatMul, around it Reshape and Transpose that split and join heads, and for
 * grouped queries Expand or Tile that repeat heads. One step takes their place, which reads operands where they were made: each operand is followed to the value
 * that it shows, and seen from there as sizes and strides.
 *
 * Operands have rank 3 (heads, rows, depth) or 4 (samples, heads, rows, depth). */
#include <string.h>
#include "engine/attention.h"
#include "engine/fuse.h"
#include "engine/run_ops.h"
#include "engine/view.h"
#include "engine/walk.h"

enum { MAX_CHAIN = 12 };

/* How a value shows another one. */
typedef struct Reach {
    Buffer *base;
    View view;
    int64_t repeat;            /* so many neighbours along axis 1 are the same */
    float scale;               /* times this number */
} Reach;

/* Operands ------------------------------------------------------------------------------------------------------------------------------ */

static bool is(const Step *s, const char *type) { return !strcmp(s->op->type, type); }

static bool is_reshape(const Step *s) { return is(s, "Reshape") || is(s, "Unsqueeze") || is(s, "Squeeze") || is(s, "Flatten") || is(s, "Identity"); }

/* What s shows without touching the elements; NULL: it makes new ones. */
static Buffer *shown_by(const Step *s, float *scale)
{
    float by;
    if (is_reshape(s) || is(s, "Transpose") || is(s, "Expand") || is(s, "Tile")) return s->in[0];
    for (int k = 0; is(s, "Mul") && s->n_in == 2 && k < 2; k++)
        if (number_of(s, k, &by) && shape_equal(&s->in[!k]->shape, &s->out[0]->shape)) { *scale *= by; return s->in[!k]; }
    if (!is(s, "Div") || !number_of(s, 1, &by) || !shape_equal(&s->in[0]->shape, &s->out[0]->shape)) return NULL;
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
    if (is(s, "Transpose")) {
        int n = attr_is(s->node, "perm", &perm);
        if (r->repeat > 1 && (n != 4 || perm[1] != 1)) return false;
        view_transpose(&r->view, n ? perm : NULL, n);
        return r->view.n >= 0;
    }
    if (is(s, "Expand") || is(s, "Tile")) return repeat_axes(&r->view, to);
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

typedef struct Operand { int64_t sample, head, row, column, repeat; } Operand;     /* strides */
typedef struct Heads {
    int64_t samples, heads, queries, keys, depth, width;
    Operand q, k, v, y, mask;
    float scale;
} Heads;

/* Offsets of all heads in an operand. */
static Err offsets(Plan *p, const Heads *h, const Operand *o, int64_t **at)
{
    TRY(plan_array(p, h->samples * h->heads, sizeof **at, at));
    for (int64_t i = 0; i < h->samples * h->heads; i++) (*at)[i] = i / h->heads * o->sample + i % h->heads / o->repeat * o->head;
    return OK;
}

static Err attend_run(Plan *plan, Step *s)
{
    (void)plan;
    const AttentionRun run = { s->in[0]->data, s->in[1]->data, s->in[2]->data, s->in[3] ? s->in[3]->data : NULL, s->out[0]->data, (float *)s->scratch };
    attention_run(s->state, &run);
    return OK;
}

static Err attend_prep(Plan *plan, Step *s)
{
    const Heads *h = s->fused->own;
    Attention *a;
    TRY(plan_array(plan, 1, sizeof *a, &a));
    *a = (Attention){ .queries = (int)h->queries, .keys = (int)h->keys, .depth = (int)h->depth, .width = (int)h->width, .heads = h->samples * h->heads,
                      .scale = h->scale, .threads = plan->threads };
    TRY(find_kernels(&a->kernels));
    const Operand *from[] = { &h->q, &h->k, &h->v, &h->y, &h->mask };
    struct { int64_t **at, *row, *column; } to[] = { { &a->q.at, &a->q.row, &a->q.column }, { &a->k.at, &a->k.row, &a->k.column }, { &a->v.at, &a->v.row, &a->v.column },
                                                     { &a->y.at, &a->y.row, &a->y.column }, { &a->mask.at, &a->mask.row, &a->mask.column } };
    for (int i = 0; i < (s->in[3] ? 5 : 4); i++) {
        TRY(offsets(plan, h, from[i], to[i].at));
        *to[i].row = from[i]->row;
        *to[i].column = from[i]->column;
    }
    s->scratch_bytes = attention_scratch(a) * sizeof(float);
    s->state = a;
    s->run = attend_run;
    return OK;
}

static const Op op_Attend = { "Attention of strided heads", "", 1, 3, 4, 1, 1, .prep = attend_prep };

/* Finding it ---------------------------------------------------------------------------------------------------------------------------- */

/* Strides of a value with the axes (heads, rows, columns) or (samples, heads, rows, columns). */
static Operand strides_of(const View *v, int64_t repeat)
{
    const ViewAxis *last = &v->axis[v->n - 1];
    Operand o = { v->n == 4 ? v->axis[0].stride : 0, v->axis[v->n - 3].stride, last[-1].stride, last->stride, repeat };
    if (o.row != 1 && o.column != 1 && last->size == 1) o.column = 1;
    else if (o.row != 1 && o.column != 1 && last[-1].size == 1) o.row = 1;
    return o;
}

static bool same_heads(const Heads *h, const View *v)
{
    return (v->n == 4 ? v->axis[0].size : 1) == h->samples && v->axis[v->n - 3].size == h->heads;
}

static bool small(int64_t n) { return n > 0 && n < 1 << 24; }

/* Q, K' and V as the two products see them. */
static bool find_operands(Heads *h, const Reach r[3], int rank)
{
    for (int i = 0; i < 3; i++) if (r[i].view.n != rank || r[i].base->dtype != DT_F32) return false;
    View q = r[0].view, k = r[1].view, v = r[2].view;
    const ViewAxis swapped = k.axis[rank - 2];
    k.axis[rank - 2] = k.axis[rank - 1];
    k.axis[rank - 1] = swapped;
    *h = (Heads){ .samples = rank == 4 ? q.axis[0].size : 1, .heads = q.axis[rank - 3].size, .queries = q.axis[rank - 2].size, .keys = k.axis[rank - 2].size,
                  .depth = q.axis[rank - 1].size, .width = v.axis[rank - 1].size, .scale = r[0].scale * r[1].scale,
                  .q = strides_of(&q, r[0].repeat), .k = strides_of(&k, r[1].repeat), .v = strides_of(&v, r[2].repeat) };
    const Operand *all[] = { &h->q, &h->k, &h->v };
    for (int i = 0; i < 3; i++) if ((all[i]->row != 1 && all[i]->column != 1) || all[i]->row < 1 || all[i]->column < 1) return false;
    return same_heads(h, &k) && same_heads(h, &v) && k.axis[rank - 1].size == h->depth && v.axis[rank - 2].size == h->keys && r[2].scale == 1 &&
           small(h->queries) && small(h->keys) && small(h->depth) && small(h->width) && h->samples * h->heads > 0;
}

/* The mask's strides behind the broadcast to the scores. */
static bool find_mask(const Buffer *mask, const Shape *scores, Operand *o)
{
    View v = view_of(&mask->shape);
    if (mask->dtype != DT_F32 || !repeat_axes(&v, scores)) return false;
    *o = (Operand){ v.n == 4 ? v.axis[0].stride : 0, v.axis[v.n - 3].stride, v.axis[v.n - 2].stride, v.axis[v.n - 1].stride, 1 };
    return o->column == 0 || o->column == 1;
}

static bool is_product(const Step *s, int rank) { return s->n_in == 2 && s->in[0]->shape.rank == rank && s->in[1]->shape.rank == rank; }

/* From the softmax's input up to the first product: the product, scale and mask on the way. */
static Step *find_scores(const Step *softmax, Heads *h, Buffer **mask)
{
    Buffer *b = softmax->in[0];
    const Step *add = written_by(b, "Add", 1);
    *mask = NULL;
    for (int k = 0; add && k < 2 && !*mask; k++) {
        if (add->in[k]->readers != 1 || !add->in[k]->writer || !shape_equal(&add->in[k]->shape, &b->shape)) continue;
        float scale = 1;
        Buffer *next = shown_by(add->in[k]->writer, &scale);
        Step *product = written_by(add->in[k], "MatMul", 1);
        if (!product && next && shape_equal(&next->shape, &b->shape)) product = written_by(next, "MatMul", 1);
        if (!product || !find_mask(add->in[!k], &b->shape, &h->mask)) continue;
        *mask = add->in[!k];
        b = add->in[k];
    }
    if (b->writer && (is(b->writer, "Mul") || is(b->writer, "Div")) && b->readers == 1) {
        Buffer *next = shown_by(b->writer, &h->scale);
        if (next) b = next;
    }
    return written_by(b, "MatMul", 1);
}

/* The product itself, or a Transpose of it that is its only reader: h->y. */
static Step *find_result(Plan *p, Step *product, Heads *h)
{
    const Shape *shape = &product->out[0]->shape;
    View v = view_of(shape);
    Step *last = product;
    for (int i = product->at + 1; i < p->n_step && i <= product->at + 8 && product->out[0]->readers == 1; i++) {
        Step *s = p->step[i];
        const int64_t *perm;
        int64_t stride[MAX_RANK];
        if (!s || s->late || !is(s, "Transpose") || s->in[0] != product->out[0]) continue;
        int n = attr_is(s->node, "perm", &perm);
        if (n != shape->rank || perm[n - 1] != n - 1) break;
        shape_strides(&s->out[0]->shape, stride);
        for (int k = 0; k < n; k++) v.axis[perm[k]].stride = stride[k];
        last = s;
    }
    h->y = strides_of(&v, 1);
    h->y.column = 1;
    return last;
}

static bool along_last(const Step *softmax)
{
    int64_t axis = attr_i(softmax->node, "axis", softmax->opset < 13 ? 1 : -1), rank = softmax->in[0]->shape.rank;
    return axis == -1 || axis == rank - 1;
}

static Err fuse_heads(Plan *p, Step *product)
{
    Heads h, found = { .scale = 1 }, *own;
    Reach r[3];
    Buffer *mask;
    int rank = product->out[0]->shape.rank;
    const Step *softmax = rank == 3 || rank == 4 ? only_from(product, 0, "Softmax") : NULL;
    if (!softmax || !is_product(product, rank) || !along_last(softmax) || product->out[0]->dtype != DT_F32) return OK;
    Step *first = find_scores(softmax, &found, &mask);
    if (!first || !is_product(first, rank)) return OK;
    if (!reach_from(first->in[0], &r[0]) || !reach_from(first->in[1], &r[1]) || !reach_from(product->in[1], &r[2])) return OK;
    if (!find_operands(&h, r, rank)) return OK;
    h.scale *= found.scale;
    h.mask = found.mask;
    Step *last = find_result(p, product, &h);
    TRY(step_become(p, last, &op_Attend, (Buffer *[]){ r[0].base, r[1].base, r[2].base, mask }, mask ? 4 : 3));
    TRY(plan_array(p, 1, sizeof *own, &own));
    *own = h;
    last->fused->own = own;
    return OK;
}

Err fuse_attention(Plan *p)
{
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        if (s && !s->late && is(s, "MatMul") && s->out[0]) TRY(fuse_heads(p, s));
    }
    return OK;
}
