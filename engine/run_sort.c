/* Operators that order elements: TopK and Unique. */
#include <string.h>
#include "engine/element.h"
#include "engine/move.h"
#include "engine/run_ops.h"

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

typedef struct Keys { const double *real; const int64_t *whole; bool least, is_unsigned; } Keys;

static bool key_before(const void *data, int64_t a, int64_t b)
{
    const Keys *k = data;
    if (k->whole) {
        bool less = k->is_unsigned ? (uint64_t)k->whole[a] < (uint64_t)k->whole[b] : k->whole[a] < k->whole[b];
        return k->least ? less : k->whole[a] != k->whole[b] && !less;
    }
    double u = k->real[a], v = k->real[b];
    if (u != u || v != v) return k->least ? u == u && v != v : u != u && v == v;       /* NaN counts as the largest */
    return k->least ? u < v : u > v;
}

/* In the order of merge_sort. */
static bool is_later(const Keys *k, int64_t a, int64_t b) { return key_before(k, b, a) || (!key_before(k, a, b) && a > b); }

static void swap(int64_t *a, int64_t *b)
{
    int64_t old = *a;
    *a = *b;
    *b = old;
}

static void sift_down(int64_t *heap, int64_t k, int64_t at, const Keys *keys)
{
    for (int64_t child; (child = 2 * at + 1) < k; at = child) {
        if (child + 1 < k && is_later(keys, heap[child + 1], heap[child])) child++;
        if (!is_later(keys, heap[child], heap[at])) return;
        swap(&heap[at], &heap[child]);
    }
}

/* The first k of idx[0..n) in that order; the rest in any. A heap holds the best so far, the last of them on top. */
static void select_first(int64_t *idx, int64_t n, int64_t k, const Keys *keys)
{
    for (int64_t i = k / 2 - 1; i >= 0; i--) sift_down(idx, k, i, keys);
    for (int64_t i = k; i < n && k; i++) {
        const double *real = keys->real;                           /* most are no candidates; of equals the one that came first stays */
        if (real && (keys->least ? real[idx[i]] >= real[idx[0]] : real[idx[i]] <= real[idx[0]])) continue;
        if (!key_before(keys, idx[i], idx[0])) continue;
        swap(&idx[0], &idx[i]);
        sift_down(idx, k, 0, keys);
    }
    for (int64_t left = k - 1; left > 0; left--) {
        swap(&idx[0], &idx[left]);
        sift_down(idx, left, 0, keys);
    }
}

static Err topk_size(const Step *s, int64_t *k)
{
    int n;
    *k = attr_i(s->node, "k", 0);
    if (s->opset >= 10 && s->in[1]) TRY(ints_of(s->in[1], k, 1, &n));
    return *k < 0 ? err_set(ERR_ARG, "TopK has a negative k.") : OK;
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
    int64_t n = x->shape.dim[axis], inner = shape_span(&x->shape, axis + 1, x->shape.rank), rows = n ? x->count / n : 0;
    if (!rows) return OK;
    int64_t *idx = (int64_t *)s->scratch, *spare = idx + n, *whole = spare + n;
    double *real = (double *)whole;
    bool is_whole = dtype_is_whole(x->dtype);
    size_t size = element_size(x->dtype);
    Keys keys = { is_whole ? NULL : real, is_whole ? whole : NULL, !attr_i(s->node, "largest", 1), x->dtype == DT_U64 };
    for (int64_t t = 0; t < rows; t++) {
        int64_t at = t / inner * n * inner + t % inner;
        int64_t each = inner == 1 ? n : 1;
        for (int64_t i = 0; i < n; i++) idx[i] = i;
        for (int64_t i = 0; i < n; i += each) {
            if (is_whole) elements_to_i64(x->dtype, x->data, at + i * inner, each, &whole[i]);
            else elements_to_f64(x->dtype, x->data, at + i * inner, each, &real[i]);
        }
        if (k < n / 4) select_first(idx, n, k, &keys);
        else merge_sort(idx, spare, n, key_before, &keys);
        for (int64_t i = 0; i < k; i++) {
            int64_t to = t / inner * k * inner + t % inner + i * inner;
            if (s->out[0]) memcpy((char *)s->out[0]->data + (size_t)to * size, (const char *)x->data + (size_t)(at + idx[i] * inner) * size, size);
            if (s->out[1]) ((int64_t *)s->out[1]->data)[to] = idx[i];
        }
    }
    return OK;
}

Err topk_prep(Plan *plan, Step *s)
{
    int axis = 0;
    (void)plan;
    if (!dtype_is_real(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    TRY(axis_of(attr_i(s->node, "axis", -1), s->in[0]->shape.rank, &axis));
    s->scratch_bytes = (size_t)s->in[0]->shape.dim[axis] * 3 * sizeof(int64_t);
    s->run = topk_run;
    return OK;
}

/* Unique: slices along an axis, or elements of the flat tensor. ------------------------------------------------------------------------- */
typedef struct Slices { const Buffer *x; int64_t n, outer, inner; } Slices;

static int compare_slices(const Slices *u, int64_t a, int64_t b)
{
    const Buffer *x = u->x;
    for (int64_t o = 0; o < u->outer; o++)
        for (int64_t i = 0; i < u->inner; i++) {
            int64_t at = (o * u->n + a) * u->inner + i, bt = (o * u->n + b) * u->inner + i;
            if (dtype_is_whole(x->dtype) && x->dtype != DT_U64) {
                int64_t v, w;
                elements_to_i64(x->dtype, x->data, at, 1, &v);
                elements_to_i64(x->dtype, x->data, bt, 1, &w);
                if (v != w) return v < w ? -1 : 1;
                continue;
            }
            double v, w;
            elements_to_f64(x->dtype, x->data, at, 1, &v);
            elements_to_f64(x->dtype, x->data, bt, 1, &w);
            if (v != w) return v < w ? -1 : 1;
        }
    return 0;
}

static bool slice_before(const void *data, int64_t a, int64_t b) { return compare_slices(data, a, b) < 0; }
static bool index_before(const void *data, int64_t a, int64_t b) { return ((const int64_t *)data)[a] < ((const int64_t *)data)[b]; }

/* group[g]: first member of group g, in the order of the output; inverse[i]: group of slice i; count[g] */
static int64_t group_slices(const Slices *u, bool sorted, int64_t *memory, int64_t **group, int64_t **inverse, int64_t **count)
{
    int64_t n = u->n, groups = 0, *idx = memory, *spare = idx + n, *first = spare + n, *number = first + n, *of = number + n, *size = of + n, *order = size + n;
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

static Err unique_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    bool flat = !node_attr(s->node, "axis");
    int axis = 0;
    if (!flat) TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, &axis));
    Slices u = { x, flat ? x->count : x->shape.dim[axis], flat ? 1 : shape_span(&x->shape, 0, axis), flat ? 1 : shape_span(&x->shape, axis + 1, x->shape.rank) };
    int64_t *group, *inverse, *count, groups = group_slices(&u, attr_i(s->node, "sorted", 1), (int64_t *)s->scratch, &group, &inverse, &count);
    Shape y = flat ? (Shape){ 1, { groups } } : x->shape, list = { 1, { groups } }, all = { 1, { u.n } };
    if (!flat) y.dim[axis] = groups;
    TRY(step_output(plan, s, 0, x->dtype, &y));
    for (int i = 1; i < 4; i++) TRY(step_output(plan, s, i, DT_I64, i == 2 ? &all : &list));
    size_t bytes = (size_t)u.inner * element_size(x->dtype);
    for (int64_t o = 0; o < u.outer; o++)
        for (int64_t g = 0; g < groups; g++)
            memcpy((char *)s->out[0]->data + (size_t)(o * groups + g) * bytes, (const char *)x->data + (size_t)(o * u.n + group[g]) * bytes, bytes);
    if (s->out[1]) memcpy(s->out[1]->data, group, s->out[1]->bytes);
    if (s->out[2]) memcpy(s->out[2]->data, inverse, s->out[2]->bytes);
    if (s->out[3]) memcpy(s->out[3]->data, count, s->out[3]->bytes);
    return OK;
}

Err unique_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (!dtype_is_real(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    s->scratch_bytes = (size_t)s->in[0]->count * 7 * sizeof(int64_t) + 7 * sizeof(int64_t);
    if (s->in[0]->shape.rank && node_attr(s->node, "axis")) for (int i = 0; i < s->in[0]->shape.rank; i++)
        if ((size_t)s->in[0]->shape.dim[i] * 7 * sizeof(int64_t) > s->scratch_bytes) s->scratch_bytes = (size_t)s->in[0]->shape.dim[i] * 7 * sizeof(int64_t);
    s->run = unique_run;
    return OK;
}
