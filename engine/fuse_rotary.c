/* Rotary embeddings as exporters write them: each pair (a, b) of a row turns by an angle whose cosine and sine come from tables, (a c - b s, b c + a s).
 *   halves   x * c + Concat(-x[h ...], x[... h]) * s       Llama in PyTorch: a and b are h = half a row apart, tables have whole rows
 *   pairs    Concat of (a c - b s) and (a s + b c), a and b split from (..., h, 2)      llama2.c: a and b are neighbours, tables have half a row */
#include "engine/fuse.h"
#include "engine/move.h"

/* walk: rows of x, cosines and sines. */
typedef struct Rotary { Walk walk; int64_t half; bool pairs; } Rotary;

static void turn_halves(int64_t h, const float *x, const float *c, const float *s, float *y)
{
    #pragma omp simd
    for (int64_t i = 0; i < h; i++) {
        float a = x[i], b = x[i + h];
        y[i] = a * c[i] - b * s[i];
        y[i + h] = b * c[i + h] + a * s[i + h];
    }
}

static void turn_pairs(int64_t h, const float *x, const float *c, const float *s, float *y)
{
    #pragma omp simd
    for (int64_t i = 0; i < h; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i] = a * c[i] - b * s[i];
        y[2 * i + 1] = b * c[i] + a * s[i];
    }
}

static Err turn_run(Plan *plan, Step *s)
{
    const Rotary *r = s->fused->own;
    const Walk *w = &r->walk;
    int64_t row = 2 * r->half, table = r->pairs ? r->half : row;
    const float *x = s->in[0]->data, *cosines = s->in[1]->data, *sines = s->in[2]->data;
    float *y = s->out[0]->data;
    #pragma omp parallel for num_threads(plan->threads) if (s->out[0]->count > PARALLEL_WORK)
    for (int64_t o = 0; o < w->outer; o++) {
        int64_t at[WALK_OPERANDS];
        walk_row(w, o, at);
        for (int64_t i = 0; i < w->inner; i++) {
            const float *c = cosines + (at[1] + i * w->stride[1][w->rank - 1]) * table, *sine = sines + (at[2] + i * w->stride[2][w->rank - 1]) * table;
            int64_t first = (at[0] + i) * row;
            if (r->pairs) turn_pairs(r->half, x + first, c, sine, y + first);
            else turn_halves(r->half, x + first, c, sine, y + first);
        }
    }
    return OK;
}

static Err turn_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = turn_run;
    return OK;
}

static const Op op_Rotary = { "Rotary embedding", "", 1, 3, 3, 1, 1, .prep = turn_prep };

/* Whether the table has rows of n numbers, and these broadcast to `rows`, one row for each of x. */
static bool is_table(const Buffer *b, const Shape *rows, int64_t n)
{
    int missing = rows->rank + 1 - b->shape.rank;
    if (b->dtype != DT_F32 || b->shape.rank < 1 || missing < 0 || b->shape.dim[b->shape.rank - 1] != n) return false;
    for (int i = 0; i + 1 < b->shape.rank; i++) if (b->shape.dim[i] != 1 && b->shape.dim[i] != rows->dim[missing + i]) return false;
    return true;
}

static Shape without_last(const Shape *s) { return shape_of(s->rank - 1, s->dim); }

/* Makes s the step if operands fit: in has x, cosines and sines; rows: one for each row of x. */
static Err become_rotary(Plan *p, Step *s, Buffer *const in[3], const Rotary *wanted, const Shape *rows)
{
    Rotary *own;
    int64_t table = wanted->pairs ? wanted->half : 2 * wanted->half;
    if (in[0]->dtype != DT_F32 || in[0]->count != s->out[0]->count || !is_table(in[1], rows, table) || !is_table(in[2], rows, table)) return OK;
    TRY(plan_array(p, 1, sizeof *own, &own));
    *own = *wanted;
    Shape c = without_last(&in[1]->shape), sine = without_last(&in[2]->shape);
    walk_init(&own->walk, rows, (const Shape *[]){ rows, &c, &sine }, 3);
    TRY(step_become(p, s, &op_Rotary, in, 3));
    s->fused->own = own;
    return OK;
}

/* Whether b is half `which` of the rows of x. */
static bool is_half(const Buffer *b, const Buffer *x, int which)
{
    const Step *split = written_by(b, "Split", 1), *slice = written_by(b, "Slice", 1);
    int rank = x->shape.rank, n[4], axis = 0;
    int64_t v[4][2 * MAX_RANK], d = x->shape.dim[rank - 1];
    if (b->shape.rank != rank || 2 * b->shape.dim[rank - 1] != d) return false;
    if (split) return split->in[0] == x && split->n_out == 2 && split->out[which] == b && axis_of(attr_i(split->node, "axis", 0), rank, &axis) == OK && axis == rank - 1;
    if (!slice || slice->in[0] != x) return false;
    static const char *const NAME[] = { "starts", "ends", "axes", NULL };
    for (int i = 0; i < 4; i++) if (ints_param(slice, NAME[i], i + 1, v[i], &n[i]) != OK) return false;
    if (n[0] != 1 || n[2] != 1 || (n[3] == 1 && v[3][0] != 1) || axis_of(v[2][0], rank, &axis) != OK || axis != rank - 1) return false;
    return (v[0][0] < 0 ? v[0][0] + d : v[0][0]) == which * d / 2;         /* its size says where it ends */
}

/* Concat(-x[h ...], x[... h]) */
static bool is_turned(const Buffer *b, const Buffer *x)
{
    int axis = 0;
    const Step *concat = written_by(b, "Concat", 1), *neg = concat ? only_from(concat, 0, "Neg") : NULL;
    return neg && concat->n_in == 2 && axis_of(attr_i(concat->node, "axis", 0), x->shape.rank, &axis) == OK && axis == x->shape.rank - 1 && is_half(neg->in[0], x, 1) &&
           is_half(concat->in[1], x, 0);
}

static Err fuse_halves(Plan *p, Step *s)
{
    for (int k = 0; k < 2; k++) {
        const Step *plain = only_from(s, k, "Mul"), *turned = only_from(s, !k, "Mul");
        for (int i = 0; plain && turned && i < 4; i++) {
            Buffer *x = plain->in[i % 2], *t = turned->in[i / 2];
            if (!shape_equal(&x->shape, &s->out[0]->shape) || !x->shape.rank || !is_turned(t, x)) continue;
            Shape rows = without_last(&x->shape);
            Rotary r = { .half = x->shape.dim[rows.rank] / 2 };
            return become_rotary(p, s, (Buffer *[]){ x, plain->in[!(i % 2)], turned->in[!(i / 2)] }, &r, &rows);
        }
    }
    return OK;
}

/* Number `which` of the pairs of x (..., h, 2): what b shows, and where x comes from; NULL: it does not. */
static Buffer *half_of_pairs(const Buffer *b, int which)
{
    const Step *squeeze = written_by(b, "Squeeze", 2), *split = squeeze ? only_from(squeeze, 0, "Split") : NULL;
    int rank = b->shape.rank + 1, axis = 0;
    bool fits = split && split->in[0]->shape.rank == rank && split->n_out == 2 && split->out[which] == squeeze->in[0] &&
                axis_of(attr_i(split->node, "axis", 0), rank, &axis) == OK && axis == rank - 1 && split->in[0]->shape.dim[rank - 1] == 2;
    return fits ? split->in[0] : NULL;
}

/* Whether mul is one * *other, in either order. */
static bool times(const Step *mul, const Buffer *one, Buffer **other)
{
    *other = mul->in[0] == one ? mul->in[1] : mul->in[0];
    return mul->in[0] == one || mul->in[1] == one;
}

/* s joins a c - b s and a s + b c. */
static Err fuse_pairs(Plan *p, Step *s)
{
    const Step *part[2];
    int rank = s->out[0]->shape.rank, axis = 0;
    if (s->n_in != 2 || axis_of(attr_i(s->node, "axis", 0), rank, &axis) != OK || axis != rank - 1) return OK;
    for (int i = 0; i < 2; i++) {
        part[i] = only_from(s, i, "Unsqueeze");
        if (!part[i] || s->in[i]->shape.dim[rank - 1] != 1 || !(part[i] = only_from(part[i], 0, i ? "Add" : "Sub"))) return OK;
    }
    const Step *ac = only_from(part[0], 0, "Mul"), *bs = only_from(part[0], 1, "Mul"), *as = only_from(part[1], 0, "Mul"), *bc = only_from(part[1], 1, "Mul");
    for (int i = 0; ac && bs && as && bc && i < 8; i++) {
        Buffer *a = ac->in[i & 1], *b = bs->in[i >> 1 & 1], *c = ac->in[!(i & 1)], *sine = bs->in[!(i >> 1 & 1)], *x = half_of_pairs(a, 0), *other[2];
        const Step *first = i & 4 ? bc : as, *second = i & 4 ? as : bc;
        if (!x || half_of_pairs(b, 1) != x || !times(first, a, &other[0]) || other[0] != sine || !times(second, b, &other[1]) || other[1] != c) continue;
        Shape rows = without_last(&a->shape);
        Rotary r = { .half = a->shape.dim[rows.rank], .pairs = true };
        return become_rotary(p, s, (Buffer *[]){ x, c, sine }, &r, &rows);
    }
    return OK;
}

Err fuse_rotary(Plan *p)
{
    for (int i = p->n_step - 1; i >= 0; i--) {
        Step *s = p->step[i];
        if (!s || s->late || !s->out[0]) continue;
        if (is_type(s, "Add") && s->n_in == 2) TRY(fuse_halves(p, s));
        else if (is_type(s, "Concat")) TRY(fuse_pairs(p, s));
    }
    return OK;
}
