/* Cast, CastLike, BitCast: https://onnx.ai/onnx/operators/onnx__Cast.html */
#include <math.h>
#include "engine/element.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

/* A power of two for float8e8m0: rounded up, down or to the nearest. */
static double power_of_two(double x, char mode)
{
    int e;
    double m = frexp(x, &e);               /* x = m * 2^e, m in [0.5, 1) */
    if (!(x > 0) || isinf(x)) return x;
    if (m == 0.5 || mode == 'd') return ldexp(0.5, e);
    return mode == 'u' || m >= 0.75 ? ldexp(1, e) : ldexp(0.5, e);
}

typedef struct CastState { const Kernels *kernels; bool saturate; char round; } CastState;

static void to_small(const Buffer *y, const CastState *st, double *v, int64_t n, int64_t start)
{
    const MiniFloat *f = mini_float(y->dtype);
    for (int64_t i = 0; i < n; i++) {
        if (f->kind == MINI_SCALE) v[i] = power_of_two(v[i], st->round);
        ((uint8_t *)y->data)[start + i] = (uint8_t)mini_encode(f, v[i], st->saturate);
    }
}

static void cast_chunk(const Buffer *x, const Buffer *y, const CastState *st, int64_t start, int64_t n)
{
    union { double real[CHUNK]; int64_t whole[CHUNK]; } v;
    if (dtype_is_whole(x->dtype) && x->dtype != DT_U64 && !(mini_float(y->dtype) && dtype_bits(y->dtype) == 8)) {
        elements_to_i64(x->dtype, x->data, start, n, v.whole);
        elements_from_i64(y->dtype, v.whole, n, y->data, start);
        return;
    }
    if (x->dtype == DT_U64 && dtype_is_whole(y->dtype)) {
        elements_from_i64(y->dtype, (const int64_t *)x->data + start, n, y->data, start);
        return;
    }
    if (x->dtype == DT_U64 && y->dtype == DT_F32) {
        for (int64_t i = start; i < start + n; i++) ((float *)y->data)[i] = (float)((const uint64_t *)x->data)[i];
        return;
    }
    elements_to_f64(x->dtype, x->data, start, n, v.real);
    if (mini_float(y->dtype) && dtype_bits(y->dtype) == 8) to_small(y, st, v.real, n, start);
    else elements_from_f64(y->dtype, v.real, n, y->data, start);
}

/* The casts that models are full of, without a detour. Out of range and NaN: the most negative number, as elements_from_f64 has it. */
static int64_t to_i64(float v) { return v >= -0x1p63f && v < 0x1p63f ? (int64_t)v : INT64_MIN; }
static int32_t to_i32(float v) { return v >= -0x1p31f && v < 0x1p31f ? (int32_t)v : INT32_MIN; }

#define DIRECT_TABLE(ROW) \
    ROW(DT_F32, float, DT_I64, int64_t, to_i64(u)) ROW(DT_F32, float, DT_I32, int32_t, to_i32(u)) ROW(DT_F32, float, DT_BOOL, uint8_t, u != 0) \
    ROW(DT_F32, float, DT_BF16, uint16_t, f32_to_bf16(u)) ROW(DT_BF16, uint16_t, DT_F32, float, bf16_to_f32(u)) \
    ROW(DT_BOOL, uint8_t, DT_F32, float, (float)u) ROW(DT_BOOL, uint8_t, DT_I64, int64_t, u) ROW(DT_BOOL, uint8_t, DT_I32, int32_t, u) \
    ROW(DT_U8, uint8_t, DT_F32, float, (float)u) ROW(DT_I32, int32_t, DT_F32, float, (float)u) ROW(DT_I64, int64_t, DT_F32, float, (float)u) \
    ROW(DT_I32, int32_t, DT_I64, int64_t, u) ROW(DT_I64, int64_t, DT_BOOL, uint8_t, u != 0) ROW(DT_I32, int32_t, DT_BOOL, uint8_t, u != 0)

static bool cast_direct(const Buffer *x, const Buffer *y, const Kernels *kernels, int64_t start, int64_t n)
{
    if (x->dtype == DT_F32 && y->dtype == DT_F16) {
        kernels->narrow_f16((const float *)x->data + start, (size_t)n, (uint16_t *)y->data + start);
        return true;
    }
    if (x->dtype == DT_F16 && y->dtype == DT_F32) {
        kernels->widen_f16((const uint16_t *)x->data + start, (size_t)n, (float *)y->data + start);
        return true;
    }
    #define DIRECT_ROW(FROM, S, TO, T, FORMULA) \
        if (x->dtype == FROM && y->dtype == TO) { \
            const S *from = (const S *)x->data + start; \
            T *to = (T *)y->data + start; \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { S u = from[i]; to[i] = FORMULA; } \
            return true; \
        }
    DIRECT_TABLE(DIRECT_ROW)
    return false;
}

static Err cast_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *y = s->out[0];
    const CastState *st = s->state;
    int64_t chunks = (x->count + CHUNK - 1) / CHUNK;
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t start = c * CHUNK, n = x->count - start < CHUNK ? x->count - start : CHUNK;
        if (!cast_direct(x, y, st->kernels, start, n)) cast_chunk(x, y, st, start, n);
    }
    return OK;
}

Err cast_prep(Plan *plan, Step *s)
{
    CastState *st;
    DType from = s->in[0]->dtype, to = s->out[0]->dtype;
    if (from == to) return view_prep(plan, s);
    if (!dtype_is_real(from)) return step_refuse(s, "input", s->in[0]);
    if (!dtype_is_real(to)) return step_refuse(s, "output", s->out[0]);
    TRY(plan_array(plan, 1, sizeof *st, &st));
    TRY(find_kernels(&st->kernels));
    st->saturate = attr_i(s->node, "saturate", 1);
    st->round = attr_s_is(s->node, "round_mode", "down", false) ? 'd' : attr_s_is(s->node, "round_mode", "nearest", false) ? 'n' : 'u';
    s->state = st;
    s->run = cast_run;
    return OK;
}

/* The same bits under another type of the same width. */
Err bit_cast_prep(Plan *plan, Step *s)
{
    if (dtype_bits(s->in[0]->dtype) != dtype_bits(s->out[0]->dtype) || !dtype_bits(s->in[0]->dtype))
        return err_set(ERR_UNSUPPORTED, "BitCast between types of different widths cannot be run.");
    return view_prep(plan, s);
}
