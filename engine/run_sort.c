/* Operators that order elements: TopK and Unique. */
#include <omp.h>
#include <string.h>
#include "engine/element.h"
#include "engine/move.h"
#include "engine/run_ops.h"
#include "engine/walk.h"
#include "kernels/whole.h"

/* Sorts idx[0..n) by `before`, keeping the order of equals; spare has room for n. */
typedef bool Before(const void *data, int64_t a, int64_t b);
static void merge_sort(int64_t *idx, int64_t *spare, int64_t n, Before *before, const void *data)
{
    if (n < 2) return;
    int64_t half = n / 2;
    merge_sort(idx, spare, half, before, data);
    merge_sort(idx + half, spare, n - half, before, data);
    memcpy(spare, idx, (size_t)n * sizeof *idx);
    for (int64_t i = 0, l = 0, r = half; i < n; i++) {
        bool right = l == half || (r < n && before(data, spare[r], spare[l]));
        idx[i] = right ? spare[r++] : spare[l++];
    }
}

/* An element that takes part: greater keys come first, of equal ones that with the smaller index. */
typedef struct Entry { uint64_t key; int64_t index; } Entry;

/* Without branches, which nobody could predict. */
static int is_ahead(Entry a, Entry b) { return (a.key > b.key) | ((a.key == b.key) & (a.index < b.index)); }

/* A number that orders as v does, downwards if least. NaN counts as the largest, zeros are equal. */
static uint64_t key_of(double v, bool least)
{
    union { double real; uint64_t bits; } u = { v + 0.0 };                 /* -0 becomes 0 */
    uint64_t key = u.bits >> 63 ? ~u.bits : u.bits | (uint64_t)1 << 63;
    key = v != v ? UINT64_MAX : key;
    return least ? ~key : key;
}

/* Such numbers for n <= CHUNK elements in a row. */
static void keys_of(const Buffer *x, int64_t start, int64_t n, bool least, uint64_t *key)
{
    const uint64_t top = x->dtype == DT_U64 ? 0 : (uint64_t)1 << 63, flip = least ? UINT64_MAX : 0;
    double v[CHUNK];
    if (dtype_is_whole(x->dtype)) {
        elements_to_i64(x->dtype, x->data, start, n, (int64_t *)key);
        for (int64_t i = 0; i < n; i++) key[i] ^= top ^ flip;
        return;
    }
    elements_to_f64(x->dtype, x->data, start, n, v);
    for (int64_t i = 0; i < n; i++) key[i] = key_of(v[i], least);
}

static void sift_down(Entry *heap, int64_t n, int64_t at)
{
    Entry moved = heap[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n) child += is_ahead(heap[child], heap[child + 1]);
        if (!is_ahead(moved, heap[child])) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

/* Lines of an axis, and a heap of the best so far of one of them, the last of these on top. */
typedef struct TopK { const Buffer *x; Axis axis; int64_t k; bool least; } TopK;

static void topk_fill(const TopK *t, int64_t at, Entry *heap)
{
    uint64_t key[CHUNK];
    int64_t step = t->axis.inner, each = step == 1 ? CHUNK : 1;
    for (int64_t first = 0, n; first < t->k; first += n) {
        n = lesser(t->k - first, each);
        keys_of(t->x, at + first * step, n, t->least, key);
        for (int64_t i = 0; i < n; i++) heap[first + i] = (Entry){ key[i], first + i };
    }
    for (int64_t i = t->k / 2 - 1; i >= 0; i--) sift_down(heap, t->k, i);
}

static void topk_offer(const TopK *t, Entry e, Entry *heap)
{
    if (e.key <= heap[0].key) return;                      /* of equals the one that came first stays */
    heap[0] = e;
    sift_down(heap, t->k, 0);
}

/* Most elements of float32 are not above the last of the best and need no key. */
static void topk_floats(const TopK *t, int64_t at, Entry *heap)
{
    const float *x = (const float *)t->x->data + at, sign = t->least ? -1 : 1;
    int64_t step = t->axis.inner;
    float limit = sign * x[heap[0].index * step];
    for (int64_t i = t->k; i < t->axis.n; i++) {
        if (sign * x[i * step] <= limit) continue;
        topk_offer(t, (Entry){ key_of((double)x[i * step], t->least), i }, heap);
        limit = sign * x[heap[0].index * step];
    }
}

static void topk_others(const TopK *t, int64_t at, Entry *heap)
{
    uint64_t key[CHUNK];
    int64_t step = t->axis.inner, each = step == 1 ? CHUNK : 1;
    for (int64_t first = t->k, n; first < t->axis.n; first += n) {
        n = lesser(t->axis.n - first, each);
        keys_of(t->x, at + first * step, n, t->least, key);
        for (int64_t i = 0; i < n; i++) topk_offer(t, (Entry){ key[i], first + i }, heap);
    }
}

static void topk_sort(Entry *heap, int64_t k)
{
    for (int64_t left = k - 1; left > 0; left--) {
        Entry last = heap[left];
        heap[left] = heap[0];
        heap[0] = last;
        sift_down(heap, left, 0);
    }
}

static Err topk_size(const Step *s, int64_t *k)
{
    int n;
    *k = attr_i(s->node, "k", 0);
    if (s->opset >= 10 && s->in[1]) TRY(ints_of(s->in[1], k, 1, &n));
    return *k < 0 ? err_set(ERR_ARG, "TopK has a negative k.") : OK;
}

static void topk_line(const TopK *t, int64_t line, Entry *heap, Buffer *const out[2])
{
    int64_t step = t->axis.inner, outer = line / step, inner = line % step, at = outer * t->axis.n * step + inner, to = outer * t->k * step + inner;
    size_t size = element_size(t->x->dtype);
    topk_fill(t, at, heap);
    (t->x->dtype == DT_F32 ? topk_floats : topk_others)(t, at, heap);
    topk_sort(heap, t->k);
    for (int64_t i = 0; i < t->k; i++, to += step) {
        if (out[0]) memcpy((char *)out[0]->data + (size_t)to * size, (const char *)t->x->data + (size_t)(at + heap[i].index * step) * size, size);
        if (out[1]) ((int64_t *)out[1]->data)[to] = heap[i].index;
    }
}

static Err topk_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    int axis = 0;
    int64_t k = 0;
    TRY(axis_of(attr_i(s->node, "axis", -1), x->shape.rank, &axis));
    TRY(topk_size(s, &k));
    Shape y = x->shape;
    if (k > y.dim[axis]) return err_set(ERR_ARG, "TopK asks for %lld of %lld elements.", (long long)k, (long long)y.dim[axis]);
    y.dim[axis] = k;
    TRY(step_output(plan, s, 0, x->dtype, &y));
    TRY(step_output(plan, s, 1, DT_I64, &y));
    const TopK t = { x, axis_around(&x->shape, axis, axis + 1), k, !attr_i(s->node, "largest", 1) };
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t line = 0; line < (k ? t.axis.outer * t.axis.inner : 0); line++)
        topk_line(&t, line, (Entry *)s->scratch + t.axis.n * omp_get_thread_num(), s->out);
    return OK;
}

Err topk_prep(Plan *plan, Step *s)
{
    int axis = 0;
    if (!dtype_is_real(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    TRY(axis_of(attr_i(s->node, "axis", -1), s->in[0]->shape.rank, &axis));
    s->scratch_bytes = (size_t)s->in[0]->shape.dim[axis] * sizeof(Entry) * (size_t)plan->threads;
    s->run = topk_run;
    return OK;
}

/* Unique: slices along an axis, or elements of the flat tensor. ------------------------------------------------------------------------- */
typedef struct Slices { const Buffer *x; Axis axis; } Slices;

static int compare_slices(const Slices *u, int64_t a, int64_t b)
{
    const Buffer *x = u->x;
    bool whole = dtype_is_whole(x->dtype) && x->dtype != DT_U64;
    for (int64_t o = 0; o < u->axis.outer; o++)
        for (int64_t i = 0; i < u->axis.inner; i++) {
            int64_t at = (o * u->axis.n + a) * u->axis.inner + i, bt = (o * u->axis.n + b) * u->axis.inner + i;
            if (whole) {
                int64_t v = whole_at(x, at), w = whole_at(x, bt);
                if (v != w) return v < w ? -1 : 1;
            } else {
                double v = number_at(x, at), w = number_at(x, bt);
                if (v != w) return v < w ? -1 : 1;
            }
        }
    return 0;
}

static bool slice_before(const void *data, int64_t a, int64_t b) { return compare_slices(data, a, b) < 0; }
static bool index_before(const void *data, int64_t a, int64_t b) { return ((const int64_t *)data)[a] < ((const int64_t *)data)[b]; }

/* group[g]: first member of group g, in the order of the output; inverse[i]: group of slice i; count[g] */
static int64_t group_slices(const Slices *u, bool sorted, int64_t *memory, int64_t **group, int64_t **inverse, int64_t **count)
{
    int64_t n = u->axis.n, groups = 0, *idx = memory, *spare = idx + n, *first = spare + n, *number = first + n, *of = number + n, *size = of + n, *order = size + n;
    for (int64_t i = 0; i < n; i++) idx[i] = i;
    merge_sort(idx, spare, n, slice_before, u);
    for (int64_t i = 0; i < n; i++) {
        if (!i || compare_slices(u, idx[i - 1], idx[i])) { first[groups] = idx[i]; size[groups++] = 0; }
        of[idx[i]] = groups - 1;
        size[groups - 1]++;
    }
    for (int64_t g = 0; g < groups; g++) order[g] = g;
    if (!sorted) merge_sort(order, spare, groups, index_before, first);
    for (int64_t g = 0; g < groups; g++) { number[order[g]] = g; idx[g] = first[order[g]]; spare[g] = size[order[g]]; }
    for (int64_t i = 0; i < n; i++) of[i] = number[of[i]];
    *group = idx; *inverse = of; *count = spare;
    return groups;
}

/* The axis, or all elements where there is none; *axis is 0 then. */
static Err unique_axis(const Step *s, int *axis, Axis *a)
{
    const Buffer *x = s->in[0];
    *axis = 0;
    *a = (Axis){ 1, x->count, 1 };
    if (!node_attr(s->node, "axis")) return OK;
    TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, axis));
    *a = axis_around(&x->shape, *axis, *axis + 1);
    return OK;
}

static Err unique_run(Plan *plan, Step *s)
{
    Slices u = { .x = s->in[0] };
    const Buffer *x = u.x;
    int axis;
    TRY(unique_axis(s, &axis, &u.axis));
    int64_t *group, *inverse, *count, groups = group_slices(&u, attr_i(s->node, "sorted", 1), (int64_t *)s->scratch, &group, &inverse, &count);
    Shape list = { 1, { groups } }, all = { 1, { u.axis.n } }, y = node_attr(s->node, "axis") ? x->shape : list;
    y.dim[axis] = groups;
    TRY(step_output(plan, s, 0, x->dtype, &y));
    for (int i = 1; i < 4; i++) TRY(step_output(plan, s, i, DT_I64, i == 2 ? &all : &list));
    size_t bytes = (size_t)u.axis.inner * element_size(x->dtype);
    for (int64_t o = 0; o < u.axis.outer; o++)
        for (int64_t g = 0; g < groups; g++)
            memcpy((char *)s->out[0]->data + (size_t)(o * groups + g) * bytes, (const char *)x->data + (size_t)(o * u.axis.n + group[g]) * bytes, bytes);
    if (s->out[1]) memcpy(s->out[1]->data, group, s->out[1]->bytes);
    if (s->out[2]) memcpy(s->out[2]->data, inverse, s->out[2]->bytes);
    if (s->out[3]) memcpy(s->out[3]->data, count, s->out[3]->bytes);
    return OK;
}

Err unique_prep(Plan *plan, Step *s)
{
    int axis;
    Axis a;
    (void)plan;
    if (!dtype_is_real(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    TRY(unique_axis(s, &axis, &a));
    s->scratch_bytes = (size_t)a.n * 7 * sizeof(int64_t);
    s->run = unique_run;
    return OK;
}
