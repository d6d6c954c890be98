/* Element-wise operators with several operands, broadcast as NumPy does: https://onnx.ai/onnx/repo-docs/Broadcasting.html
 * Arithmetic is done in float for float32, in double for other floats, in 64-bit integers for integers (results wrap to the output type). */
#include <string.h>
#include <tgmath.h>
#include "engine/element.h"
#include "engine/floats.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

/* y[i] = f(a[i*sa], b[i*sb]), strides 0 or 1 */
typedef void Loop(const void *a, int64_t sa, const void *b, int64_t sb, void *y, int64_t n);
typedef struct Binary { const char *type; Loop *loop[4]; } Binary;     /* indexed by Wide; NULL: not for this type */

#define LOOP(NAME, T, R, FORMULA) \
    static void NAME(const void *pa, int64_t sa, const void *pb, int64_t sb, void *py, int64_t n) \
    { \
        const T *a = pa, *b = pb; \
        R *y = py; \
        if (sa && sb) { _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { T u = a[i], v = b[i]; y[i] = (R)(FORMULA); } } \
        else if (sa) { T v = *b; _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { T u = a[i]; y[i] = (R)(FORMULA); } } \
        else if (sb) { T u = *a; _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { T v = b[i]; y[i] = (R)(FORMULA); } } \
        else { T u = *a, v = *b; for (int64_t i = 0; i < n; i++) y[i] = (R)(FORMULA); } \
    }

/* What C leaves undefined has an answer here: x / 0 is 0, the smallest number / -1 wraps. */
static int64_t div_whole(int64_t u, int64_t v) { return v == 0 ? 0 : v == -1 ? (int64_t)(0 - (uint64_t)u) : u / v; }
static int64_t rem_whole(int64_t u, int64_t v) { return v == 0 || v == -1 ? 0 : u % v; }
/* sign of the divisor, as Python's % */
static int64_t mod_whole(int64_t u, int64_t v) { int64_t r = rem_whole(u, v); return r && (r < 0) != (v < 0) ? r + v : r; }
static double mod_real(double u, double v) { double r = fmod(u, v); return r != 0 && (r < 0) != (v < 0) ? r + v : r; }
static double pow_real(double u, double v) { return v == 2 ? u * u : v == 1 ? u : v == 0.5 && u >= 0 ? sqrt(u) : v == 3 ? u * u * u : pow(u, v); }
static float pow_single(float u, float v) { return v == 2 ? u * u : v == 1 ? u : v == 0.5f && u >= 0 ? sqrt(u) : v == 3 ? u * u * u : powf(u, v); }
static int64_t pow_whole(int64_t u, int64_t v)
{
    if (v < 0) return u == 1 ? 1 : u == -1 ? (v % 2 ? -1 : 1) : 0;
    uint64_t r = 1, base = (uint64_t)u;
    for (; v; v >>= 1, base *= base) if (v & 1) r *= base;
    return (int64_t)r;
}
static uint64_t shift_left(uint64_t u, uint64_t v) { return v < 64 ? u << v : 0; }
static uint64_t shift_right(uint64_t u, uint64_t v) { return v < 64 ? u >> v : 0; }

#define WRAP(OP) (int64_t)((uint64_t)u OP (uint64_t)v)
LOOP(add_f64, double, double, u + v) LOOP(add_i64, int64_t, int64_t, WRAP(+))
LOOP(sub_f64, double, double, u - v) LOOP(sub_i64, int64_t, int64_t, WRAP(-))
LOOP(mul_f64, double, double, u * v) LOOP(mul_i64, int64_t, int64_t, WRAP(*))
LOOP(div_f64, double, double, u / v) LOOP(div_i64, int64_t, int64_t, div_whole(u, v))
LOOP(div_u64, uint64_t, uint64_t, v ? u / v : 0)
LOOP(max_f64, double, double, u > v || u != u ? u : v) LOOP(max_i64, int64_t, int64_t, u > v ? u : v)
LOOP(max_u64, uint64_t, uint64_t, u > v ? u : v)
LOOP(min_f64, double, double, u < v || u != u ? u : v) LOOP(min_i64, int64_t, int64_t, u < v ? u : v)
LOOP(min_u64, uint64_t, uint64_t, u < v ? u : v)
LOOP(prelu_f32, float, float, u < 0 ? u * v : u) LOOP(prelu_f64, double, double, u < 0 ? u * v : u) LOOP(prelu_i64, int64_t, int64_t, u < 0 ? WRAP(*) : u)
LOOP(prelu_u64, uint64_t, uint64_t, u + 0 * v)
LOOP(mod_f32, float, float, mod_real((double)u, (double)v)) LOOP(mod_f64, double, double, mod_real(u, v)) LOOP(mod_i64, int64_t, int64_t, mod_whole(u, v))
LOOP(mod_u64, uint64_t, uint64_t, v ? u % v : 0)
LOOP(fmod_f32, float, float, fmod(u, v)) LOOP(fmod_f64, double, double, fmod(u, v)) LOOP(fmod_i64, int64_t, int64_t, rem_whole(u, v))
LOOP(pow_any_f32, float, float, pow_single(u, v)) LOOP(pow_f64, double, double, pow_real(u, v)) LOOP(pow_i64, int64_t, int64_t, pow_whole(u, v))
/* Squares and cubes, which exponents mostly ask for, without a question for each element. */
LOOP(square_f32, float, float, ((void)v, u * u)) LOOP(cube_f32, float, float, ((void)v, u * u * u))
static void pow_f32(const void *a, int64_t sa, const void *b, int64_t sb, void *y, int64_t n)
{
    float v = *(const float *)b;
    (!sb && v == 2 ? square_f32 : !sb && v == 3 ? cube_f32 : pow_any_f32)(a, sa, b, sb, y, n);
}
LOOP(left_u64, uint64_t, uint64_t, shift_left(u, v)) LOOP(right_u64, uint64_t, uint64_t, shift_right(u, v))
LOOP(and_i64, int64_t, int64_t, u & v) LOOP(or_i64, int64_t, int64_t, u | v) LOOP(xor_i64, int64_t, int64_t, u ^ v)
LOOP(land_i64, int64_t, int64_t, u && v) LOOP(lor_i64, int64_t, int64_t, u || v) LOOP(lxor_i64, int64_t, int64_t, !u != !v)
/* comparisons write bool */
#define COMPARE(NAME, OP) \
    LOOP(NAME##_f32, float, uint8_t, u OP v) LOOP(NAME##_f64, double, uint8_t, u OP v) LOOP(NAME##_i64, int64_t, uint8_t, u OP v) \
    LOOP(NAME##_u64, uint64_t, uint8_t, u OP v)
COMPARE(equal, ==) COMPARE(less, <) COMPARE(less_equal, <=) COMPARE(greater, >) COMPARE(greater_equal, >=)

static const Binary BINARY[] = {
    { "Add", { NULL, add_f64, add_i64, add_i64 } }, { "Sub", { NULL, sub_f64, sub_i64, sub_i64 } }, { "Mul", { NULL, mul_f64, mul_i64, mul_i64 } },
    { "Div", { NULL, div_f64, div_i64, div_u64 } }, { "Max", { NULL, max_f64, max_i64, max_u64 } }, { "Min", { NULL, min_f64, min_i64, min_u64 } },
    { "Sum", { NULL, add_f64, NULL, NULL } }, { "Mean", { NULL, add_f64, NULL, NULL } }, { "PRelu", { prelu_f32, prelu_f64, prelu_i64, prelu_u64 } },
    { "Mod", { mod_f32, mod_f64, mod_i64, mod_u64 } }, { "fmod", { fmod_f32, fmod_f64, fmod_i64, mod_u64 } }, { "Pow", { pow_f32, pow_f64, pow_i64, pow_i64 } },
    { "LEFT", { NULL, NULL, NULL, left_u64 } }, { "RIGHT", { NULL, NULL, NULL, right_u64 } },
    { "BitwiseAnd", { NULL, NULL, and_i64, and_i64 } }, { "BitwiseOr", { NULL, NULL, or_i64, or_i64 } }, { "BitwiseXor", { NULL, NULL, xor_i64, xor_i64 } },
    { "And", { NULL, NULL, land_i64, NULL } }, { "Or", { NULL, NULL, lor_i64, NULL } }, { "Xor", { NULL, NULL, lxor_i64, NULL } },
    { "Equal", { equal_f32, equal_f64, equal_i64, equal_u64 } }, { "Less", { less_f32, less_f64, less_i64, less_u64 } },
    { "LessOrEqual", { less_equal_f32, less_equal_f64, less_equal_i64, less_equal_u64 } }, { "Greater", { greater_f32, greater_f64, greater_i64, greater_u64 } },
    { "GreaterOrEqual", { greater_equal_f32, greater_equal_f64, greater_equal_i64, greater_equal_u64 } },
};

/* Of float32: kernels/rows.h. */
static const struct { const char *type; Arithmetic kind; } FAST[] = {
    { "Add", ARITHMETIC_ADD }, { "Sub", ARITHMETIC_SUB }, { "Mul", ARITHMETIC_MUL }, { "Div", ARITHMETIC_DIV }, { "Max", ARITHMETIC_MAX },
    { "Min", ARITHMETIC_MIN }, { "Sum", ARITHMETIC_ADD }, { "Mean", ARITHMETIC_ADD },
};

typedef struct State { Loop *loop; Arithmetic kind; Wide wide; bool to_bool; Walk *walk; } State;
typedef struct Operand { DType dtype; const void *data; } Operand;

/* One run of at most CHUNK elements that are contiguous or constant in each operand. at: offsets of a, b, y */
static void span(const State *st, const int64_t stride[2], const Operand op[2], Buffer *y, const int64_t at[3], int64_t n)
{
    uint64_t a[CHUNK], b[CHUNK], out[CHUNK];
    const void *pa = wide_load(st->wide, op[0].dtype, op[0].data, at[0], stride[0] ? n : 1, a);
    const void *pb = wide_load(st->wide, op[1].dtype, op[1].data, at[1], stride[1] ? n : 1, b);
    if (st->to_bool) { st->loop(pa, stride[0], pb, stride[1], (uint8_t *)y->data + at[2], n); return; }
    void *target = wide_target(st->wide, y->dtype, y->data, at[2], out);
    st->loop(pa, stride[0], pb, stride[1], target, n);
    wide_store(st->wide, y->dtype, target, n, y->data, at[2]);
}

/* y = loop(a, b) over the whole broadcast shape */
static void apply(const Plan *plan, const State *st, const Walk *w, const Operand op[2], Buffer *y)
{
    if (!st->loop) {
        floats_combine(plan, st->kind, w, op[0].data, op[1].data, y->data);
        return;
    }
    int64_t pieces = (w->inner + CHUNK - 1) / CHUNK, total = w->outer * pieces;
    const int64_t stride[2] = { w->stride[0][w->rank - 1], w->stride[1][w->rank - 1] };
    #pragma omp parallel for num_threads(plan->threads) if (y->count > PARALLEL_WORK)
    for (int64_t t = 0; t < total; t++) {
        int64_t offset[WALK_OPERANDS], row = t / pieces, first = t % pieces * CHUNK, n = w->inner - first < CHUNK ? w->inner - first : CHUNK;
        walk_row(w, row, offset);
        const int64_t at[3] = { offset[0] + first * stride[0], offset[1] + first * stride[1], row * w->inner + first };
        span(st, stride, op, y, at, n);
    }
}

static void divide_all(const Plan *plan, Buffer *y, int by)
{
    double scale = 1.0 / by;
    float n = (float)by;
    if (y->dtype == DT_F32) {
        Walk w;
        walk_init(&w, &y->shape, (const Shape *[]){ &y->shape, &(Shape){ 0 } }, 2);
        floats_combine(plan, ARITHMETIC_DIV, &w, y->data, &n, y->data);
        return;
    }
    for (int64_t i = 0; i < y->count; i++) {
        double v = number_at(y, i);
        v *= scale;
        elements_from_f64(y->dtype, &v, 1, y->data, i);
    }
}

static void copy_broadcast(const Walk *w, const Buffer *x, Buffer *y)
{
    size_t size = (size_t)dtype_bits(y->dtype) / 8;
    for (int64_t row = 0; row < w->outer; row++) {
        int64_t offset[WALK_OPERANDS], stride = w->stride[1][w->rank - 1];
        walk_row(w, row, offset);
        for (int64_t i = 0; i < w->inner; i++)
            memcpy((char *)y->data + (size_t)(row * w->inner + i) * size, (const char *)x->data + (size_t)(offset[1] + i * stride) * size, size);
    }
}

static Err binary_run(Plan *plan, Step *s)
{
    const State *st = s->state;
    Buffer *y = s->out[0];
    if (s->n_in == 1) copy_broadcast(st->walk, s->in[0], y);
    else apply(plan, st, &st->walk[1], (Operand[]){ { s->in[0]->dtype, s->in[0]->data }, { s->in[1]->dtype, s->in[1]->data } }, y);
    for (int k = 2; k < s->n_in; k++) apply(plan, st, &st->walk[k], (Operand[]){ { y->dtype, y->data }, { s->in[k]->dtype, s->in[k]->data } }, y);
    if (!strcmp(s->op->type, "Mean")) divide_all(plan, y, s->n_in);
    return OK;
}

static const char *loop_name(const Step *s)
{
    if (!strcmp(s->op->type, "BitShift")) return attr_s_is(s->node, "direction", "LEFT", false) ? "LEFT" : "RIGHT";
    if (!strcmp(s->op->type, "Mod") && attr_i(s->node, "fmod", 0)) return "fmod";
    return s->op->type;
}

/* Pow takes an exponent of another type: both go to double unless both are integers or both float32. */
static Wide wide_for(const Step *s)
{
    const char *type = s->op->type;
    if (!strcmp(type, "BitShift")) return WIDE_U64;
    Wide w = wide_of(s->in[0]->dtype);
    if (strcmp(type, "Pow")) return w;
    bool alike = dtype_is_whole(s->in[0]->dtype) ? dtype_is_whole(s->in[1]->dtype) : s->in[0]->dtype == s->in[1]->dtype;
    return alike ? w : WIDE_F64;
}

static Err binary_check(const Step *s)
{
    DType t = s->in[0]->dtype;
    bool shift = !strcmp(s->op->type, "BitShift"), power = !strcmp(s->op->type, "Pow");
    for (int i = 0; i < s->n_in; i++) {
        const Buffer *b = s->in[i];
        if (!b) return err_set(ERR_SHAPE, "%s needs all of its inputs.", s->op->type);
        if (!dtype_is_real(b->dtype) || dtype_bits(b->dtype) < 8 || (shift && !dtype_is_unsigned(b->dtype))) return step_refuse(s, "input", b);
        if (b->dtype != t && !power) return err_set(ERR_SHAPE, "%s has operands of different types, %s and %s.", s->op->type, dtype_name(t), dtype_name(b->dtype));
    }
    return OK;
}

Err binary_prep(Plan *plan, Step *s)
{
    const char *name = loop_name(s);
    TRY(binary_check(s));
    Wide w = wide_for(s);
    const Binary *row = BINARY;
    size_t fast = w == WIDE_F32 ? 0 : sizeof FAST / sizeof *FAST;
    while (fast < sizeof FAST / sizeof *FAST && strcmp(FAST[fast].type, name)) fast++;
    bool is_fast = fast < sizeof FAST / sizeof *FAST;
    while (strcmp(row->type, name)) row++;
    if (!row->loop[w] && !is_fast) return step_refuse(s, "input", s->in[0]);
    if (is_fast) TRY(floats_ready());
    State *st;
    TRY(plan_array(plan, 1, sizeof *st, &st));
    *st = (State){ .loop = row->loop[w], .kind = is_fast ? FAST[fast].kind : ARITHMETICS, .wide = w };
    st->to_bool = s->out[0]->dtype == DT_BOOL && s->in[0]->dtype != DT_BOOL;
    if (!strcmp(name, "Equal")) st->to_bool = true;
    TRY(plan_array(plan, s->n_in + 1, sizeof *st->walk, &st->walk));
    const Shape *y = &s->out[0]->shape;
    for (int k = 0; k < s->n_in; k++) walk_init(&st->walk[k], y, (const Shape *[]){ k == 1 ? &s->in[0]->shape : y, &s->in[k]->shape }, 2);
    s->state = st;
    s->run = binary_run;
    return OK;
}

/* Where: y = c ? a : b */
typedef struct WhereState { Walk walk; size_t size; } WhereState;

/* One row; strides of c, a and b are 0 or 1. */
#define WHERE_ROW(T) \
    do { \
        const T *a = operand[1], *b = operand[2]; \
        T *y = to; \
        if (stride[0] && stride[1] && stride[2]) _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = c[i] ? a[i] : b[i]; \
        else for (int64_t i = 0; i < n; i++) y[i] = c[i * stride[0]] ? a[i * stride[1]] : b[i * stride[2]]; \
    } while (0)

static void where_row(const void *const operand[3], const int64_t stride[3], void *to, int64_t n, size_t size)
{
    const uint8_t *c = operand[0];
    switch (size) {
    case 1: WHERE_ROW(uint8_t); break;
    case 2: WHERE_ROW(uint16_t); break;
    case 4: WHERE_ROW(uint32_t); break;
    case 8: WHERE_ROW(uint64_t); break;
    default:
        for (int64_t i = 0; i < n; i++) {
            int from = c[i * stride[0]] ? 1 : 2;
            memcpy((char *)to + (size_t)i * size, (const char *)operand[from] + (size_t)(i * stride[from]) * size, size);
        }
    }
}

static Err where_run(Plan *plan, Step *s)
{
    const WhereState *st = s->state;
    const Walk *w = &st->walk;
    int last = w->rank - 1;
    size_t size = st->size;
    const int64_t stride[3] = { w->stride[0][last], w->stride[1][last], w->stride[2][last] };
    #pragma omp parallel for num_threads(plan->threads) if (s->out[0]->count > PARALLEL_WORK)
    for (int64_t row = 0; row < w->outer; row++) {
        int64_t at[WALK_OPERANDS];
        walk_row(w, row, at);
        const void *operand[3] = { (const uint8_t *)s->in[0]->data + at[0], (const char *)s->in[1]->data + (size_t)at[1] * size,
                                   (const char *)s->in[2]->data + (size_t)at[2] * size };
        where_row(operand, stride, (char *)s->out[0]->data + (size_t)(row * w->inner) * size, w->inner, size);
    }
    return OK;
}

Err where_prep(Plan *plan, Step *s)
{
    WhereState *st;
    const Buffer *a = s->in[1];
    if (a->dtype != s->in[2]->dtype || s->in[0]->dtype != DT_BOOL) return err_set(ERR_SHAPE, "Where has operands of different types.");
    if (dtype_bits(a->dtype) < 8) return step_refuse(s, "input", a);
    TRY(plan_array(plan, 1, sizeof *st, &st));
    st->size = (size_t)dtype_bits(a->dtype) / 8;
    walk_init(&st->walk, &s->out[0]->shape, (const Shape *[]){ &s->in[0]->shape, &a->shape, &s->in[2]->shape }, 3);
    s->state = st;
    s->run = where_run;
    return OK;
}
