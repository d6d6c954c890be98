/* ONNX's Attention and RotaryEmbedding.     https://onnx.ai/onnx/operators/onnx__Attention.html */
#include <math.h>
#include <string.h>
#include "engine/attend.h"
#include "engine/element.h"
#include "engine/run_ops.h"
#include "engine/widen.h"
#include "kernels/whole.h"

/* Sizes of (B,H,S,d), or of (B,S,H*d). */
static Err read_heads(const Buffer *b, int64_t heads, int64_t size[4])
{
    const int64_t *d = b->shape.dim;
    if (b->shape.rank == 4) memcpy(size, d, 4 * sizeof *size);
    else if (b->shape.rank == 3 && heads > 0 && d[2] % heads == 0) memcpy(size, (int64_t[]){ d[0], heads, d[1], d[2] / heads }, 4 * sizeof *size);
    else return err_set(ERR_SHAPE, "'%s' has no axes of samples, heads, rows and columns.", b->name);
    return OK;
}

/* Keys or values with those of the past before them: in the output, in scratch at *free, or as they lie when there is no past. */
typedef struct Cache { const Buffer *now, *past; Buffer *present; int64_t size[4], total; } Cache;

static Err read_cache(const Step *s, int input, int past, int output, Cache *c)
{
    *c = (Cache){ .now = s->in[input], .past = s->in[past], .present = output < s->n_out ? s->out[output] : NULL };
    TRY(read_heads(c->now, attr_i(s->node, "kv_num_heads", 0), c->size));
    c->total = c->size[2];
    if (!c->past) return OK;
    const Shape *p = &c->past->shape;
    if (p->rank != 4 || p->dim[0] != c->size[0] || p->dim[1] != c->size[1] || p->dim[3] != c->size[3] || c->past->dtype != c->now->dtype)
        return err_set(ERR_SHAPE, "'%s' does not fit the keys and values that follow it.", c->past->name);
    c->total += p->dim[2];
    return OK;
}

static bool needs_room(const Cache *c) { return c->past && !c->present; }

static size_t room_of(const Cache *c)
{
    return needs_room(c) ? to_line((size_t)(c->size[0] * c->size[1] * c->total * c->size[3]) * (size_t)dtype_bits(c->now->dtype) / 8) : 0;
}

static HeadsOf fill_cache(const Plan *plan, const Cache *c, char **free)
{
    HeadsOf now = heads_of(c->now, c->size[1]);
    if (!c->past && !c->present) return now;
    const int64_t before = c->total - c->size[2];
    size_t element = (size_t)dtype_bits(c->now->dtype) / 8;
    HeadsOf all = { c->present ? c->present->data : *free, c->size[1] * c->total * c->size[3], c->total * c->size[3], c->size[3], 1 };
    *free += room_of(c);
    if (c->past) {
        HeadsOf past = heads_of(c->past, 0);
        heads_copy(plan, &past, &all, (int64_t[]){ c->size[0], c->size[1], before, c->size[3] }, element);
    }
    HeadsOf behind = all;
    behind.data = (char *)all.data + (size_t)(before * c->size[3]) * element;
    heads_copy(plan, &now, &behind, c->size, element);
    return all;
}

typedef struct Attention { Attend attend; Cache k, v; size_t scratch; } Attention;

static Err read_attention(const Step *s, Attention *t)
{
    static const ScoresWanted WANTED[] = { SCORES_RAW, SCORES_CAPPED, SCORES_BIASED, SCORES_SOFTMAX };
    int64_t q[4], mode = attr_i(s->node, "qk_matmul_output_mode", 0);
    TRY(read_heads(s->in[0], attr_i(s->node, "q_num_heads", 0), q));
    TRY(read_cache(s, 1, 4, 1, &t->k));
    TRY(read_cache(s, 2, 5, 2, &t->v));
    if (t->k.size[0] != q[0] || t->v.size[0] != q[0] || t->k.size[3] != q[3] || t->k.size[1] != t->v.size[1] || t->k.total != t->v.total)
        return err_set(ERR_SHAPE, "Queries, keys and values do not fit together.");
    if (mode < 0 || mode > 3) return err_set(ERR_SHAPE, "qk_matmul_output_mode is %lld, expected 0 to 3.", (long long)mode);
    t->attend = (Attend){ .dtype = s->in[0]->dtype, .batch = q[0], .heads = q[1], .kv_heads = t->k.size[1], .length = q[2], .total = t->k.total, .size = q[3],
        .value_size = t->v.size[3], .softcap = (double)attr_f(s->node, "softcap", 0), .causal = attr_i(s->node, "is_causal", 0), .past = t->k.total - t->k.size[2] };
    t->attend.scale = node_attr(s->node, "scale") ? (double)attr_f(s->node, "scale", 0) : 1 / sqrt((double)q[3]);
    t->attend.wanted = WANTED[mode];
    t->attend.scores = s->n_out > 3 && s->out[3] ? s->out[3]->data : NULL;
    t->attend.q = heads_of(s->in[0], q[1]);
    t->attend.y = heads_of(s->out[0], q[1]);
    return attend_bias(&t->attend, s->in[3], true, &t->attend.bias[0]);
}

static size_t keys_room(const Attention *t) { return to_line((size_t)t->attend.batch * sizeof(int64_t)); }

static Err attention_run(Plan *plan, Step *s)
{
    Attention t = { 0 };
    TRY(read_attention(s, &t));
    int64_t *keys = (int64_t *)(void *)s->scratch;             /* how many each sample has */
    char *free = s->scratch + keys_room(&t);
    t.attend.k = fill_cache(plan, &t.k, &free);
    t.attend.v = fill_cache(plan, &t.v, &free);
    if (s->in[6]) {
        elements_to_i64(s->in[6]->dtype, s->in[6]->data, 0, t.attend.batch, keys);
        t.attend.keys = keys;
    }
    attend(plan, &t.attend, free);
    return OK;
}

Err attention_prep(Plan *plan, Step *s)
{
    Err e;
    Attention t = { 0 };
    if (widened(plan, s, attention_prep, &e)) return e;
    for (int i = 0; i < 3; i++) {
        if (s->in[i]->dtype != DT_F32 && s->in[i]->dtype != DT_F64) return step_refuse(s, "input", s->in[i]);
        if (s->in[i]->dtype != s->in[0]->dtype) return err_set(ERR_UNSUPPORTED, "Attention with operands of different types cannot be run.");
    }
    TRY(read_attention(s, &t));
    if (s->in[6] && s->in[6]->count != t.attend.batch) return err_set(ERR_SHAPE, "'%s' should have one number for each sample.", s->in[6]->name);
    TRY(attend_scratch(plan, &t.attend, &s->scratch_bytes));
    s->scratch_bytes += keys_room(&t) + room_of(&t.k) + room_of(&t.v);
    s->run = attention_run;
    return OK;
}

/* RotaryEmbedding: each pair (a, b) of a row turns by the angle of its position: (a cos - b sin, a sin + b cos) --------------------------- */

typedef struct Rotary {
    int64_t size[4];               /* B, heads, S, columns */
    int64_t turned;                /* columns that turn: the first ones */
    const Buffer *cosines, *sines, *positions;
    bool interleaved, one_position;        /* positions: the first one of all samples, not one for each row */
} Rotary;

/* Row of the tables for row i of sample b. ERR_ARG beyond them. */
static Err position_of(const Rotary *r, int64_t b, int64_t i, int64_t *at)
{
    int64_t p = r->positions ? 0 : b * r->size[2] + i;
    if (r->one_position) { p = whole_at(r->positions, 0); p += i; }
    else if (r->positions) p = whole_at(r->positions, b * r->size[2] + i);
    int64_t rows = r->cosines->count / (r->turned / 2);
    if (p < 0 || p >= rows) return err_set(ERR_ARG, "Position %lld is beyond the %lld of the tables.", (long long)p, (long long)rows);
    *at = p * (r->turned / 2);
    return OK;
}

#define ROTARY_RUN(T, SUFFIX) \
    static void turn_##SUFFIX(const Rotary *r, const T *x, T *y, int64_t table) \
    { \
        int64_t half = r->turned / 2; \
        const T *c = (const T *)r->cosines->data + table, *s = (const T *)r->sines->data + table; \
        for (int64_t k = 0; k < half; k++) { \
            int64_t a = r->interleaved ? 2 * k : k, b = r->interleaved ? 2 * k + 1 : k + half; \
            T u = x[a], v = x[b]; \
            y[a] = u * c[k] - v * s[k]; \
            y[b] = u * s[k] + v * c[k]; \
        } \
        for (int64_t k = r->turned; k < r->size[3]; k++) y[k] = x[k]; \
    } \
    static Err rotary_run_##SUFFIX(Plan *plan, Step *s) \
    { \
        const Rotary *r = s->state; \
        HeadsOf x = heads_of(s->in[0], r->size[1]), y = heads_of(s->out[0], r->size[1]); \
        (void)plan; \
        for (int64_t b = 0; b < r->size[0]; b++) \
            for (int64_t i = 0; i < r->size[2]; i++) { \
                int64_t at; \
                TRY(position_of(r, b, i, &at)); \
                for (int64_t h = 0; h < r->size[1]; h++) \
                    turn_##SUFFIX(r, (const T *)x.data + b * x.sample + h * x.head + i * x.row, (T *)y.data + b * y.sample + h * y.head + i * y.row, at); \
            } \
        return OK; \
    }
ROTARY_RUN(float, f32) ROTARY_RUN(double, f64)

/* ONNX: X, cosines, sines, positions. com.microsoft: X, positions, cosines, sines. */
Err rotary_prep(Plan *plan, Step *s)
{
    Err e;
    Rotary *r;
    if (widened(plan, s, rotary_prep, &e)) return e;
    bool ms = *s->op->domain;
    TRY(plan_array(plan, 1, sizeof *r, &r));
    *r = (Rotary){ .cosines = s->in[ms ? 2 : 1], .sines = s->in[ms ? 3 : 2], .positions = s->in[ms ? 1 : 3], .interleaved = attr_i(s->node, "interleaved", 0) };
    const Shape *table = &r->cosines->shape;
    int64_t heads = attr_i(s->node, "num_heads", 0), turned = attr_i(s->node, "rotary_embedding_dim", 0), columns = table->rank ? table->dim[table->rank - 1] : 0;
    if (s->in[0]->shape.rank == 3 && heads < 1) heads = ms && !turned && columns ? s->in[0]->shape.dim[2] / (2 * columns) : 0;
    TRY(read_heads(s->in[0], heads, r->size));
    r->turned = turned ? turned : r->size[3];
    r->one_position = ms && r->positions->count == 1;
    if (r->turned < 2 || r->turned % 2 || r->turned > r->size[3] || columns != r->turned / 2)
        return err_set(ERR_SHAPE, "The tables do not fit rows of %lld columns.", (long long)r->size[3]);
    if (!shape_equal(&r->cosines->shape, &r->sines->shape) || r->cosines->dtype != s->in[0]->dtype || r->sines->dtype != s->in[0]->dtype)
        return err_set(ERR_SHAPE, "The tables of a RotaryEmbedding do not fit together.");
    if (r->positions && !r->one_position && r->positions->count != r->size[0] * r->size[2]) return err_set(ERR_SHAPE, "'%s' does not fit the rows.", r->positions->name);
    s->state = r;
    s->run = s->in[0]->dtype == DT_F32 ? rotary_run_f32 : rotary_run_f64;
    return s->in[0]->dtype == DT_F32 || s->in[0]->dtype == DT_F64 ? OK : step_refuse(s, "input", s->in[0]);
}
