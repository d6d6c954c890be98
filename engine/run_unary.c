/* Element-wise operators with one tensor operand.   y = f(x), f in float for float32, in double for other floats, in int64 for integers.
 * What kernels/rows.h has for float32 runs there.
 * https://onnx.ai/onnx/operators : each formula below is the operator's definition; alpha, beta are its attributes. */
#include <string.h>
#include <tgmath.h>
#include "engine/element.h"
#include "engine/floats.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

typedef void Loop(const void *x, void *y, int64_t n, const double *p);
typedef struct Unary { const char *type; Loop *f32, *f64, *i64, *u64; } Unary;

/* name, formula in u with parameters alpha and beta of the computing type T */
#define FLOAT_TABLE(ROW) \
    ROW(Abs, fabs(u)) ROW(Neg, -u) ROW(Ceil, ceil(u)) ROW(Floor, floor(u)) ROW(Round, nearbyint(u)) ROW(Sign, u > 0 ? 1 : u < 0 ? -1 : u) \
    ROW(Sqrt, sqrt(u)) ROW(Reciprocal, 1 / u) ROW(Exp, exp(u)) ROW(Log, log(u)) ROW(Erf, erf(u)) \
    ROW(Sin, sin(u)) ROW(Cos, cos(u)) ROW(Tan, tan(u)) ROW(Asin, asin(u)) ROW(Acos, acos(u)) ROW(Atan, atan(u)) \
    ROW(Sinh, sinh(u)) ROW(Cosh, cosh(u)) ROW(Tanh, tanh(u)) ROW(Asinh, asinh(u)) ROW(Acosh, acosh(u)) ROW(Atanh, atanh(u)) \
    ROW(Relu, u < 0 ? 0 : u) ROW(LeakyRelu, u < 0 ? alpha * u : u) ROW(ThresholdedRelu, u > alpha ? u : 0) \
    ROW(Elu, u < 0 ? alpha * expm1(u) : u) ROW(Selu, u > 0 ? beta * u : beta * (alpha * expm1(u))) ROW(Celu, u < 0 ? alpha * expm1(u / alpha) : u) \
    ROW(Sigmoid, u >= 0 ? 1 / (1 + exp(-u)) : exp(u) / (1 + exp(u))) ROW(HardSigmoid, limit(alpha * u + beta)) ROW(HardSwish, u * limit(u / 6 + (T)0.5)) \
    ROW(Softplus, u > 0 ? u + log1p(exp(-u)) : log1p(exp(u))) ROW(Softsign, u / (1 + fabs(u))) \
    ROW(Mish, u * tanh(u > 0 ? u + log1p(exp(-u)) : log1p(exp(u)))) ROW(Swish, u / (1 + exp(-alpha * u))) \
    ROW(Shrink, u < -beta ? u + alpha : u > beta ? u - alpha : 0) ROW(QuickGelu, u / (1 + exp(-alpha * u))) \
    ROW(Gelu, u * (T)0.5 * (1 + erf(u * (T)M_SQRT1_2))) ROW(FastGelu, u * (T)0.5 * (1 + tanh((T)0.7978845608028654 * (u + (T)0.044715 * u * u * u))))

#define limit(v) ((v) < 0 ? 0 : (v) > 1 ? 1 : (v))
#define FLOAT_LOOP(NAME, SUFFIX, TYPE, FORMULA) \
    static void NAME##_##SUFFIX(const void *px, void *py, int64_t n, const double *p) \
    { \
        typedef TYPE T; \
        const T *x = px, alpha = (T)p[0], beta = (T)p[1]; \
        T *y = py; \
        (void)alpha, (void)beta; \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { T u = x[i]; y[i] = (T)(FORMULA); } \
    }
#define FLOAT_LOOPS(NAME, FORMULA) FLOAT_LOOP(NAME, f32, float, FORMULA) FLOAT_LOOP(NAME, f64, double, FORMULA)
FLOAT_TABLE(FLOAT_LOOPS)

#define WHOLE_TABLE(ROW) \
    ROW(Abs, i64, int64_t, u < 0 ? (int64_t)(0 - (uint64_t)u) : u) ROW(Neg, i64, int64_t, (int64_t)(0 - (uint64_t)u)) ROW(Sign, i64, int64_t, (u > 0) - (u < 0)) \
    ROW(Relu, i64, int64_t, u < 0 ? 0 : u) ROW(BitwiseNot, i64, int64_t, ~u) ROW(Not, i64, int64_t, !u) ROW(Shrink, i64, int64_t, shrink_whole(u, p)) \
    ROW(Abs, u64, uint64_t, u) ROW(Neg, u64, uint64_t, 0 - u) ROW(Sign, u64, uint64_t, u > 0) ROW(BitwiseNot, u64, uint64_t, ~u)
static int64_t shrink_whole(int64_t u, const double *p)
{
    double v = (double)u;
    return (int64_t)(v < -p[1] ? v + p[0] : v > p[1] ? v - p[0] : 0);
}
#define WHOLE_LOOP(NAME, SUFFIX, T, FORMULA) \
    static void NAME##_##SUFFIX(const void *px, void *py, int64_t n, const double *p) \
    { \
        const T *x = px; \
        T *y = py; \
        (void)p; \
        for (int64_t i = 0; i < n; i++) { T u = x[i]; y[i] = (T)(FORMULA); } \
    }
WHOLE_TABLE(WHOLE_LOOP)

#define FLOAT_ROW(NAME, FORMULA) { #NAME, NAME##_f32, NAME##_f64, NULL, NULL },
static const Unary UNARY[] = {
    { "Abs", Abs_f32, Abs_f64, Abs_i64, Abs_u64 }, { "Neg", Neg_f32, Neg_f64, Neg_i64, Neg_u64 }, { "Sign", Sign_f32, Sign_f64, Sign_i64, Sign_u64 },
    { "Relu", Relu_f32, Relu_f64, Relu_i64, NULL }, { "BitwiseNot", NULL, NULL, BitwiseNot_i64, BitwiseNot_u64 }, { "Not", NULL, NULL, Not_i64, NULL },
    { "Shrink", Shrink_f32, Shrink_f64, Shrink_i64, NULL },
    FLOAT_TABLE(FLOAT_ROW)
};

typedef struct State { Loop *loop; Wide wide; double p[2]; } State;

static Err unary_run(Plan *plan, Step *s)
{
    const State *st = s->state;
    const Buffer *x = s->in[0];
    Buffer *y = s->out[0];
    int64_t chunks = (x->count + CHUNK - 1) / CHUNK;
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t c = 0; c < chunks; c++) {
        double from[CHUNK], to[CHUNK];
        int64_t start = c * CHUNK, n = x->count - start < CHUNK ? x->count - start : CHUNK;
        const void *at = wide_load(st->wide, x->dtype, x->data, start, n, from);
        void *target = wide_target(st->wide, y->dtype, y->data, start, to);
        st->loop(at, target, n, st->p);
        wide_store(st->wide, y->dtype, target, n, y->data, start);
    }
    return OK;
}

static const char *unary_type(const Step *s)
{
    return !strcmp(s->op->type, "Gelu") && attr_s_is(s->node, "approximate", "tanh", false) ? "FastGelu" : s->op->type;
}

static void read_parameters(const Step *s, double p[2])
{
    static const struct { const char *type; const char *name[2]; float value[2]; } DEFAULT[] = {
        { "LeakyRelu", { "alpha", NULL }, { 0.01f, 0 } }, { "ThresholdedRelu", { "alpha", NULL }, { 1, 0 } }, { "Elu", { "alpha", NULL }, { 1, 0 } },
        { "Selu", { "alpha", "gamma" }, { 1.67326319217681884765625f, 1.05070102214813232421875f } }, { "Celu", { "alpha", NULL }, { 1, 0 } },
        { "HardSigmoid", { "alpha", "beta" }, { 0.2f, 0.5f } }, { "Swish", { "alpha", NULL }, { 1, 0 } }, { "Shrink", { "bias", "lambd" }, { 0, 0.5f } },
        { "QuickGelu", { "alpha", NULL }, { 1.702f, 0 } },
    };
    for (size_t i = 0; i < sizeof DEFAULT / sizeof *DEFAULT; i++) {
        if (strcmp(DEFAULT[i].type, s->op->type)) continue;
        for (int k = 0; k < 2; k++) p[k] = DEFAULT[i].name[k] ? (double)attr_f(s->node, DEFAULT[i].name[k], DEFAULT[i].value[k]) : 0;
    }
}

static Err activate_run(Plan *plan, Step *s)
{
    floats_activate(plan, s->state, s->in[0]->data, s->out[0]->data, s->out[0]->count);
    return OK;
}

bool activation_of(const Step *s, Activate *a)
{
    static const struct { const char *type; Activate a; } FIXED[] = {
        { "Relu", { ACTIVATION_CLAMP, 0, INFINITY } }, { "LeakyRelu", { .kind = ACTIVATION_LEAKY } }, { "Sigmoid", { .kind = ACTIVATION_SIGMOID } },
        { "HardSigmoid", { .kind = ACTIVATION_HARD_SIGMOID } }, { "HardSwish", { ACTIVATION_HARD_SWISH, 1.0f / 6, 0.5f } },
        { "Tanh", { .kind = ACTIVATION_TANH } }, { "Erf", { .kind = ACTIVATION_ERF } }, { "Gelu", { .kind = ACTIVATION_GELU } },
        { "FastGelu", { .kind = ACTIVATION_GELU_TANH } }, { "Mish", { .kind = ACTIVATION_MISH } }, { "Exp", { .kind = ACTIVATION_EXP } },
        { "Swish", { .kind = ACTIVATION_SILU } }, { "QuickGelu", { .kind = ACTIVATION_SILU } },
    };
    double p[2] = { 0, 0 };
    const char *type = unary_type(s);
    if (s->in[0]->dtype != DT_F32 || s->n_in != 1) return false;
    for (size_t i = 0; i < sizeof FIXED / sizeof *FIXED; i++) {
        if (strcmp(FIXED[i].type, type)) continue;
        read_parameters(s, p);
        *a = FIXED[i].a;
        if (p[0] != 0 || p[1] != 0) { a->alpha = (float)p[0]; a->beta = (float)p[1]; }
        return true;
    }
    return false;
}

static Err activate_prep(Plan *plan, Step *s, const Activate *a)
{
    Activate *own;
    TRY(floats_ready());
    TRY(plan_array(plan, 1, sizeof *own, &own));
    *own = *a;
    s->state = own;
    s->run = activate_run;
    return OK;
}

Err unary_prep(Plan *plan, Step *s)
{
    Activate a;
    if (activation_of(s, &a)) return activate_prep(plan, s, &a);
    const char *type = unary_type(s);
    DType t = s->in[0]->dtype;
    for (size_t i = 0; i < sizeof UNARY / sizeof *UNARY; i++) {
        if (strcmp(UNARY[i].type, type)) continue;
        Wide w = wide_of(t);
        Loop *loop = w == WIDE_F32 ? UNARY[i].f32 : w == WIDE_F64 ? UNARY[i].f64 : w == WIDE_I64 ? UNARY[i].i64 : UNARY[i].u64;
        if (!loop || !dtype_is_real(t)) break;
        State *st;
        TRY(plan_array(plan, 1, sizeof *st, &st));
        *st = (State){ .loop = loop, .wide = w };
        read_parameters(s, st->p);
        s->state = st;
        s->run = unary_run;
        return OK;
    }
    return step_refuse(s, "input", s->in[0]);
}

/* IsNaN, IsInf: bool results. */
static Err is_what_run(Plan *plan, Step *s)
{
    (void)plan;
    const Buffer *x = s->in[0];
    uint8_t *y = s->out[0]->data;
    bool nan = !strcmp(s->op->type, "IsNaN");
    bool positive = attr_i(s->node, "detect_positive", 1), negative = attr_i(s->node, "detect_negative", 1);
    for (int64_t i = 0; i < x->count; i++) {
        double v = number_at(x, i);
        y[i] = nan ? v != v : isinf(v) && (v > 0 ? positive : negative);
    }
    return OK;
}

Err is_what_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (!dtype_is_float(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    s->run = is_what_run;
    return OK;
}

/* Clip: y = min(max(x, lo), hi). Limits are attributes before opset 11, inputs since. */
#define CLIP_TABLE(ROW) ROW(double, f64) ROW(int64_t, i64) ROW(uint64_t, u64)
#define CLIP_LOOP(T, SUFFIX) \
    static void clip_##SUFFIX(const void *px, void *py, int64_t n, const void *lo, const void *hi) \
    { \
        const T *x = px; \
        T *y = py; \
        T least = lo ? *(const T *)lo : 0, most = hi ? *(const T *)hi : 0; \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { \
            T u = x[i]; \
            if (lo && u < least) u = least; \
            if (hi && u > most) u = most; \
            y[i] = u; \
        } \
    }
CLIP_TABLE(CLIP_LOOP)

static Err clip_f32_run(Plan *plan, Step *s)
{
    const Buffer *low = s->in[1], *high = s->in[2];
    const double *given = s->state;
    Activate a = { ACTIVATION_CLAMP, -INFINITY, INFINITY };
    if (low && low->count) a.alpha = *(const float *)low->data;
    if (high && high->count) a.beta = *(const float *)high->data;
    if (given) { a.alpha = (float)given[0]; a.beta = (float)given[1]; }
    floats_activate(plan, &a, s->in[0]->data, s->out[0]->data, s->out[0]->count);
    return OK;
}

static Err clip_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *low = s->in[1], *high = s->in[2];
    Buffer *y = s->out[0];
    Wide w = wide_of(x->dtype);
    const double *given = s->state;
    double lo_chunk, hi_chunk;
    const void *lo = low && low->count ? wide_load(w, x->dtype, low->data, 0, 1, &lo_chunk) : NULL;
    const void *hi = high && high->count ? wide_load(w, x->dtype, high->data, 0, 1, &hi_chunk) : NULL;
    if (given) { lo = given; hi = given + 1; }
    void (*loop)(const void *, void *, int64_t, const void *, const void *) = w == WIDE_F64 ? clip_f64 : w == WIDE_I64 ? clip_i64 : clip_u64;
    int64_t chunks = (x->count + CHUNK - 1) / CHUNK;
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t c = 0; c < chunks; c++) {
        double from[CHUNK], to[CHUNK];
        int64_t start = c * CHUNK, n = x->count - start < CHUNK ? x->count - start : CHUNK;
        void *target = wide_target(w, y->dtype, y->data, start, to);
        loop(wide_load(w, x->dtype, x->data, start, n, from), target, n, lo, hi);
        wide_store(w, y->dtype, target, n, y->data, start);
    }
    return OK;
}

Err clip_prep(Plan *plan, Step *s)
{
    DType t = s->in[0]->dtype;
    if (!dtype_is_real(t) || t == DT_BOOL) return step_refuse(s, "input", s->in[0]);
    for (int i = 1; i < 3; i++) if (s->in[i] && s->in[i]->dtype != t) return step_refuse(s, "limit", s->in[i]);
    if (s->opset < 11) {
        double *given;
        if (!dtype_is_float(t)) return step_refuse(s, "input", s->in[0]);
        TRY(plan_array(plan, 2, sizeof *given, &given));
        given[0] = (double)attr_f(s->node, "min", -3.4028234663852886e38f);
        given[1] = (double)attr_f(s->node, "max", 3.4028234663852886e38f);
        s->state = given;
    }
    s->run = t == DT_F32 ? clip_f32_run : clip_run;
    return t == DT_F32 ? floats_ready() : OK;
}
