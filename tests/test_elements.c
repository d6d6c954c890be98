/* Weights of every type: pruned like the same numbers in float32, zeros written as the type's zero or the zero point, everything else left to the bit. */
#include "recipes/elements.h"
#include "tests/cmocka.h"
#include "tests/weights.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Format { DType dtype; int exponent_bits, mantissa_bits, bias; } Format;     /* floats; integers have exponent_bits 0 */

static const Format formats[] = {
    { DT_F32, 8, 23, 127 }, { DT_F64, 11, 52, 1023 }, { DT_F16, 5, 10, 15 }, { DT_BF16, 8, 7, 127 }, { DT_F8E4M3FN, 4, 3, 7 }, { DT_F8E4M3FNUZ, 4, 3, 8 },
    { DT_F8E5M2, 5, 2, 15 }, { DT_F8E5M2FNUZ, 5, 2, 16 }, { DT_F4E2M1, 2, 1, 1 }, { DT_I8, 0, 0, 0 }, { DT_U8, 0, 0, 0 }, { DT_I16, 0, 0, 0 },
    { DT_U16, 0, 0, 0 }, { DT_I32, 0, 0, 0 }, { DT_U32, 0, 0, 0 }, { DT_I64, 0, 0, 0 }, { DT_U64, 0, 0, 0 }, { DT_I4, 0, 0, 0 }, { DT_U4, 0, 0, 0 },
    { DT_I2, 0, 0, 0 }, { DT_U2, 0, 0, 0 },
};
enum { FORMATS = sizeof formats / sizeof *formats };

static bool is_unsigned(DType t) { return t == DT_U8 || t == DT_U16 || t == DT_U32 || t == DT_U64 || t == DT_U4 || t == DT_U2; }

/* The bits of a small whole number: 0, 1, 2, 3, 4 or 6, so that every float format has it. */
static uint64_t bits_of(const Format *f, int value)
{
    if (f->exponent_bits == 0)
        return (uint64_t)(int64_t)value & (UINT64_MAX >> (64 - dtype_bits(f->dtype)));
    if (value == 0)
        return 0;
    int size = abs(value), exponent = size >= 4 ? 2 : size >= 2 ? 1 : 0;
    uint64_t mantissa = ((uint64_t)size << f->mantissa_bits >> exponent) - (1ull << f->mantissa_bits);
    return (uint64_t)(value < 0) << (f->exponent_bits + f->mantissa_bits) | (uint64_t)(exponent + f->bias) << f->mantissa_bits | mantissa;
}

static void put(void *data, DType t, int64_t at, uint64_t bits)
{
    elements_put(&(Elements) { .dtype = t, .data = data }, at, bits);
}

static uint64_t get(const Weight *w, int64_t at)
{
    return elements_get(&(Elements) { .dtype = w->constant->tensor.dtype, .data = w->constant->tensor.data }, at);
}

static Constant *constant_of(Arena *arena, DType t, int64_t n)
{
    Tensor *tensor;
    const Shape shape = shape_of(1, &n);
    Constant *c = arena_alloc(arena, sizeof *c);
    assert_non_null(c);
    assert_int_equal(tensor_new(arena, t, &shape, &tensor), OK);
    *c = (Constant) { .name = "q", .tensor = *tensor, .edited = true, .nonzeros = -1 };
    return c;
}

/* Fills w with small numbers in the format and x with what they stand for. zero, scale: of each output channel. */
static void fill(const Format *f, Weight *w, Weight *x, const int *zero, const float *scale, Random *r)
{
    static const int values[] = { 0, 1, -1, 2, -2, 3, -3, 4, -4, 6, -6, 0 };
    float *real = x->constant->tensor.data;
    w->zeros = x->zeros = 0;
    for (int64_t i = 0; i < w->elements; i++) {
        int64_t row, tap, in;
        made_place(w, i, &row, &tap, &in);
        int value = values[random_below(r, 12)], narrow = dtype_bits(f->dtype) == 2;
        value = narrow ? value % 2 : value;
        value = is_unsigned(f->dtype) ? abs(value) : value;
        put(w->constant->tensor.data, f->dtype, i, bits_of(f, value));
        real[i] = (float)(value - zero[row]) * scale[row];
        w->zeros += real[i] == 0;
    }
    x->zeros = w->zeros;
}

static void quantize(MadeModel *m, Weight *w, const Format *f, const int *zero, const float *scale, int64_t rows)
{
    w->scale = constant_of(m->model.arena, DT_F32, rows);
    w->zero = constant_of(m->model.arena, f->dtype, rows);
    memcpy(w->scale->tensor.data, scale, (size_t)rows * sizeof *scale);
    for (int64_t i = 0; i < rows; i++)
        put(w->zero->tensor.data, f->dtype, i, bits_of(f, zero[i]));
}

enum { ROWS = 12 };

static void test_like_float(void **state)
{
    (void)state;
    Random r = { 31 };
    for (int round = 0; round < 12 * FORMATS; round++) {
        const Format *f = &formats[round % FORMATS];
        const int64_t shape[] = { ROWS, 5 + random_below(&r, 40), 1 + random_below(&r, 4) };
        const bool quantized = round / FORMATS % 2 && f->exponent_bits == 0, each = round / FORMATS % 4 == 1;
        MadeModel m = made_model(2);
        Weight *w = made_weight(&m, 0, f->dtype, LAYOUT_OIHW, shape), *x = made_weight(&m, 1, DT_F32, LAYOUT_OIHW, shape);
        int zero[ROWS] = { 0 };
        float scale[ROWS];
        for (int i = 0; i < ROWS; i++) {
            zero[i] = !quantized ? 0 : each ? i % 2 : 1;
            scale[i] = !quantized ? 1 : each ? (float)(1 + i % 5) / 8 : 0.25f;
        }
        if (quantized)
            quantize(&m, w, f, zero, scale, each ? ROWS : 1);
        w->constant->tensor.shape = shape_of(3, shape);
        fill(f, w, x, zero, scale, &r);
        static const Pattern patterns[] = { { .kind = PATTERN_UNSTRUCTURED }, { PATTERN_N_OF_M, .n = 2, .m = 4 }, { PATTERN_BLOCK, .rows = 2, .columns = 2 } };
        PruneOptions o = { .pattern = patterns[round / FORMATS % 3] };
        o.sparsity = o.pattern.kind == PATTERN_N_OF_M ? 0.5 : 0.4 + random_below(&r, 500) / 1000.0;
        uint64_t *old = malloc((size_t)w->elements * sizeof *old);
        for (int64_t i = 0; i < w->elements; i++)
            old[i] = get(w, i);
        for (int i = 0; i < 2; i++) {      /* each on its own: their budgets are not to be shared */
            PruneResult *result;
            assert_int_equal(prune_plan(&m.model, &m.weight[i], 1, &o, NULL, &result), OK);
            assert_int_equal(prune_apply(&m.model, &o, result, NULL), OK);
            assert_int_equal(result->zeros_after, result->layer[0].zeros_wanted);
        }
        const float *real = x->constant->tensor.data;
        for (int64_t i = 0; i < w->elements; i++) {
            int64_t row, tap, in;
            made_place(w, i, &row, &tap, &in);
            assert_int_equal(get(w, i), real[i] == 0 ? bits_of(f, zero[row]) : old[i]);
        }
        assert_int_equal(w->zeros, x->zeros);
        free(old);
        made_free(&m);
    }
}

/* Every bit pattern of the 16- and 8-bit floats orders as its value: subnormals, infinities, NaN last. */
static void test_small_floats(void **state)
{
    (void)state;
    float last = -1;
    for (uint32_t h = 0; h <= 0x7c00; h++) {
        uint16_t bits = (uint16_t)(h | (h & 1) << 15);
        uint32_t magnitude = elements_magnitude(&(Elements) { .dtype = DT_F16, .data = &bits, .count = 1 }, 0);
        float value;
        memcpy(&value, &magnitude, sizeof value);
        assert_true(value > last);
        assert_true(h != 1 || value == 0x1p-24f);
        assert_true(h != 0x3c01 || value == 1 + 0x1p-10f);
        assert_true(h != 0x7c00 || isinf(value));
        last = value;
    }
    static const struct { DType dtype; uint8_t bits; float value; } known[] = {
        { DT_F8E4M3FN, 0x7e, 448 }, { DT_F8E4M3FN, 0x01, 0x1p-9f }, { DT_F8E4M3FN, 0x80, 0 }, { DT_F8E4M3FN, 0x7f, NAN }, { DT_F8E4M3FNUZ, 0x7f, 240 },
        { DT_F8E4M3FNUZ, 0x80, NAN }, { DT_F8E5M2, 0x7b, 57344 }, { DT_F8E5M2, 0x7c, INFINITY }, { DT_F8E5M2, 0xfd, NAN }, { DT_F8E5M2FNUZ, 0x7f, 57344 },
        { DT_F8E5M2FNUZ, 0x01, 0x1p-17f }, { DT_F4E2M1, 0x01, 0.5f }, { DT_F4E2M1, 0x0f, 6 }, { DT_U2, 0x03, 3 }, { DT_I2, 0x02, 2 }, { DT_I4, 0x08, 8 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t magnitude = elements_magnitude(&(Elements) { .dtype = known[i].dtype, .data = (void *)(uintptr_t)&known[i].bits, .count = 1 }, 0);
        float value;
        memcpy(&value, &magnitude, sizeof value);
        assert_true(value == known[i].value || (isnan(value) && isnan(known[i].value)));
    }
}

/* What float cannot hold is not taken for zero. */
static void test_tiny_is_not_zero(void **state)
{
    (void)state;
    double x[] = { 1e-300, -0.0, 1e300, -1e-310 };
    const Elements e = { .dtype = DT_F64, .data = x, .count = 4 };
    assert_true(elements_magnitude(&e, 0) == 1 && elements_magnitude(&e, 1) == 0 && elements_magnitude(&e, 2) == 0x7f800000 && elements_magnitude(&e, 3) == 1);
}

/* Blocked quantization: a scale for every block of 3 along the second axis, and for every index of the others. */
static void test_blocked(void **state)
{
    (void)state;
    MadeModel m = made_model(1);
    Weight *w = made_weight(&m, 0, DT_I4, LAYOUT_OIHW, (int64_t[3]) { 2, 7, 2 });
    w->constant->tensor.shape = shape_of(3, (int64_t[3]) { 2, 7, 2 });
    w->scale = constant_of(m.model.arena, DT_F16, 2 * 3 * 2);
    w->quant_axis = 1;
    w->quant_block = 3;
    for (int64_t i = 0; i < 12; i++)
        put(w->scale->tensor.data, DT_F16, i, bits_of(&formats[2], (int)(i % 4) + 1));
    Elements e;
    assert_int_equal(elements_open(&m.model, w, &e), OK);
    for (int64_t i = 0; i < 28; i++) {
        put(w->constant->tensor.data, DT_I4, i, bits_of(&(Format) { DT_I4, 0, 0, 0 }, -3));
        int64_t row = i / 14, in = i / 2 % 7, tap = i % 2, scale = (row * 3 + in / 3) * 2 + tap;
        uint32_t magnitude = elements_magnitude(&e, i);
        float value;
        memcpy(&value, &magnitude, sizeof value);
        assert_true(value == 3 * (float)(scale % 4 + 1));
    }
    w->quant_block = 4;                /* asks for two blocks: the scales are too many */
    assert_int_equal(elements_open(&m.model, w, &e), ERR_SHAPE);
    made_free(&m);
}

static void test_no_zero(void **state)
{
    (void)state;
    MadeModel m = made_model(1);
    Elements e;
    Weight *w = made_weight(&m, 0, DT_F8E8M0, LAYOUT_OIHW, (int64_t[3]) { 2, 3, 1 });
    assert_int_equal(elements_open(&m.model, w, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(err_text(), "float8e8m0"));
    made_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_float), cmocka_unit_test(test_small_floats), cmocka_unit_test(test_tiny_is_not_zero), cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_no_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
