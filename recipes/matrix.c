#include "recipes/matrix.h"

static void axis_add(AxisGroup *a, const WeightAxis *axis)
{
    a->size[a->n] = axis->size;
    a->stride[a->n++] = axis->stride;
    a->count *= axis->size;
}

int64_t axis_offset(const AxisGroup *a, int64_t i)
{
    if (a->n == 1)
        return i * a->stride[0];
    int64_t at = 0;
    for (int j = a->n - 1; j >= 0; j--) {
        at += i % a->size[j] * a->stride[j];
        i /= a->size[j];
    }
    return at;
}

Matrix matrix_of(const Weight *w)
{
    Matrix m = { .batch.count = 1, .out.count = 1, .tap.count = 1, .in.count = 1 };
    AxisGroup *const axes[] = { [AXIS_BATCH] = &m.batch, [AXIS_OUT] = &m.out, [AXIS_IN] = &m.in, [AXIS_TAP] = &m.tap };
    for (int i = 0; i < w->n_axis; i++)
        axis_add(axes[w->axis[i].role], &w->axis[i]);
    m.known = w->n_axis > 0;
    if (!m.known)
        axis_add(&m.in, &(WeightAxis) { AXIS_IN, w->elements, 1 });
    m.rows = m.batch.count * m.out.count;
    m.columns = m.tap.count * m.in.count;
    return m;
}

int64_t matrix_row(const Matrix *m, int64_t r)
{
    return axis_offset(&m->batch, r / m->out.count) + axis_offset(&m->out, r % m->out.count);
}

static int64_t axis_index(const AxisGroup *a, int64_t at)
{
    int64_t index = 0;
    for (int i = 0; i < a->n; i++)
        index = index * a->size[i] + at / a->stride[i] % a->size[i];
    return index;
}

int64_t matrix_row_at(const Matrix *m, int64_t at)
{
    return axis_index(&m->batch, at) * m->out.count + axis_index(&m->out, at);
}

Largest matrix_largest(const Matrix *m, const Elements *e, int64_t r)
{
    Largest best = { 0, -1 };
    int64_t row = matrix_row(m, r);
    for (int64_t t = 0; t < m->tap.count; t++) {
        int64_t tap = row + axis_offset(&m->tap, t);
        for (int64_t i = 0; i < m->in.count; i++) {
            int64_t at = tap + axis_offset(&m->in, i);
            uint32_t magnitude = elements_magnitude(e, at);
            if (magnitude > best.magnitude || (magnitude == best.magnitude && at > best.position))
                best = (Largest) { magnitude, at };
        }
    }
    return best;
}

static bool row_is_live(const Matrix *m, const Elements *e, int64_t r)
{
    int64_t row = matrix_row(m, r);
    for (int64_t t = 0; t < m->tap.count; t++) {
        int64_t tap = row + axis_offset(&m->tap, t);
        for (int64_t i = 0; i < m->in.count; i++)
            if (elements_magnitude(e, tap + axis_offset(&m->in, i)) != 0)
                return true;
    }
    return false;
}

int64_t matrix_live_rows(const Matrix *m, const Elements *e)
{
    int64_t live = 0;
    for (int64_t r = 0; r < m->rows; r++)
        live += row_is_live(m, e, r);
    return live;
}
