#include "tests/kernel_cases.h"
#include "tests/cmocka.h"
#include "tests/guard.h"
#include "tests/plane_cases.h"
#include "tests/row_cases.h"
#include "tests/panel_cases.h"
#include "tests/winograd_cases.h"
#include <string.h>

#define countof(array) (sizeof(array) / sizeof((array)[0]))
enum { LONGEST = 300 };

static const uint32_t odd_bits[] = { 0, 0x80000000u, 1, 0x80000001u, 0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffffffffu, 0x3f800000u, 0xbf800000u };

/* Bits of floats: ordinary ones, few distinct ones, and the odd ones (zeros, subnormal, infinity, NaN). */
static void fill_bits(uint32_t *x, size_t n, Random *r)
{
    uint32_t kind = random_below(r, 3);
    for (size_t i = 0; i < n; i++) {
        float f = kind == 0 ? random_float(r) : (float)random_below(r, 8) - 4.0f;
        memcpy(&x[i], &f, sizeof f);
        if (kind == 2 && random_below(r, 2))
            x[i] = odd_bits[random_below(r, (uint32_t)countof(odd_bits))];
    }
}

/* A limit that is worth trying: an end of the range, an element, its neighbour, or anything. */
static uint32_t draw_limit(const uint32_t *x, size_t n, Random *r)
{
    uint32_t kind = random_below(r, 8), element = n ? x[random_below(r, (uint32_t)n)] & MAGNITUDE_BITS : 0;
    return kind == 0 ? 0 : kind == 1 ? 0x80000000u : kind == 2 ? 1 : kind < 5 ? element : kind < 7 ? element + 1 : random_bits(r) & MAGNITUDE_BITS;
}

static void compare_count_below(const Kernels *scalar, const Kernels *level, Random *r)
{
    size_t n = random_below(r, LONGEST);
    Guard x = guard_new(4 * n, 0);
    fill_bits(x.data, n, r);
    uint32_t limit = draw_limit(x.data, n, r);
    assert_int_equal(level->count_below_f32(x.data, n, limit), scalar->count_below_f32(x.data, n, limit));
    guard_free(&x);
}

static void compare_zero_below(const Kernels *scalar, const Kernels *level, Random *r)
{
    size_t n = random_below(r, LONGEST);
    Guard x = guard_new(4 * n, 0), y = guard_new(4 * n, 0);
    fill_bits(x.data, n, r);
    memcpy(y.data, x.data, 4 * n);
    uint32_t limit = draw_limit(x.data, n, r);
    assert_int_equal(level->zero_below_f32(x.data, n, limit), scalar->zero_below_f32(y.data, n, limit));
    assert_memory_equal(x.data, y.data, 4 * n);
    guard_free(&x);
    guard_free(&y);
}

static void compare_bracket(const Kernels *scalar, const Kernels *level, Random *r)
{
    size_t n = random_below(r, LONGEST), room = 4 * (n + BRACKET_SLACK);
    Guard x = guard_new(4 * n, 0), a = guard_new(room, 0), b = guard_new(room, 0);
    fill_bits(x.data, n, r);
    uint32_t low_high[2] = { draw_limit(x.data, n, r), draw_limit(x.data, n, r) };
    size_t below_a = 7, below_b = 7;
    size_t count_a = level->bracket_f32(x.data, n, low_high, a.data, &below_a), count_b = scalar->bracket_f32(x.data, n, low_high, b.data, &below_b);
    assert_int_equal(count_a, count_b);
    assert_int_equal(below_a, below_b);
    assert_memory_equal(a.data, b.data, 4 * count_a);
    memcpy(a.data, x.data, 4 * n);             /* in place */
    assert_int_equal(level->bracket_f32(a.data, n, low_high, a.data, &below_a), count_b);
    assert_memory_equal(a.data, b.data, 4 * count_b);
    guard_free(&x);
    guard_free(&a);
    guard_free(&b);
}

static void compare_dot(const Kernels *scalar, const Kernels *level, Random *r)
{
    size_t n = random_below(r, LONGEST);
    Guard x = guard_new(4 * n, 0), y = guard_new(4 * n, 0);
    for (size_t i = 0; i < n; i++) {
        ((float *)x.data)[i] = random_float(r);
        ((float *)y.data)[i] = random_float(r);
    }
    float a = level->dot_f32(x.data, y.data, n), b = scalar->dot_f32(x.data, y.data, n);
    assert_memory_equal(&a, &b, sizeof a);
    guard_free(&x);
    guard_free(&y);
}

#define CASE(field, compare) { #field, offsetof(Kernels, field), compare }
const KernelCase kernel_cases[] = {
    CASE(count_below_f32, compare_count_below),
    CASE(zero_below_f32, compare_zero_below),
    CASE(bracket_f32, compare_bracket),
    CASE(dot_f32, compare_dot),
    CASE(activate_f32, compare_activate),
    CASE(combine_f32, compare_combine),
    CASE(softmax_f32, compare_softmax),
    CASE(softmax_columns_f32, compare_softmax_columns),
    CASE(normalize_f32, compare_normalize),
    CASE(normalize_columns_f32, compare_normalize_columns),
    CASE(total_f32, compare_total),
    CASE(widen_f16, compare_widen),
    CASE(narrow_f16, compare_narrow),
    CASE(depthwise_f32, compare_depthwise),
    CASE(pool_f32, compare_pool),
    CASE(pack_f32, compare_pack),
    CASE(dense_f32, compare_dense),
    CASE(sparse_f32, compare_sparse),
    CASE(gather_f32, compare_gather),
    CASE(bitmap_f32, compare_bitmap),
    CASE(split_f32, compare_split),
    CASE(transpose_f32, compare_transpose),
    CASE(interleave_f32, compare_interleave),
    CASE(winograd_input_f32, compare_winograd_input),
    CASE(winograd_product_f32, compare_winograd_product),
    CASE(winograd_output_f32, compare_winograd_output),
    CASE(winograd_finish_f32, compare_winograd_finish),
};
const int kernel_case_count = (int)countof(kernel_cases);

/* Every function of the table has a row here: behind the name and the sizes, the table is one pointer a row. */
_Static_assert(sizeof(Kernels) == offsetof(Kernels, count_below_f32) + countof(kernel_cases) * sizeof(void (*)(void)), "an entry of Kernels has no case");
