/* Numbers with a type and a shape, in ONNX's vocabulary. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "onnx/arena.h"
#include "onnx/error.h"

/* The numbers of TensorProto.DataType, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto */
typedef enum DType {
    DT_NONE = 0, DT_F32 = 1, DT_U8 = 2, DT_I8 = 3, DT_U16 = 4, DT_I16 = 5, DT_I32 = 6, DT_I64 = 7, DT_STRING = 8, DT_BOOL = 9,
    DT_F16 = 10, DT_F64 = 11, DT_U32 = 12, DT_U64 = 13, DT_C64 = 14, DT_C128 = 15, DT_BF16 = 16,
    DT_F8E4M3FN = 17, DT_F8E4M3FNUZ = 18, DT_F8E5M2 = 19, DT_F8E5M2FNUZ = 20, DT_U4 = 21, DT_I4 = 22, DT_F4E2M1 = 23,
    DT_F8E8M0 = 24, DT_U2 = 25, DT_I2 = 26, DT_COUNT,
} DType;
const char *dtype_name(DType t);          /* "float32", "int4", ...; "unknown" outside the enum */
int         dtype_bits(DType t);          /* bits of one element: 32, 4, ...; 0 for string and unknown types */
bool        dtype_is_small_int(DType t);  /* integers of 8 bits or fewer: what weights are quantized to */
bool        dtype_is_float(DType t);      /* f64, f32, f16, bf16 and the 8- and 4-bit floats */

/* A size that is not a number yet: symbol i of Model.symbol stands in a Shape (and in inferred shape arithmetic) as SYMBOL_BASE + i.
 * Equal symbols are equal sizes. */
#define SYMBOL_BASE INT64_MIN
enum { MAX_SYMBOLS = 1 << 20, MAX_RANK = 12 };
static inline bool dim_is_symbol(int64_t d) { return d < SYMBOL_BASE + MAX_SYMBOLS; }

typedef struct Shape {
    int     rank;             /* -1: unknown */
    int64_t dim[MAX_RANK];    /* >= 0, or a symbol */
} Shape;

/* Dense, row-major; types below 8 bits are packed from the low bits up. A pruned weight is a Tensor with zeros. */
typedef struct Tensor { DType dtype; Shape shape; size_t bytes; void *data; } Tensor;

Shape shape_of(int rank, const int64_t *dim);
bool  shape_known(const Shape *s);                         /* rank known and no symbol */
bool  shape_equal(const Shape *a, const Shape *b);
Err   shape_count(const Shape *s, int64_t *n);             /* product of dims; ERR_SHAPE if unknown or beyond 2^62 */
Err   tensor_bytes(DType t, const Shape *s, size_t *bytes);/* storage of a dense tensor; ERR_SHAPE, ERR_UNSUPPORTED for strings */
Err   tensor_new(Arena *arena, DType t, const Shape *s, Tensor **out);   /* zeroed data */
/* "2x3x224x224", symbols by the given names ("batch"), "?" for an unknown rank. Writes at most size bytes. */
void  shape_text(const Shape *s, const char *const *symbol, char *text, size_t size);
