/* Reshape works on the smallest groups of neighbouring axes that have equal products on both sides; axes of size 1 belong to no group. */
#include "engine/view.h"

View view_of(const Shape *s)
{
    View v = { .n = shape_known(s) ? s->rank : -1 };
    int64_t stride = 1;
    for (int i = v.n - 1; i >= 0; i--) {
        v.axis[i] = (ViewAxis){ s->dim[i], stride };
        stride *= s->dim[i];
    }
    return v;
}

void view_transpose(View *v, const int64_t *perm, int n_perm)
{
    View from = *v;
    if (v->n < 0) return;
    if (perm && n_perm != v->n) {
        v->n = -1;
        return;
    }
    for (int i = 0; i < from.n; i++) {
        int64_t axis = perm ? perm[i] : from.n - 1 - i;
        if (axis < 0 || axis >= from.n) {
            v->n = -1;
            return;
        }
        v->axis[i] = from.axis[axis];
    }
}

/* The axes [begin, end) as one: stride of the last, if each spans the next. */
static bool merge(const View *v, int begin, int end, int64_t *stride)
{
    int64_t size = 1;
    bool first = true;
    *stride = 1;
    for (int i = end - 1; i >= begin; i--) {
        if (v->axis[i].size == 1) continue;
        if (first) *stride = v->axis[i].stride;
        else if (v->axis[i].stride != *stride * size) return false;
        first = false;
        size *= v->axis[i].size;
    }
    return true;
}

void view_reshape(View *v, const Shape *to)
{
    View from = *v;
    v->n = -1;
    if (from.n < 0 || !shape_known(to)) return;
    for (int i = 0; i < from.n; i++)
        if (from.axis[i].size == 0) return;
    int i = 0, k = 0;
    while (i < from.n || k < to->rank) {
        int i_begin = i, k_begin = k;
        int64_t a = i < from.n ? from.axis[i++].size : 1, b = k < to->rank ? to->dim[k++] : 1, stride;
        while (a != b) {
            if (a < b && i < from.n) a *= from.axis[i++].size;
            else if (b < a && k < to->rank && to->dim[k] > 0) b *= to->dim[k++];
            else return;
        }
        if (!merge(&from, i_begin, i, &stride)) return;
        for (int j = k - 1; j >= k_begin; j--) {
            v->axis[j] = (ViewAxis){ to->dim[j], stride };
            stride *= to->dim[j];
        }
    }
    v->n = to->rank;
}
