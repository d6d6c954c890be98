#include "tests/row_cases.h"
#include "tests/cmocka.h"
#include "tests/guard.h"
#include <float.h>
#include <math.h>
#include <string.h>

enum { LONGEST = 150 };

static void fill(float *x, size_t n, float size, Random *r)
{
    for (size_t i = 0; i < n; i++) x[i] = size * random_float(r);
}

static void assert_close(double is, double wanted, double tolerance)
{
    if (isnan(wanted) ? isnan(is) : is == wanted || fabs(is - wanted) <= tolerance) return;
    fail_msg("%.9g instead of %.9g, tolerance %.3g", is, wanted, tolerance);
}

/* Rows x and y (or one row for both) of n floats; the level writes `is`, the scalar version `wanted`. */
typedef struct Rows { size_t n; Guard x, is, wanted; } Rows;

static Rows rows_new(size_t least, Random *r)
{
    size_t n = least + random_below(r, LONGEST);
    return (Rows) { n, guard_new(n * sizeof(float), 0), guard_new(n * sizeof(float), 0), guard_new(n * sizeof(float), 0) };
}

static void rows_free(Rows *rows)
{
    guard_free(&rows->x);
    guard_free(&rows->is);
    guard_free(&rows->wanted);
}

/* Several rows are as each alone, and what lies between them stays. */
static void check_activate_rows(const Kernels *level, Random *r)
{
    enum { ROWS = 5, LONG = 70 };
    const int rows = random_between(r, 0, ROWS);
    const size_t n = random_below(r, LONG), ld = n + random_below(r, 20), size = rows ? (size_t)(rows - 1) * ld + n : 0;
    const Activate a = { (Activation)random_below(r, ACTIVATIONS), random_float(r), 1 + random_float(r) };
    Guard is = guard_floats(size, 10, r), wanted = guard_new(is.bytes, 0);
    memcpy(wanted.data, is.data, is.bytes);
    level->activate_f32(&a, is.data, is.data, rows, n, ld);
    for (int m = 0; m < rows; m++) level->activate_f32(&a, (float *)wanted.data + (size_t)m * ld, (float *)wanted.data + (size_t)m * ld, 1, n, 0);
    assert_memory_equal(is.data, wanted.data, is.bytes);
    guard_free(&is);
    guard_free(&wanted);
}

void compare_activate(const Kernels *scalar, const Kernels *level, Random *r)
{
    static const float odd[] = { 0, -0.0f, 1e-30f, -1e-40f, 80, -80, 89.5f, -120, 1e30f, -1e30f, 3e38f, -3e38f, -INFINITY, NAN };
    Rows rows = rows_new(0, r);
    Activate a = { (Activation)random_below(r, ACTIVATIONS), random_float(r), 1 + random_float(r) };
    float *x = rows.x.data, *is = rows.is.data, *wanted = rows.wanted.data;
    fill(x, rows.n, random_below(r, 2) ? 2 : 12, r);
    if (rows.n) x[random_below(r, (uint32_t)rows.n)] = odd[random_below(r, sizeof odd / sizeof *odd)];
    if (random_below(r, 2)) {
        memcpy(is, x, rows.n * sizeof *x);
        level->activate_f32(&a, is, is, 1, rows.n, 0);
    } else level->activate_f32(&a, x, is, 1, rows.n, 0);
    scalar->activate_f32(&a, x, wanted, 1, rows.n, 0);
    for (size_t i = 0; i < rows.n; i++) {
        double size = fabs((double)wanted[i]), in = fabs((double)x[i]), relative = a.kind == ACTIVATION_EXP ? 2e-7 : 4e-7;
        assert_close(is[i], wanted[i], relative * size + (a.kind == ACTIVATION_EXP ? 0 : 2e-7 * fmin(in, 1)) + FLT_MIN);
    }
    rows_free(&rows);
    check_activate_rows(level, r);
}

void compare_combine(const Kernels *scalar, const Kernels *level, Random *r)
{
    Rows rows = rows_new(1, r), other = rows_new(LONGEST, r);
    Combine c = { (Arithmetic)random_below(r, ARITHMETICS), random_below(r, 4) > 0, random_below(r, 4) > 0 };
    float *a = rows.x.data, *b = other.x.data;
    fill(a, rows.n, 2, r);
    fill(b, other.n, 2, r);
    if (random_below(r, 2)) a[random_below(r, (uint32_t)rows.n)] = NAN;
    if (random_below(r, 2)) b[random_below(r, (uint32_t)rows.n)] = NAN;
    scalar->combine_f32(&c, a, b, rows.wanted.data, rows.n);
    bool in_place = c.step_b && random_below(r, 2);
    level->combine_f32(&c, a, b, in_place ? b : rows.is.data, rows.n);
    for (size_t i = 0; i < rows.n; i++) assert_close((in_place ? b : (float *)rows.is.data)[i], ((float *)rows.wanted.data)[i], 0);
    rows_free(&rows);
    rows_free(&other);
}

/* What is raised was rounded, relatively: the smaller the result, the larger that error of it. */
static double logarithm_error(double wanted) { return 2e-6 + 2e-7 * fabs(wanted); }
static double softmax_error(double wanted) { return wanted > 0 ? wanted * logarithm_error(log(wanted)) + FLT_MIN : FLT_MIN; }

void compare_softmax(const Kernels *scalar, const Kernels *level, Random *r)
{
    Rows rows = rows_new(0, r), other = rows_new(LONGEST, r);
    float *x = rows.x.data, *is = rows.is.data, *wanted = rows.wanted.data, *mask = other.x.data;
    Softmax p = { random_below(r, 2) ? 1 : 0.3f, random_below(r, 2) ? mask : NULL, random_below(r, 2), random_below(r, 2) };
    fill(x, rows.n, p.scale < 1 || p.mask || random_below(r, 2) ? 3 : 200, r);
    fill(mask, other.n, 3, r);
    if (rows.n > 1 && random_below(r, 2)) x[random_below(r, (uint32_t)rows.n)] = -INFINITY;
    if (rows.n > 1 && random_below(r, 2)) mask[1 + random_below(r, (uint32_t)rows.n - 1)] = -10000;
    scalar->softmax_f32(&p, x, wanted, rows.n);
    if (random_below(r, 2)) {
        memcpy(is, x, rows.n * sizeof *x);
        x = is;
    }
    level->softmax_f32(&p, x, is, rows.n);
    for (size_t i = 0; i < rows.n; i++) assert_close(is[i], wanted[i], p.logarithm ? logarithm_error(wanted[i]) : softmax_error(wanted[i]));
    rows_free(&rows);
    rows_free(&other);
}

void compare_normalize(const Kernels *scalar, const Kernels *level, Random *r)
{
    Rows rows = rows_new(1, r), parameters = rows_new(LONGEST, r);
    float *x = rows.x.data, *is = rows.is.data, *wanted = rows.wanted.data, *scale = parameters.x.data, *shift = parameters.is.data;
    fill(x, rows.n, 3, r);
    fill(scale, parameters.n, 1, r);
    fill(shift, parameters.n, 1, r);
    Normalize p = { random_below(r, 2) ? scale : NULL, random_below(r, 2) ? shift : NULL, 0.01f, random_below(r, 2) };
    level->normalize_f32(&p, x, is, rows.n);
    scalar->normalize_f32(&p, x, wanted, rows.n);
    for (size_t i = 0; i < rows.n; i++) assert_close(is[i], wanted[i], 1e-5);
    rows_free(&rows);
    rows_free(&parameters);
}

/* Columns of `rows` rows, with some more between them. */
typedef struct Matrix { size_t rows, ld; Guard x, is, wanted; } Matrix;

static Matrix matrix_new(size_t columns, Random *r)
{
    size_t rows = 1 + random_below(r, LONGEST), ld = columns + random_below(r, 9), bytes = ((rows - 1) * ld + columns) * sizeof(float);
    Matrix m = { rows, ld, guard_new(bytes, 0), guard_new(bytes, 0), guard_new(bytes, 0) };
    fill(m.x.data, bytes / sizeof(float), 3, r);
    memcpy(m.is.data, m.x.data, bytes);
    memcpy(m.wanted.data, m.x.data, bytes);
    return m;
}

static void matrix_free(Matrix *m)
{
    guard_free(&m->x);
    guard_free(&m->is);
    guard_free(&m->wanted);
}

void compare_softmax_columns(const Kernels *scalar, const Kernels *level, Random *r)
{
    int whole = PANEL_VECTOR * (1 + (int)random_below(r, 3)), columns = whole - (int)random_below(r, PANEL_VECTOR);
    Matrix m = matrix_new((size_t)whole, r);
    SoftmaxColumns p = { .scale = 0.3f, .each = random_below(r, 2), .rows = (int)m.rows, .columns = columns, .ld = m.ld };
    p.step = p.each ? (size_t)whole : random_below(r, 2);
    Guard mask = guard_new((size_t)whole * m.rows * sizeof(float), 0);
    float *masked = mask.data, *is = m.is.data, *wanted = m.wanted.data;
    fill(masked, (size_t)whole * m.rows, 3, r);
    for (size_t i = p.each ? (size_t)whole : 1; i < (size_t)whole * m.rows; i++) if (random_below(r, 4) == 0) masked[i] = random_below(r, 2) ? -INFINITY : -10000;
    if (random_below(r, 3)) p.mask = masked;
    scalar->softmax_columns_f32(&p, wanted);
    level->softmax_columns_f32(&p, is);
    for (size_t i = 0; i < m.rows; i++)
        for (size_t c = 0; c < (size_t)columns; c++) assert_close(is[i * m.ld + c], wanted[i * m.ld + c], softmax_error(wanted[i * m.ld + c]));
    guard_free(&mask);
    matrix_free(&m);
}

void compare_normalize_columns(const Kernels *scalar, const Kernels *level, Random *r)
{
    Matrix m = matrix_new(PANEL_VECTOR, r);
    Guard scale = guard_new(m.rows * sizeof(float), 0), shift = guard_new(m.rows * sizeof(float), 0);
    fill(scale.data, m.rows, 1, r);
    fill(shift.data, m.rows, 1, r);
    Normalize p = { random_below(r, 2) ? scale.data : NULL, random_below(r, 2) ? shift.data : NULL, 0.01f, random_below(r, 2) };
    float *is = m.is.data, *wanted = m.wanted.data;
    level->normalize_columns_f32(&p, random_below(r, 2) ? is : m.x.data, m.ld, is, m.ld, m.rows);
    scalar->normalize_columns_f32(&p, m.x.data, m.ld, wanted, m.ld, m.rows);
    for (size_t i = 0; i < m.x.bytes / sizeof *is; i++) assert_close(is[i], wanted[i], 1e-5);
    guard_free(&scale);
    guard_free(&shift);
    matrix_free(&m);
}

void compare_total(const Kernels *scalar, const Kernels *level, Random *r)
{
    Rows rows = rows_new(0, r);
    Total kind = (Total)random_below(r, TOTALS);
    fill(rows.x.data, rows.n, 1, r);
    if (rows.n && random_below(r, 3) == 0) ((float *)rows.x.data)[random_below(r, (uint32_t)rows.n)] = NAN;
    assert_close(level->total_f32(kind, rows.x.data, rows.n), scalar->total_f32(kind, rows.x.data, rows.n), kind < TOTAL_MOST ? (double)rows.n * 1e-6 : 0);
    rows_free(&rows);
}

/* All bits but those of a NaN, which may become any other. */
void compare_widen(const Kernels *scalar, const Kernels *level, Random *r)
{
    size_t n = random_below(r, 100);
    Guard x = guard_new(2 * n, 0), a = guard_new(4 * n, 0), b = guard_new(4 * n, 0);
    for (size_t i = 0; i < n; i++) ((uint16_t *)x.data)[i] = (uint16_t)random_below(r, 1 << 16);
    level->widen_f16(x.data, n, a.data);
    scalar->widen_f16(x.data, n, b.data);
    for (size_t i = 0; i < n; i++)
        if (isnan(((float *)b.data)[i])) assert_true(isnan(((float *)a.data)[i]));
        else assert_int_equal(((uint32_t *)a.data)[i], ((uint32_t *)b.data)[i]);
    guard_free(&x);
    guard_free(&a);
    guard_free(&b);
}

void compare_narrow(const Kernels *scalar, const Kernels *level, Random *r)
{
    size_t n = random_below(r, 100);
    Guard x = guard_new(4 * n, 0), a = guard_new(2 * n, 0), b = guard_new(2 * n, 0);
    for (size_t i = 0; i < n; i++) {       /* of float16's range and beyond it, half of them in the middle between two of its numbers */
        uint32_t sign = random_below(r, 2) << 31, exponent = (uint32_t)random_between(r, 96, 143), high = random_below(r, 1 << 10) << 13;
        ((uint32_t *)x.data)[i] = sign | exponent << 23 | high | (random_below(r, 2) ? 0x1000 : random_below(r, 1 << 13));
    }
    if (n) ((float *)x.data)[random_below(r, (uint32_t)n)] = random_below(r, 2) ? NAN : INFINITY;
    level->narrow_f16(x.data, n, a.data);
    scalar->narrow_f16(x.data, n, b.data);
    for (size_t i = 0; i < n; i++)
        if (isnan(((float *)x.data)[i])) assert_true((((uint16_t *)a.data)[i] & 0x7fff) > 0x7c00);
        else assert_int_equal(((uint16_t *)a.data)[i], ((uint16_t *)b.data)[i]);
    guard_free(&x);
    guard_free(&a);
    guard_free(&b);
}
