/* Moving elements: copies between strided arrays, whatever the element type. */
#pragma once
#include "engine/walk.h"

/* to[sum i*to_stride] = from[sum i*from_stride] for all indices; strides in elements, may be negative or 0 (from). */
typedef struct Copy { int rank; int64_t dim[2 * MAX_RANK], from[2 * MAX_RANK], to[2 * MAX_RANK]; } Copy;
void copy_strided(const Plan *plan, const Copy *c, const void *from, void *to, size_t size);
static inline void copy_axis(Copy *c, int64_t dim, int64_t from, int64_t to)
{
    c->dim[c->rank] = dim; c->from[c->rank] = from; c->to[c->rank++] = to;
}

/* Bytes of an element as it lies in memory; 0 for types below 8 bits. */
size_t element_size(DType t);
/* n copies of one element. */
void repeat_element(void *to, const void *value, int64_t n, size_t size);
/* Refuses what cannot be moved element by element: types below 8 bits. */
Err  movable(const Step *s, const Buffer *b);
/* The elements of an integer tensor that is a parameter (axes, sizes, ...); *n is their count, at most max. ERR_SHAPE beyond. */
Err  ints_of(const Buffer *b, int64_t *v, int max, int *n);
/* Parameter list from attribute `name` (early opsets) or input i (later ones); *n = -1 when neither is there. */
Err  ints_param(const Step *s, const char *name, int i, int64_t v[2 * MAX_RANK], int *n);
/* Axis counted from the end if negative; ERR_SHAPE out of range. */
Err  axis_of(int64_t axis, int rank, int *out);
/* An index into an axis, counted from the end if negative; ERR_ARG with a sentence out of range. */
Err  index_of(int64_t index, int64_t size, int64_t *out);

/* What Slices take of a value: sizes, and where its elements lie. */
typedef struct SliceView { Shape shape; int64_t offset, stride[MAX_RANK]; } SliceView;
SliceView slice_whole(const Buffer *x);
/* What the step takes of what has been taken, by the values of its parameters. */
Err  slice_view(const Step *s, const SliceView *from, SliceView *v);
bool slice_known(const Step *s);                       /* whether these are known already */
/* Copies that of in[0]; or makes out[0] a view of in[0] and s run as one, where the elements lie one behind another. */
Err  slice_take(Plan *plan, Step *s, const SliceView *v);
void slice_share(Step *s, const SliceView *v);
