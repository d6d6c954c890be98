/* Broadcasting and chunks. */
#include "engine/element.h"
#include "engine/walk.h"

Wide wide_of(DType t)
{
    if (t == DT_F32) return WIDE_F32;
    if (t == DT_U64) return WIDE_U64;
    return dtype_is_whole(t) ? WIDE_I64 : WIDE_F64;
}

static bool in_place(Wide w, DType t)
{
    return (w == WIDE_F32 && t == DT_F32) || (w == WIDE_F64 && t == DT_F64) || (w == WIDE_I64 && t == DT_I64) || (w == WIDE_U64 && t == DT_U64);
}

const void *wide_load(Wide w, DType t, const void *x, int64_t start, int64_t n, void *chunk)
{
    if (in_place(w, t)) return (const char *)x + start * (int64_t)wide_size(w);
    if (w == WIDE_F64) elements_to_f64(t, x, start, n, chunk);
    else elements_to_i64(t, x, start, n, chunk);
    return chunk;
}

void *wide_target(Wide w, DType t, void *x, int64_t start, void *chunk)
{
    return in_place(w, t) ? (char *)x + start * (int64_t)wide_size(w) : chunk;
}

void wide_store(Wide w, DType t, const void *chunk, int64_t n, void *x, int64_t start)
{
    if (in_place(w, t)) return;
    if (w == WIDE_F64) elements_from_f64(t, chunk, n, x, start);
    else elements_from_i64(t, chunk, n, x, start);
}

int64_t shape_span(const Shape *s, int from, int to)
{
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= s->dim[i];
    return n;
}

static bool mergeable(const Walk *w, int i)
{
    for (int k = 0; k < w->n; k++) if (w->stride[k][i - 1] != w->stride[k][i] * w->dim[i]) return false;
    return true;
}

static void merge_axes(Walk *w)
{
    for (int i = w->rank - 1; i > 0; i--) {
        if (!mergeable(w, i)) continue;
        w->dim[i - 1] *= w->dim[i];
        for (int k = 0; k < w->n; k++) w->stride[k][i - 1] = w->stride[k][i];
        for (int j = i; j + 1 < w->rank; j++) {
            w->dim[j] = w->dim[j + 1];
            for (int k = 0; k < w->n; k++) w->stride[k][j] = w->stride[k][j + 1];
        }
        w->rank--;
    }
}

void walk_init(Walk *w, const Shape *out, const Shape *const *operand, int n)
{
    *w = (Walk){ .n = n };
    for (int i = 0; i < out->rank; i++) if (out->dim[i] != 1) w->dim[w->rank++] = out->dim[i];
    for (int k = 0; k < n; k++) {
        int64_t stride[MAX_RANK];
        shape_strides(operand[k], stride);
        for (int i = 0, at = 0; i < out->rank; i++) {
            if (out->dim[i] == 1) continue;
            int j = i - (out->rank - operand[k]->rank);
            w->stride[k][at++] = j < 0 || operand[k]->dim[j] == 1 ? 0 : stride[j];
        }
    }
    if (!w->rank) w->dim[w->rank++] = 1;
    merge_axes(w);
    bool unit = true;                      /* an innermost axis of another stride gets an axis of one element behind it */
    for (int k = 0; k < n; k++) unit = unit && (w->stride[k][w->rank - 1] == 0 || w->stride[k][w->rank - 1] == 1);
    if (!unit) w->dim[w->rank++] = 1;
    w->inner = w->dim[w->rank - 1];
    w->outer = 1;
    for (int i = 0; i + 1 < w->rank; i++) w->outer *= w->dim[i];
}
