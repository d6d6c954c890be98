#include "tests/weights.h"
#include "tests/cmocka.h"
#include <math.h>
#include <stdlib.h>

MadeModel made_model(int n)
{
    MadeModel m = { .n = n };
    m.model.arena = arena_new();
    assert_non_null(m.model.arena);
    m.weight = arena_array(m.model.arena, (size_t)n, sizeof *m.weight);
    assert_non_null(m.weight);
    return m;
}

void made_free(MadeModel *m)
{
    arena_free(m->model.arena);
}

static void add_axis(Weight *w, AxisRole role, int64_t size, int64_t stride)
{
    w->axis[w->n_axis++] = (WeightAxis) { role, size, stride };
}

static void add_axes(Weight *w, Layout layout, int64_t out, int64_t in, int64_t taps)
{
    switch (layout) {
    case LAYOUT_OIHW:
        add_axis(w, AXIS_OUT, out, in * taps);
        add_axis(w, AXIS_IN, in, taps);
        add_axis(w, AXIS_TAP, taps, 1);
        break;
    case LAYOUT_IOHW:
        add_axis(w, AXIS_IN, in, out * taps);
        add_axis(w, AXIS_OUT, out, taps);
        add_axis(w, AXIS_TAP, taps, 1);
        break;
    case LAYOUT_KN:
        add_axis(w, AXIS_IN, in * taps, out);
        add_axis(w, AXIS_OUT, out, 1);
        break;
    case LAYOUT_NK:
        add_axis(w, AXIS_OUT, out, in * taps);
        add_axis(w, AXIS_IN, in * taps, 1);
        break;
    case LAYOUT_LSTM:
        add_axis(w, AXIS_BATCH, 2, out * in * taps);
        add_axis(w, AXIS_OUT, out, in * taps);
        add_axis(w, AXIS_IN, in * taps, 1);
        break;
    default: break;
    }
}

Weight *made_weight(MadeModel *m, int i, DType dtype, Layout layout, const int64_t out_in_taps[3])
{
    Arena *arena = m->model.arena;
    Weight *w = &m->weight[i];
    int64_t n = out_in_taps[0] * out_in_taps[1] * out_in_taps[2] * (layout == LAYOUT_LSTM ? 2 : 1);
    Tensor *t;
    Shape shape = shape_of(1, &n);
    assert_int_equal(tensor_new(arena, dtype, &shape, &t), OK);
    *w = (Weight) { .name = arena_printf(arena, "w%d", i), .constant = arena_alloc(arena, sizeof(Constant)), .node = arena_alloc(arena, sizeof(Node)),
                    .use = arena_alloc(arena, sizeof(WeightUse)), .n_use = 1, .elements = n, .macs = -1 };
    assert_true(w->name && w->constant && w->node && w->use);
    *w->constant = (Constant) { .name = w->name, .tensor = *t, .edited = true, .nonzeros = -1 };     /* edited: lives in memory only */
    w->node->name = arena_printf(arena, "layer%d", i);
    *w->use = (WeightUse) { w->node, 1 };
    add_axes(w, layout, out_in_taps[0], out_in_taps[1], out_in_taps[2]);
    return w;
}

void made_fill(Weight *w, bool few_values, double zeros, Random *r)
{
    float *x = w->constant->tensor.data;
    w->zeros = 0;
    for (int64_t i = 0; i < w->elements; i++) {
        x[i] = few_values ? (float)random_below(r, 9) / 4 - 1 : random_float(r) * random_float(r);
        if (random_below(r, 1000) < zeros * 1000)
            x[i] = random_below(r, 2) ? 0.0f : -0.0f;
        w->zeros += x[i] == 0;
    }
}

void made_place(const Weight *w, int64_t at, int64_t *row, int64_t *tap, int64_t *in)
{
    int64_t index[AXIS_TAP + 1] = { 0 };
    for (int i = 0; i < w->n_axis; i++)
        index[w->axis[i].role] = at / w->axis[i].stride % w->axis[i].size;
    int64_t out = 1;
    for (int i = 0; i < w->n_axis; i++)
        out = w->axis[i].role == AXIS_OUT ? w->axis[i].size : out;
    *row = index[AXIS_BATCH] * out + index[AXIS_OUT];
    *tap = index[AXIS_TAP];
    *in = w->n_axis ? index[AXIS_IN] : at;
}

typedef struct Entry { float magnitude; int64_t position; } Entry;

static int by_order(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    if (x->magnitude != y->magnitude)
        return x->magnitude < y->magnitude ? -1 : 1;
    return x->position < y->position ? -1 : 1;
}

int64_t reference_unstructured(const Weight *w, float *x, int64_t zeros, bool empty_channels)
{
    size_t n = (size_t)w->elements;
    Entry *entry = malloc((n + 1) * sizeof *entry);
    int64_t *left = calloc(n + 1, sizeof *left), row, tap, in, count = 0;
    assert_true(entry && left);
    for (int64_t i = 0; i < w->elements; i++) {
        entry[i] = (Entry) { fabsf(x[i]), i };
        made_place(w, i, &row, &tap, &in);
        left[row] += x[i] != 0;
        count += x[i] == 0;
    }
    qsort(entry, n, sizeof *entry, by_order);
    for (size_t i = 0; i < n && count < zeros; i++) {
        made_place(w, entry[i].position, &row, &tap, &in);
        if (entry[i].magnitude == 0 || (left[row] == 1 && !empty_channels))
            continue;
        x[entry[i].position] = 0;
        left[row]--;
        count++;
    }
    free(entry);
    free(left);
    return count;
}
