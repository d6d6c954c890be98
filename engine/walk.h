/* Walking over operands of different shapes and types: broadcasting, and chunks of elements in the few types that loops are written for. */
#pragma once
#include "engine/plan.h"

/* The types that plain loops compute in. Every real type converts to one of them without loss. */
typedef enum Wide { WIDE_F32, WIDE_F64, WIDE_I64, WIDE_U64 } Wide;
enum { CHUNK = 512, WALK_OPERANDS = 5 };

Wide wide_of(DType t);                 /* f32; other floats: F64; uint64: U64; other integers and bool: I64 */
static inline size_t wide_size(Wide w) { return w == WIDE_F32 ? 4 : 8; }
/* Elements start ... start + n of x as type w: in place where x has that type, else converted into chunk. n <= CHUNK. */
const void *wide_load(Wide w, DType t, const void *x, int64_t start, int64_t n, void *chunk);
/* Where to compute elements start ... of x: in place where x has type w, else chunk, which wide_store then converts. */
void *wide_target(Wide w, DType t, void *x, int64_t start, void *chunk);
void  wide_store(Wide w, DType t, const void *chunk, int64_t n, void *x, int64_t start);

/* Several operands broadcast to one output shape, axes merged where all operands allow it. Element (i0, i1, ...) of operand k lies at
 * sum of i * stride[k]. The innermost axis has stride 0 or 1. */
typedef struct Walk {
    int rank, n;
    int64_t dim[MAX_RANK], stride[WALK_OPERANDS][MAX_RANK];
    int64_t inner, outer;              /* length of the innermost axis; product of the others */
} Walk;
/* Shapes must broadcast to out (infer has checked). n <= WALK_OPERANDS. */
void walk_init(Walk *w, const Shape *out, const Shape *const *operand, int n);
/* Offsets of all operands at the start of outer row `row`. */
static inline void walk_row(const Walk *w, int64_t row, int64_t offset[WALK_OPERANDS])
{
    for (int k = 0; k < w->n; k++) offset[k] = 0;
    for (int i = w->rank - 2; i >= 0; i--) {
        int64_t at = i ? row % w->dim[i] : row;
        if (i) row /= w->dim[i];
        for (int k = 0; k < w->n; k++) offset[k] += at * w->stride[k][i];
    }
}

/* Product of dims [from, to). */
int64_t shape_span(const Shape *s, int from, int to);

typedef struct Axis { int64_t outer, n, inner; } Axis;         /* a tensor seen around one axis, or a run of axes [from, to) */
static inline Axis axis_around(const Shape *s, int from, int to)
{
    return (Axis){ shape_span(s, 0, from), shape_span(s, from, to), shape_span(s, to, s->rank) };
}

/* Enough work that threads pay. */
enum { PARALLEL_WORK = 32768 };
