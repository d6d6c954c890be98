/* Reductions over axes: Reduce*, ArgMax, ArgMin, CumSum, CumProd. Sums of floats are double, of integers 64 bits wide. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/floats.h"
#include "engine/move.h"
#include "engine/run_ops.h"
#include "kernels/whole.h"

enum { COLUMNS = 512 };                /* of a strip whose results so far stay in L1 */

typedef enum ReduceKind { SUM, MEAN, MOST, LEAST, PROD, L1, L2, LOG_SUM, LOG_SUM_EXP, SUM_SQUARE } ReduceKind;

/* The axes of the input in two groups: those that stay and those that are summed over. */
typedef struct Reduce {
    ReduceKind kind;
    int n_kept, n_gone;
    int64_t kept[MAX_RANK], kept_stride[MAX_RANK], gone[MAX_RANK], gone_stride[MAX_RANK];
    int64_t count, outputs;
} Reduce;

static void append(int *n, int64_t dim[], int64_t step[], int64_t d, int64_t stride)
{
    if (d == 1) return;
    if (*n && step[*n - 1] == stride * d) { dim[*n - 1] *= d; step[*n - 1] = stride; return; }
    dim[*n] = d; step[(*n)++] = stride;
}

static Err split_axes(const Step *s, Reduce *r)
{
    const Shape *x = &s->in[0]->shape;
    int64_t axes[2 * MAX_RANK], stride[MAX_RANK];
    int n;
    bool gone[MAX_RANK] = { false };
    TRY(ints_param(s, "axes", s->op->max_in > 1 ? 1 : -1, axes, &n));
    bool all = n <= 0 && !attr_i(s->node, "noop_with_empty_axes", 0);
    for (int i = 0; i < n; i++) {
        int a = 0;
        TRY(axis_of(axes[i], x->rank, &a));
        gone[a] = true;
    }
    shape_strides(x, stride);
    r->count = r->outputs = 1;
    for (int i = 0; i < x->rank; i++) {
        bool g = gone[i] || all;
        *(g ? &r->count : &r->outputs) *= x->dim[i];
        if (g) append(&r->n_gone, r->gone, r->gone_stride, x->dim[i], stride[i]);
        else append(&r->n_kept, r->kept, r->kept_stride, x->dim[i], stride[i]);
    }
    return OK;
}

/* Element number i of the axes dim, as an offset. */
static int64_t offset_of(int64_t i, int n, const int64_t *dim, const int64_t *stride)
{
    int64_t at = 0;
    for (int k = n - 1; k >= 0; k--) {
        at += i % dim[k] * stride[k];
        i /= dim[k];
    }
    return at;
}

static double start_value(ReduceKind k) { return k == PROD ? 1 : k == MOST ? -INFINITY : k == LEAST ? INFINITY : 0; }

static double join(ReduceKind k, double sum, double v)
{
    switch (k) {
    case MOST: return v > sum || v != v ? v : sum;
    case LEAST: return v < sum || v != v ? v : sum;
    case PROD: return sum * v;
    case L1: return sum + fabs(v);
    case L2: case SUM_SQUARE: return sum + v * v;
    default: return sum + v;
    }
}

static double reduce_real(const Reduce *r, const Buffer *x, int64_t base)
{
    int last = r->n_gone - 1;
    int64_t inner = last >= 0 ? r->gone[last] : 1, step = last >= 0 ? r->gone_stride[last] : 1, rows = inner ? r->count / inner : 0;
    double sum = start_value(r->kind), most = -INFINITY;
    for (int pass = r->kind == LOG_SUM_EXP ? 0 : 1; pass < 2; pass++)
        for (int64_t row = 0; row < rows; row++) {
            int64_t at = base + offset_of(row, last, r->gone, r->gone_stride);
            if (!pass) { for (int64_t i = 0; i < inner; i++) most = join(MOST, most, number_at(x, at + i * step)); continue; }
            if (r->kind == LOG_SUM_EXP) { for (int64_t i = 0; i < inner; i++) sum += exp(number_at(x, at + i * step) - (isinf(most) ? 0 : most)); continue; }
            if (x->dtype == DT_F32 && (r->kind == SUM || r->kind == MEAN)) {
                const float *v = (const float *)x->data + at;
                for (int64_t i = 0; i < inner; i++) sum += (double)v[i * step];
                continue;
            }
            for (int64_t i = 0; i < inner; i++) sum = join(r->kind, sum, number_at(x, at + i * step));
        }
    if (r->kind == MEAN) return sum / (double)r->count;
    if (r->kind == L2) return sqrt(sum);
    if (r->kind == LOG_SUM) return log(sum);
    return r->kind == LOG_SUM_EXP ? log(sum) + (isinf(most) ? 0 : most) : sum;
}

static int64_t reduce_whole(const Reduce *r, const Buffer *x, int64_t base)
{
    bool is_unsigned = x->dtype == DT_U64;
    int bits = dtype_bits(x->dtype);
    int64_t lowest = dtype_is_unsigned(x->dtype) ? 0 : INT64_MIN >> (64 - bits);
    int64_t highest = dtype_is_unsigned(x->dtype) ? (int64_t)(UINT64_MAX >> (64 - bits)) : ~lowest;
    int64_t sum = r->kind == PROD ? 1 : r->kind == MOST ? lowest : r->kind == LEAST ? highest : 0;
    for (int64_t i = 0; i < r->count; i++) {
        int64_t v = whole_at(x, base + offset_of(i, r->n_gone, r->gone, r->gone_stride));
        bool above = is_unsigned ? (uint64_t)v > (uint64_t)sum : v > sum, below = is_unsigned ? (uint64_t)v < (uint64_t)sum : v < sum;
        uint64_t u = (uint64_t)v, t = (uint64_t)sum;
        if (r->kind == MOST) sum = above ? v : sum;
        else if (r->kind == LEAST) sum = below ? v : sum;
        else if (r->kind == PROD) sum = (int64_t)(t * u);
        else if (r->kind == L1) sum = (int64_t)(t + (v < 0 && !is_unsigned ? 0 - u : u));
        else if (r->kind == SUM_SQUARE) sum = (int64_t)(t + u * u);
        else sum = (int64_t)(t + u);
    }
    if (r->kind == MEAN && r->count) return is_unsigned ? (int64_t)((uint64_t)sum / (uint64_t)r->count) : sum / r->count;
    return sum;
}

/* float32 over one run of neighbouring axes goes through kernels. */
static bool reduce_floats(const Plan *plan, const Reduce *r, const Buffer *x, Buffer *y)
{
    static const struct { ReduceKind kind; Total total; } FAST[] = {
        { SUM, TOTAL_SUM }, { MEAN, TOTAL_SUM }, { MOST, TOTAL_MOST }, { LEAST, TOTAL_LEAST }, { L2, TOTAL_SQUARES }, { SUM_SQUARE, TOTAL_SQUARES } };
    size_t i = 0;
    while (i < sizeof FAST / sizeof *FAST && FAST[i].kind != r->kind) i++;
    if (i == sizeof FAST / sizeof *FAST || x->dtype != DT_F32 || r->n_gone > 1 || !x->count) return false;
    int64_t inner = r->n_gone ? r->gone_stride[0] : 1;
    const Axis a = { r->outputs / inner, r->count, inner };
    float *to = y->data;
    floats_total(plan, FAST[i].total, &a, x->data, to);
    if (r->kind == MEAN) for (int64_t k = 0; k < y->count; k++) to[k] /= (float)r->count;
    if (r->kind == L2) for (int64_t k = 0; k < y->count; k++) to[k] = sqrtf(to[k]);
    return true;
}

static Err reduce_run(Plan *plan, Step *s)
{
    Reduce r = { .kind = *(const ReduceKind *)s->state };
    const Buffer *x = s->in[0];
    Buffer *y = s->out[0];
    TRY(split_axes(s, &r));
    if (y->count != r.outputs) return err_set(ERR_SHAPE, "The reduction gives %lld elements where %lld were planned.", (long long)r.outputs, (long long)y->count);
    if (reduce_floats(plan, &r, x, y)) return OK;
    bool whole = dtype_is_whole(x->dtype) && r.kind != L2 && r.kind != LOG_SUM && r.kind != LOG_SUM_EXP;
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t i = 0; i < r.outputs; i++) {
        int64_t base = offset_of(i, r.n_kept, r.kept, r.kept_stride);
        if (whole) {
            int64_t v = reduce_whole(&r, x, base);
            elements_from_i64(y->dtype, &v, 1, y->data, i);
        } else {
            double v = reduce_real(&r, x, base);
            elements_from_f64(y->dtype, &v, 1, y->data, i);
        }
    }
    return OK;
}

Err reduce_prep(Plan *plan, Step *s)
{
    static const char *const NAME[] = { "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd",
                                        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare" };
    ReduceKind *kind;
    if (!dtype_is_real(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    TRY(plan_array(plan, 1, sizeof *kind, &kind));
    while (strcmp(NAME[*kind], s->op->type)) *kind = (ReduceKind)(*kind + 1);
    s->state = kind;
    s->run = reduce_run;
    return floats_ready();
}

/* float32 along the innermost axis: the place of the extreme value of a row; NaN is never above or below another number. */
static int64_t arg_of_row(const float *x, int64_t n, bool least, bool last)
{
    float extreme = x[0];
    int64_t best = 0;
    if (x[0] != x[0]) return 0;
    if (least) {
        #pragma omp simd reduction(min : extreme)
        for (int64_t i = 1; i < n; i++) extreme = x[i] < extreme ? x[i] : extreme;
    } else {
        #pragma omp simd reduction(max : extreme)
        for (int64_t i = 1; i < n; i++) extreme = x[i] > extreme ? x[i] : extreme;
    }
    if (last) { for (int64_t i = 1; i < n; i++) if (x[i] == extreme) best = i; }
    else while (x[best] != extreme) best++;
    return best;
}

/* float32 along another axis: the places of the extreme values of at most COLUMNS neighbouring columns. */
static void args_of_columns(const float *x, const Axis *a, int columns, bool least, bool last, int64_t *y)
{
    float extreme[COLUMNS], sign = least ? -1 : 1;
    int32_t best[COLUMNS] = { 0 }, equals = last;
    for (int i = 0; i < columns; i++) extreme[i] = sign * x[i];
    for (int32_t j = 1; j < a->n; j++) {
        const float *row = x + j * a->inner;
        #pragma omp simd
        for (int i = 0; i < columns; i++) {
            float v = sign * row[i];
            int32_t better = (v > extreme[i]) | (equals & (v == extreme[i]));
            extreme[i] = better ? v : extreme[i];
            best[i] = better ? j : best[i];
        }
    }
    for (int i = 0; i < columns; i++) y[i] = best[i];
}

static int64_t arg_of_any(const Buffer *x, int64_t at, const Axis *a, bool least, bool last)
{
    double extreme = number_at(x, at);
    int64_t best = 0;
    for (int64_t i = 1; i < a->n; i++) {
        double v = number_at(x, at + i * a->inner);
        if ((least ? v < extreme : v > extreme) || (last && v == extreme)) { extreme = v; best = i; }
    }
    return best;
}

/* ArgMax, ArgMin: the first place of the extreme value, or the last with select_last_index. */
static Err arg_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    int axis = 0;
    TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, &axis));
    const Axis a = axis_around(&x->shape, axis, axis + 1);
    int64_t *y = s->out[0]->data, strips = pieces_in(a.inner, COLUMNS);
    bool last = attr_i(s->node, "select_last_index", 0), least = !strcmp(s->op->type, "ArgMin"), floats = x->dtype == DT_F32 && a.n < INT32_MAX;
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t t = 0; t < a.outer * strips; t++) {
        int64_t o = t / strips, first = t % strips * COLUMNS, columns = lesser(a.inner - first, COLUMNS);
        int64_t at = o * a.n * a.inner + first, *to = y + o * a.inner + first;
        if (floats && a.inner == 1) *to = arg_of_row((const float *)x->data + at, a.n, least, last);
        else if (floats) args_of_columns((const float *)x->data + at, &a, (int)columns, least, last, to);
        else for (int64_t i = 0; i < columns; i++) to[i] = arg_of_any(x, at + i, &a, least, last);
    }
    return OK;
}

Err arg_prep(Plan *plan, Step *s)
{
    int axis = 0;
    (void)plan;
    TRY(axis_of(attr_i(s->node, "axis", 0), s->in[0]->shape.rank, &axis));
    if (!s->in[0]->shape.dim[axis] && s->out[0]->count) return err_set(ERR_SHAPE, "%s over an empty axis has no answer.", s->op->type);
    if (!dtype_is_real(s->in[0]->dtype) || s->in[0]->dtype == DT_U64 || s->in[0]->dtype == DT_I64) {
        if (s->in[0]->dtype != DT_I64) return step_refuse(s, "input", s->in[0]);
    }
    s->run = arg_run;
    return OK;
}

typedef struct Cumulate { const Buffer *x, *y; Axis axis; bool exclusive, reverse, product; } Cumulate;

/* Sums or products so far of COLUMNS columns, or of one line of which a piece is taken at a time, in place: T is double or uint64_t. */
#define CUMULATE(T) \
    static void down_##T(const Cumulate *c, T *total, T *v, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) { \
            T next = c->product ? total[i] * v[i] : total[i] + v[i]; \
            v[i] = c->exclusive ? total[i] : next; \
            total[i] = next; \
        } \
    } \
    static void along_##T(const Cumulate *c, T *total, T *v, int64_t n) \
    { \
        T so_far = *total; \
        for (int64_t k = 0; k < n; k++) { \
            T *at = v + (c->reverse ? n - 1 - k : k), next = c->product ? so_far * *at : so_far + *at; \
            *at = c->exclusive ? so_far : next; \
            so_far = next; \
        } \
        *total = so_far; \
    }
CUMULATE(double)
CUMULATE(uint64_t)

typedef union Wides { double real[COLUMNS]; uint64_t bits[COLUMNS]; int64_t whole[COLUMNS]; } Wides;

/* Elements at ... at + n: a row of columns, or a piece of a line. */
static void cumulate_piece(const Cumulate *c, Wides *total, int64_t at, int64_t n)
{
    Wides v;
    bool line = c->axis.inner == 1;
    if (dtype_is_whole(c->x->dtype)) {
        elements_to_i64(c->x->dtype, c->x->data, at, n, v.whole);
        (line ? along_uint64_t : down_uint64_t)(c, total->bits, v.bits, n);
        elements_from_i64(c->y->dtype, v.whole, n, c->y->data, at);
    } else {
        elements_to_f64(c->x->dtype, c->x->data, at, n, v.real);
        (line ? along_double : down_double)(c, total->real, v.real, n);
        elements_from_f64(c->y->dtype, v.real, n, c->y->data, at);
    }
}

/* float32 down rows: each is the sum of the one before and of the input's, in float as totals down rows are. */
static void cumulate_rows(const Cumulate *c, int64_t start, int64_t columns)
{
    const float *x = (const float *)c->x->data + start, *so_far = NULL;
    float *y = (float *)c->y->data + start;
    for (int64_t i = 0; i < c->axis.n; i++) {
        int64_t at = (c->reverse ? c->axis.n - 1 - i : i) * c->axis.inner, shift = c->exclusive ? c->reverse ? c->axis.inner : -c->axis.inner : 0;
        if (i) kernels_best()->combine_f32(&(Combine){ ARITHMETIC_ADD, 1, 1 }, so_far, x + at + shift, y + at, (size_t)columns);
        else if (c->exclusive) memset(y + at, 0, (size_t)columns * sizeof *y);
        else memcpy(y + at, x + at, (size_t)columns * sizeof *y);
        so_far = y + at;
    }
}

/* CumSum, CumProd along an axis; exclusive: without the element itself; reverse: from the end. */
static Err cumulate_run(Plan *plan, Step *s)
{
    Cumulate c = { .x = s->in[0], .y = s->out[0] };
    int64_t given = 0;
    int n_axis, axis = 0;
    TRY(ints_of(s->in[1], &given, 1, &n_axis));
    TRY(axis_of(given, c.x->shape.rank, &axis));
    c.exclusive = attr_i(s->node, "exclusive", 0), c.reverse = attr_i(s->node, "reverse", 0), c.product = !strcmp(s->op->type, "CumProd");
    c.axis = axis_around(&c.x->shape, axis, axis + 1);
    bool line = c.axis.inner == 1;
    int64_t n = c.axis.n, inner = c.axis.inner, strips = pieces_in(inner, COLUMNS), steps = line ? pieces_in(n, COLUMNS) : n;
    #pragma omp parallel for num_threads(plan->threads) if (c.x->count > PARALLEL_WORK)
    for (int64_t t = 0; t < c.axis.outer * strips; t++) {
        int64_t start = t / strips * n * inner, first = t % strips * COLUMNS;
        Wides total;
        if (c.x->dtype == DT_F32 && !line && !c.product) {
            cumulate_rows(&c, start + first, lesser(inner - first, COLUMNS));
            continue;
        }
        for (int i = 0; i < COLUMNS; i++) if (dtype_is_whole(c.x->dtype)) total.bits[i] = c.product; else total.real[i] = c.product;
        for (int64_t i = 0; i < steps; i++) {
            int64_t step = c.reverse ? steps - 1 - i : i, from = line ? step * COLUMNS : first, end = line ? n : inner;
            cumulate_piece(&c, &total, start + from + (line ? 0 : step * inner), lesser(end - from, COLUMNS));
        }
    }
    return OK;
}

Err cumulate_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (!dtype_is_real(s->in[0]->dtype) || s->in[0]->dtype == DT_BOOL) return step_refuse(s, "input", s->in[0]);
    s->run = cumulate_run;
    return floats_ready();
}
