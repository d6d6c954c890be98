/* com.microsoft's Attention and MultiHeadAttention.   https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 * Attention's projection is planned as a MatMul of its own; what follows is the row op_PackedAttention, which no model can name. */
#include <math.h>
#include <string.h>
#include "engine/attend.h"
#include "engine/element.h"
#include "engine/expand.h"
#include "engine/infer.h"
#include "engine/run_ops.h"
#include "engine/widen.h"
#include "kernels/whole.h"

/* One of queries, keys, values: where they lie, their sizes (B,H,rows,columns), and what is added to each column of each head. */
typedef struct Part { HeadsOf at; int64_t size[4]; const void *bias; } Part;

typedef struct Job {
    Part q, k, v;
    const Buffer *past[2]; HeadsOf before[2];      /* keys and values of the past, or none */
    void *present[2];                              /* where all of them go; NULL: scratch */
    const Buffer *mask;
    Attend attend;
    size_t element;
} Job;

static void *shifted(const Buffer *b, int64_t elements) { return (char *)b->data + (size_t)elements * (size_t)dtype_bits(b->dtype) / 8; }

/* (B,S,H*d) or (B,H,S,d) */
static Err plain(const Buffer *b, int64_t heads, Part *p)
{
    const int64_t *d = b->shape.dim;
    *p = (Part){ .at = heads_of(b, heads) };
    if (b->shape.rank == 4) memcpy(p->size, d, sizeof p->size);
    else if (b->shape.rank == 3 && d[2] % heads == 0) memcpy(p->size, (int64_t[]){ d[0], heads, d[1], d[2] / heads }, sizeof p->size);
    else return err_set(ERR_SHAPE, "'%s' cannot be split into %lld heads.", b->name, (long long)heads);
    return OK;
}

/* The mask as numbers that are added, (B,S or 1,T): 0 where a key is seen, else mask_filter_value. int32: (B) lengths, (2B) ends and starts, (B,T), (B,S,T). */
static bool mask_fits(const Job *j)
{
    const Attend *a = &j->attend;
    const Shape *m = &j->mask->shape;
    if (m->rank == 1) return m->dim[0] == a->batch || m->dim[0] == 2 * a->batch;
    if (m->rank == 2) return m->dim[0] == a->batch && m->dim[1] == a->total;
    return m->rank == 3 && m->dim[0] == a->batch && m->dim[1] == a->length && m->dim[2] == a->total;
}

static int64_t mask_rows(const Job *j) { return !j->mask ? 0 : j->mask->shape.rank == 3 ? j->attend.length : 1; }

static bool mask_sees(const Job *j, int64_t sample, int64_t row, int64_t key)
{
    const int32_t *m = j->mask->data;
    int64_t batch = j->attend.batch, total = j->attend.total;
    if (j->mask->shape.rank == 1) return key < m[sample] && (j->mask->count == batch || key >= m[batch + sample]);
    return m[(sample * mask_rows(j) + row) * total + key] > 0;
}

static void fill_mask(Job *j, double masked, void *to)
{
    int64_t rows = mask_rows(j), total = j->attend.total;
    for (int64_t b = 0; b < j->attend.batch; b++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t t = 0; t < total; t++) {
                double v = mask_sees(j, b, r, t) ? 0 : masked;
                elements_from_f64(j->attend.dtype, &v, 1, to, (b * rows + r) * total + t);
            }
    j->attend.bias[1] = (Bias){ .data = to, .stride = { rows * total, 0, rows > 1 ? total : 0, 1 }, .keys = total };
}

/* Copies a part with its bias to dense rows. */
static void add_columns(const Job *j, const Part *p, const HeadsOf *to)
{
    const int64_t *size = p->size;
    for (int64_t i = 0; i < size[0] * size[1] * size[2]; i++) {
        int64_t row = i % size[2], head = i / size[2] % size[1], sample = i / size[2] / size[1];
        for (int64_t c = 0; c < size[3]; c++) {
            double v, bias;
            elements_to_f64(j->attend.dtype, p->at.data, sample * p->at.sample + head * p->at.head + row * p->at.row + c, 1, &v);
            elements_to_f64(j->attend.dtype, p->bias, head * size[3] + c, 1, &bias);
            v = j->attend.dtype == DT_F32 ? (double)((float)v + (float)bias) : v + bias;
            elements_from_f64(j->attend.dtype, &v, 1, to->data, sample * to->sample + head * to->head + row * to->row + c);
        }
    }
}

static HeadsOf dense(void *data, const int64_t size[4], int64_t rows) { return (HeadsOf){ data, size[1] * rows * size[3], rows * size[3], size[3], 1 }; }

static size_t part_bytes(const Job *j, const Part *p, int64_t rows) { return to_line((size_t)(p->size[0] * p->size[1] * rows * p->size[3]) * j->element); }

/* Scratch: queries with their bias, keys and values with theirs and the past's, the mask. */
static size_t job_bytes(const Job *j)
{
    size_t bytes = j->q.bias ? part_bytes(j, &j->q, j->q.size[2]) : 0;
    const Part *p[2] = { &j->k, &j->v };
    for (int i = 0; i < 2; i++) if ((p[i]->bias || j->past[i]) && !j->present[i]) bytes += part_bytes(j, p[i], j->attend.total);
    return bytes + to_line((size_t)(j->attend.batch * mask_rows(j) * j->attend.total) * j->element);
}

/* The part with its bias, behind the past's rows if there are any. */
static HeadsOf gathered(const Plan *plan, const Job *j, int which, char **free)
{
    const Part *p = which == 2 ? &j->q : which ? &j->v : &j->k;
    const Buffer *past = which < 2 ? j->past[which] : NULL;
    void *present = which < 2 ? j->present[which] : NULL;
    if (!p->bias && !past && !present) return p->at;
    int64_t rows = which < 2 ? j->attend.total : p->size[2];
    HeadsOf all = dense(present ? present : *free, p->size, rows), behind = all;
    if (!present) *free += part_bytes(j, p, rows);
    if (past) heads_copy(plan, &j->before[which], &all, (int64_t[]){ p->size[0], p->size[1], rows - p->size[2], p->size[3] }, j->element);
    behind.data = (char *)all.data + (size_t)((rows - p->size[2]) * p->size[3]) * j->element;
    if (p->bias) add_columns(j, p, &behind);
    else heads_copy(plan, &p->at, &behind, p->size, j->element);
    return all;
}

/* Sizes of the attention from those of the parts; masks and checks. */
static Err complete(const Step *s, Job *j, const Buffer *bias)
{
    int64_t past = j->past[0] ? j->past[0]->shape.dim[j->past[0]->shape.rank - 2] : 0;
    j->attend = (Attend){ .dtype = s->in[0]->dtype, .batch = j->q.size[0], .heads = j->q.size[1], .kv_heads = j->q.size[1], .length = j->q.size[2], .size = j->q.size[3],
        .total = past + j->k.size[2], .value_size = j->v.size[3], .causal = attr_i(s->node, "unidirectional", 0), .past = past };
    j->element = (size_t)dtype_bits(s->in[0]->dtype) / 8;
    j->attend.scale = (double)attr_f(s->node, "scale", 0);
    if (j->attend.scale == 0) j->attend.scale = 1 / sqrt((double)j->q.size[3]);
    j->attend.y = heads_of(s->out[0], j->q.size[1]);
    const Part *p[2] = { &j->k, &j->v };
    for (int i = 0; i < 2; i++)
        if (p[i]->size[0] != j->q.size[0] || p[i]->size[1] != j->q.size[1] || p[i]->size[2] != j->k.size[2])
            return err_set(ERR_SHAPE, "Queries, keys and values do not fit together.");
    if (j->k.size[3] != j->q.size[3]) return err_set(ERR_SHAPE, "Queries and keys have different sizes.");
    if (j->mask && (j->mask->dtype != DT_I32 || !mask_fits(j))) return err_set(ERR_UNSUPPORTED, "%s with a mask of this type or shape cannot be run.", s->op->type);
    return attend_bias(&j->attend, bias, false, &j->attend.bias[0]);
}

static void run_job(Plan *plan, const Step *s, Job *j)
{
    char *free = s->scratch;
    j->attend.k = gathered(plan, j, 0, &free);
    j->attend.v = gathered(plan, j, 1, &free);
    j->attend.q = gathered(plan, j, 2, &free);
    if (j->mask) {
        fill_mask(j, (double)attr_f(s->node, "mask_filter_value", -10000), free);
        free += to_line((size_t)(j->attend.batch * mask_rows(j) * j->attend.total) * j->element);
    }
    attend(plan, &j->attend, free);
}

static Err job_ready(Plan *plan, Step *s, const Job *j, StepRun *run)
{
    if (s->in[0]->dtype != DT_F32 && s->in[0]->dtype != DT_F64) return step_refuse(s, "input", s->in[0]);
    TRY(attend_scratch(plan, &j->attend, &s->scratch_bytes));
    s->scratch_bytes += job_bytes(j);
    s->run = run;
    return OK;
}

/* MultiHeadAttention: query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value; outputs Y, present_key, present_value -------------- */

static Err read_multi_head(const Step *s, Job *j)
{
    int64_t heads = attr_i(s->node, "num_heads", 0);
    if (heads < 1) return err_set(ERR_SHAPE, "num_heads is %lld.", (long long)heads);
    for (int i = 8; i < s->n_in; i++) if (s->in[i]) return err_set(ERR_UNSUPPORTED, "MultiHeadAttention with a shared cache cannot be run.");
    if (s->n_out > 3 && s->out[3]) return err_set(ERR_UNSUPPORTED, "MultiHeadAttention with its scores as an output cannot be run.");
    if (!s->in[1] || !s->in[2]) return err_set(ERR_UNSUPPORTED, "MultiHeadAttention with packed keys and values cannot be run.");
    TRY(plain(s->in[0], heads, &j->q));
    TRY(plain(s->in[1], heads, &j->k));
    TRY(plain(s->in[2], heads, &j->v));
    const Buffer *bias = s->in[3];
    int64_t width = j->q.size[1] * j->q.size[3];
    if (bias && bias->count != 2 * width + j->v.size[1] * j->v.size[3]) return err_set(ERR_SHAPE, "The bias '%s' does not fit.", bias->name);
    if (bias) { j->q.bias = bias->data; j->k.bias = shifted(bias, width); j->v.bias = shifted(bias, 2 * width); }
    j->mask = s->in[4];
    for (int i = 0; i < 2; i++) {
        j->past[i] = s->in[6 + i];
        if (j->past[i]) j->before[i] = heads_of(j->past[i], heads);
        j->present[i] = 1 + i < s->n_out && s->out[1 + i] ? s->out[1 + i]->data : NULL;
        if (j->past[i] && j->past[i]->shape.rank != 4) return err_set(ERR_SHAPE, "'%s' should have 4 axes.", j->past[i]->name);
    }
    return complete(s, j, s->in[5]);
}

static Err multi_head_run(Plan *plan, Step *s)
{
    Job j = { 0 };
    TRY(read_multi_head(s, &j));
    run_job(plan, s, &j);
    return OK;
}

Err multi_head_prep(Plan *plan, Step *s)
{
    Err e;
    Job j = { 0 };
    if (widened(plan, s, multi_head_prep, &e)) return e;
    TRY(read_multi_head(s, &j));
    return job_ready(plan, s, &j, multi_head_run);
}

/* Attention: X, weights, bias, mask, past (2,B,H,P,d), attention_bias; outputs Y, present ------------------------------------------------------------------ */

static Err packed_sizes(const Node *n, int64_t all, int64_t size[3])
{
    const int64_t *given;
    int k = attr_is(n, "qkv_hidden_sizes", &given);
    for (int i = 0; i < 3; i++) size[i] = k == 3 ? given[i] : all / 3;
    int64_t heads = attr_i(n, "num_heads", 0);
    if (heads < 1 || size[0] != size[1] || size[0] % heads || size[2] % heads || size[0] + size[1] + size[2] != all)
        return err_set(ERR_SHAPE, "A projection to %lld columns cannot be split into %lld heads.", (long long)all, (long long)heads);
    return OK;
}

/* X W + bias (B,S,Q+K+V), mask, past, attention_bias */
static Err packed_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    int64_t size[3], total, heads = attr_i(n, "num_heads", 1);
    if (!fact_shaped(in[0]) || in[0]->shape.rank != 3 || !dim_is_number(in[0]->shape.dim[2])) return OK;
    const int64_t *d = in[0]->shape.dim;
    TRY(packed_sizes(n, d[2], size));
    out[0].dtype = out[1].dtype = in[0]->dtype;
    out[0].shape = shape_of(3, (int64_t[]){ d[0], d[1], size[2] });
    total = d[1];
    if (in[2] && !fact_shaped(in[2])) return OK;
    if (in[2] && in[2]->shape.rank == 5) TRY(dim_arith(x, '+', total, in[2]->shape.dim[3], &total));
    out[1].shape = shape_of(5, (int64_t[]){ 2, d[0], heads, total, size[0] / heads });
    return OK;
}

static Err read_packed(const Step *s, Job *j)
{
    const Buffer *t = s->in[0], *past = s->in[2];
    const int64_t *d = t->shape.dim;
    int64_t size[3], heads = attr_i(s->node, "num_heads", 0), at = 0;
    TRY(packed_sizes(s->node, d[2], size));
    Part *part[3] = { &j->q, &j->k, &j->v };
    for (int i = 0; i < 3; i++) {
        *part[i] = (Part){ { shifted(t, at), d[1] * d[2], size[i] / heads, d[2], 1 }, { d[0], heads, d[1], size[i] / heads }, NULL };
        at += size[i];
    }
    j->mask = s->in[1];
    Buffer *present = s->n_out > 1 ? s->out[1] : NULL;
    if ((past || present) && size[0] != size[2]) return err_set(ERR_SHAPE, "Attention with a past needs keys and values of one size.");
    if (past && (past->shape.rank != 5 || past->shape.dim[0] != 2 || past->shape.dim[4] != size[0] / heads)) return err_set(ERR_SHAPE, "'%s' does not fit.", past->name);
    for (int i = 0; i < 2 && past; i++) {
        j->past[i] = past;
        j->before[i] = dense(shifted(past, i * past->count / 2), past->shape.dim + 1, past->shape.dim[3]);
    }
    for (int i = 0; i < 2 && present; i++) j->present[i] = shifted(present, i * present->count / 2);
    return complete(s, j, s->in[3]);
}

static Err packed_run(Plan *plan, Step *s)
{
    Job j = { 0 };
    TRY(read_packed(s, &j));
    run_job(plan, s, &j);
    return OK;
}

static Err packed_prep(Plan *plan, Step *s)
{
    Err e;
    Job j = { 0 };
    if (widened(plan, s, packed_prep, &e)) return e;
    TRY(read_packed(s, &j));
    return job_ready(plan, s, &j, packed_run);
}

static const Op op_PackedAttention = { "PackedAttention", "com.microsoft", 1, 1, 4, 1, 2, .infer = packed_infer, .prep = packed_prep };

/* Attention: X, weights, bias, mask, past, attention_bias. */
Err packed_attention_expand(Expand *x)
{
    Value *t;
    if (attr_i(x->node, "do_rotary", 0) || expand_in(x, 6)) return err_set(ERR_UNSUPPORTED, "Attention with rotary embeddings or a shared cache cannot be run.");
    TRY(expand_op(x, "MatMul", &t, VALUES(expand_in(x, 0), expand_in(x, 1)), &NONE));
    if (expand_in(x, 2)) TRY(expand_op(x, "Add", &t, VALUES(t, expand_in(x, 2)), &NONE));
    return expand_row(x, &op_PackedAttention, VALUES(expand_out(x, 0), expand_out(x, 1)), VALUES(t, expand_in(x, 3), expand_in(x, 4), expand_in(x, 5)), NULL);
}

/* QAttention: the same with X and weights quantized: X, weights, bias, scales of both, mask, zero points of both, past. */
Err quantized_attention_expand(Expand *x)
{
    Value *t, *in[] = { expand_in(x, 0), expand_in(x, 1), expand_in(x, 3), expand_in(x, 4), expand_in(x, 6), expand_in(x, 7), expand_in(x, 2) };
    if (attr_i(x->node, "do_rotary", 0)) return err_set(ERR_UNSUPPORTED, "QAttention with rotary embeddings cannot be run.");
    TRY(expand_op(x, "MatMulIntegerToFloat", &t, (Values){ in, 7 }, &NONE));
    return expand_row(x, &op_PackedAttention, VALUES(expand_out(x, 0), expand_out(x, 1)), VALUES(t, expand_in(x, 5), expand_in(x, 8)), NULL);
}
