/* Quantization: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear. */
#include <math.h>
#include "engine/element.h"
#include "engine/move.h"
#include "engine/quant.h"
#include "engine/run_ops.h"
#include "kernels/whole.h"

/* Elements at ... at + n - 1. */
static void minus_run(const Buffer *x, int64_t at, int64_t n, int64_t zero, int32_t *y)
{
    const uint8_t *u = (const uint8_t *)x->data + at;
    const int8_t *i8 = (const int8_t *)x->data + at;
    if (x->dtype == DT_U8) for (int64_t i = 0; i < n; i++) y[i] = u[i] - (int32_t)zero;
    else if (x->dtype == DT_I8) for (int64_t i = 0; i < n; i++) y[i] = i8[i] - (int32_t)zero;
    else for (int64_t i = 0; i < n; i++) {
        int64_t v = whole_at(x, at + i);
        y[i] = (int32_t)((uint64_t)v - (uint64_t)zero);
    }
}

Err minus_zero(const Buffer *x, const Buffer *zero, int axis, int32_t *y)
{
    int64_t count = zero ? zero->count : 0, inner = 1, size = 1;
    if (zero && zero->dtype != x->dtype) return err_set(ERR_SHAPE, "A zero point has another type than what it belongs to.");
    if (count > 1) {
        if (axis < 0) axis = 0;
        size = x->shape.dim[axis];
        inner = shape_span(&x->shape, axis + 1, x->shape.rank);
        if (!size || count % size) return err_set(ERR_SHAPE, "A zero point has %lld elements for %lld channels.", (long long)count, (long long)size);
    }
    if (count <= 1) inner = x->count;
    for (int64_t at = 0; at < x->count; at += inner) {
        int64_t z = 0;
        if (count) z = whole_at(zero, count > 1 ? at / inner % size : 0);
        minus_run(x, at, inner, z, y + at);
    }
    return OK;
}

float scale_at(const Buffer *scale, int64_t i)
{
    double v = number_at(scale, i);
    return (float)v;
}

static void whole_range(DType t, double *lo, double *hi)
{
    int bits = dtype_bits(t);
    *lo = dtype_is_unsigned(t) ? 0 : -ldexp(1, bits - 1);
    *hi = ldexp(1, dtype_is_unsigned(t) ? bits : bits - 1) - 1;
}

void put_saturated(Buffer *y, int64_t i, double v, const Buffer *zero, int64_t zi)
{
    double lo, hi;
    int64_t z = 0, q;
    whole_range(y->dtype, &lo, &hi);
    if (zero) z = whole_at(zero, zi);
    v += (double)z;
    q = v != v ? 0 : v >= 0x1p63 && hi >= 0x1p63 ? INT64_MAX : (int64_t)(v < lo ? lo : v > hi ? hi : v);
    elements_from_i64(y->dtype, &q, 1, y->data, i);
}

/* Which element of the scale belongs to element i of x: one, one for each index along axis, or one for each block of `block` along it. */
typedef struct Blocks { int64_t size, inner, block, per_axis; bool single; } Blocks;

static Err blocks_of(const Step *s, const Buffer *x, const Buffer *scale, Blocks *b)
{
    int axis = 0;
    *b = (Blocks){ .single = scale->count == 1 && scale->shape.rank <= 1 };
    if (b->single) return OK;
    TRY(axis_of(attr_i(s->node, "axis", 1), x->shape.rank, &axis));
    b->size = x->shape.dim[axis];
    b->inner = shape_span(&x->shape, axis + 1, x->shape.rank);
    b->block = attr_i(s->node, "block_size", 0);
    if (scale->shape.rank == 1 && !b->block) {
        if (scale->count != b->size) return err_set(ERR_SHAPE, "There are %lld scales for %lld channels.", (long long)scale->count, (long long)b->size);
        return OK;
    }
    if (scale->shape.rank != x->shape.rank) return err_set(ERR_SHAPE, "The scale has rank %d, the data %d.", scale->shape.rank, x->shape.rank);
    b->per_axis = scale->shape.dim[axis];
    if (!b->block && b->per_axis) b->block = (b->size + b->per_axis - 1) / b->per_axis;
    if (b->block <= 0 || (b->size + b->block - 1) / b->block != b->per_axis || scale->count * b->size != x->count * b->per_axis)
        return err_set(ERR_SHAPE, "The scale's blocks do not fit the data.");
    return OK;
}

static int64_t block_at(const Blocks *b, int64_t i)
{
    if (b->single) return 0;
    int64_t at = i / b->inner % b->size;
    if (!b->block) return at;
    return (i / (b->inner * b->size) * b->per_axis + at / b->block) * b->inner + i % b->inner;
}

/* Elements that follow each other and have one scale; 0: none do. */
static int64_t run_of(const Blocks *b, int64_t count)
{
    if (b->single || !b->block) return b->single ? count : b->inner;
    return b->inner == 1 && b->size % b->block == 0 ? b->block : 0;
}

/* Pieces of runs for threads: elements at ... at + n - 1. */
enum { PIECE = 4096 };
typedef struct Piece { int64_t at, n; } Piece;

static int64_t pieces_of(int64_t run, int64_t count) { return run ? count / run * pieces_in(run, PIECE) : 0; }

static Piece piece_of(int64_t run, int64_t i)
{
    int64_t each = pieces_in(run, PIECE), at = i % each * PIECE;
    return (Piece){ i / each * run + at, lesser(run - at, PIECE) };
}

/* Elements of 8 and 16 bits in steps that vectorize. The limits come first, so that a number is small enough to be rounded by adding a large one; NaN becomes 0. */
#define WHOLE_LOOPS(T, SUFFIX) \
    static void quantize_##SUFFIX(const float *x, int64_t n, float scale, float zero, float lo, float hi, T *y) \
    { \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { \
            float q = x[i] / scale; \
            q = q > lo - zero ? q : q == q ? lo - zero : -zero; \
            q = q < hi - zero ? q : hi - zero; \
            y[i] = (T)(int32_t)((q + 0x1.8p23f) - 0x1.8p23f + zero); \
        } \
    } \
    static void dequantize_##SUFFIX(const T *x, int64_t n, float scale, int32_t zero, float *y) \
    { \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = (float)((int32_t)x[i] - zero) * scale; \
    }
WHOLE_LOOPS(uint8_t, u8) WHOLE_LOOPS(int8_t, i8) WHOLE_LOOPS(uint16_t, u16) WHOLE_LOOPS(int16_t, i16)

static void quantize_piece(const float *x, int64_t n, float scale, float zero, Buffer *y, int64_t at)
{
    double lo, hi;
    whole_range(y->dtype, &lo, &hi);
    if (y->dtype == DT_U8) quantize_u8(x, n, scale, zero, (float)lo, (float)hi, (uint8_t *)y->data + at);
    else if (y->dtype == DT_I8) quantize_i8(x, n, scale, zero, (float)lo, (float)hi, (int8_t *)y->data + at);
    else if (y->dtype == DT_U16) quantize_u16(x, n, scale, zero, (float)lo, (float)hi, (uint16_t *)y->data + at);
    else quantize_i16(x, n, scale, zero, (float)lo, (float)hi, (int16_t *)y->data + at);
}

static void dequantize_piece(const Buffer *x, int64_t at, int64_t n, float scale, int32_t zero, float *y)
{
    if (x->dtype == DT_U8) dequantize_u8((const uint8_t *)x->data + at, n, scale, zero, y);
    else if (x->dtype == DT_I8) dequantize_i8((const int8_t *)x->data + at, n, scale, zero, y);
    else if (x->dtype == DT_U16) dequantize_u16((const uint16_t *)x->data + at, n, scale, zero, y);
    else dequantize_i16((const int16_t *)x->data + at, n, scale, zero, y);
}

/* Between float32 and whole numbers of 8 or 16 bits. */
static bool has_loop(const Buffer *real, const Buffer *whole)
{
    return real->dtype == DT_F32 && (whole->dtype == DT_U8 || whole->dtype == DT_I8 || whole->dtype == DT_U16 || whole->dtype == DT_I16);
}

static int64_t zero_at(const Buffer *zero, int64_t k) { return zero ? whole_at(zero, k) : 0; }

/* y = saturate(round(x / scale) + zero), halves to even. Small floats: x / scale converted. */
static Err quantize_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *scale = s->in[1], *zero = s->in[2];
    Buffer *y = s->out[0];
    Blocks b;
    bool saturate = attr_i(s->node, "saturate", 1);
    const MiniFloat *mini = mini_float(y->dtype);
    TRY(blocks_of(s, x, scale, &b));
    int64_t run = has_loop(x, y) ? run_of(&b, x->count) : 0, pieces = pieces_of(run, x->count);
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t i = 0; i < pieces; i++) {
        Piece p = piece_of(run, i);
        int64_t k = block_at(&b, p.at);
        quantize_piece((const float *)x->data + p.at, p.n, scale_at(scale, k), (float)zero_at(zero, k), y, p.at);
    }
    for (int64_t i = 0; !run && i < x->count; i++) {
        int64_t k = block_at(&b, i);
        double v, z = 0;
        v = number_at(x, i);
        v = dtype_is_float(x->dtype) && x->dtype != DT_F64 ? (double)((float)v / scale_at(scale, k)) : v / (double)scale_at(scale, k);
        if (!mini) { put_saturated(y, i, nearbyint(v), zero, k); continue; }
        if (zero) z = number_at(zero, k);
        unsigned bits = mini_encode(mini, v + z, saturate);
        if (dtype_bits(y->dtype) == 8) ((uint8_t *)y->data)[i] = (uint8_t)bits;
        else { v = mini_decode(mini, bits); elements_from_f64(y->dtype, &v, 1, y->data, i); }
    }
    return OK;
}

Err quantize_prep(Plan *plan, Step *s)
{
    Blocks b;
    (void)plan;
    if (!dtype_is_real(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    s->run = quantize_run;
    return blocks_of(s, s->in[0], s->in[1], &b);
}

static Err dequantize_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *scale = s->in[1], *zero = s->in[2];
    Buffer *y = s->out[0];
    Blocks b;
    TRY(blocks_of(s, x, scale, &b));
    int64_t run = has_loop(y, x) ? run_of(&b, x->count) : 0, pieces = pieces_of(run, x->count), singles = run ? 0 : x->count;
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t i = 0; i < pieces; i++) {
        Piece p = piece_of(run, i);
        int64_t k = block_at(&b, p.at);
        dequantize_piece(x, p.at, p.n, scale_at(scale, k), (int32_t)zero_at(zero, k), (float *)y->data + p.at);
    }
    #pragma omp parallel for num_threads(plan->threads) if (singles > PARALLEL_WORK)
    for (int64_t i = 0; i < singles; i++) {
        int64_t k = block_at(&b, i);
        double v, z = 0;
        v = number_at(x, i);
        if (zero) z = number_at(zero, k);
        v = (double)((float)(v - z) * scale_at(scale, k));
        elements_from_f64(y->dtype, &v, 1, y->data, i);
    }
    return OK;
}

Err dequantize_prep(Plan *plan, Step *s)
{
    Blocks b;
    (void)plan;
    if (!dtype_is_real(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    s->run = dequantize_run;
    return blocks_of(s, s->in[0], s->in[1], &b);
}

/* scale = (max(x,0) - min(x,0)) / 255, zero = clamp(round(-min / scale)), y = saturate(round(x / scale) + zero); all in float */
static Err dynamic_quantize_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    const float *v = x->data;
    uint8_t *y = s->out[0]->data;
    float lo = 0, hi = 0;
    #pragma omp simd reduction(min : lo) reduction(max : hi)
    for (int64_t i = 0; i < x->count; i++) {
        lo = v[i] < lo ? v[i] : lo;
        hi = v[i] > hi ? v[i] : hi;
    }
    float scale = (hi - lo) / 255;
    if (scale == 0) scale = 1;
    float z = nearbyintf(-lo / scale);
    z = z > 0 ? z < 255 ? z : 255 : 0;         /* in this order NaN is 0 */
    *(float *)s->out[1]->data = scale;
    *(uint8_t *)s->out[2]->data = (uint8_t)z;
    int64_t pieces = pieces_in(x->count, PIECE);
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t i = 0; i < pieces; i++) quantize_u8(v + i * PIECE, lesser(x->count - i * PIECE, PIECE), scale, z, 0, 255, y + i * PIECE);
    return OK;
}

Err dynamic_quantize_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (s->in[0]->dtype != DT_F32) return step_refuse(s, "input", s->in[0]);
    for (int i = 0; i < 3; i++) if (!s->out[i]) return err_set(ERR_UNSUPPORTED, "DynamicQuantizeLinear with outputs left out cannot be run.");
    s->run = dynamic_quantize_run;
    return OK;
}
