/* Numbers at the edges, as ONNX wants them: ties to even, saturation, integers that C leaves undefined, NaN, empty tensors, casts out of range.
 * Every row runs with each level of kernels. tests/interop/edges.py has more rows, whose judge is ONNX Runtime. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "engine/element.h"
#include "engine/plan.h"
#include "kernels/kernels.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/levels.h"

enum { ROOM = 12 };
typedef struct Numbers { DType dtype; const char *dims; double v[ROOM]; } Numbers;     /* dims NULL: left out */
typedef struct Row { const char *op, *attributes; Numbers in[3], out; } Row;

#define I32_MIN -2147483648.0
#define I64_MIN -0x1p63

static const Row rounding[] = {
    { "Round", "", { { DT_F32, "7", { 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0x1p23 + 1 } } }, { DT_F32, "7", { 0, 2, 2, 0, -2, -2, 0x1p23 + 1 } } },
    { "Round", "", { { DT_F16, "4", { 0.5, 1.5, 2.5, -3.5 } } }, { DT_F16, "4", { 0, 2, 2, -4 } } },
    { "QuantizeLinear", "", { { DT_F32, "6", { 0.5, 1.5, 2.5, -0.5, 1e9, -1e9 } }, { DT_F32, "", { 1 } }, { DT_U8, "", { 1 } } },
      { DT_U8, "6", { 1, 3, 3, 1, 255, 0 } } },
    { "QuantizeLinear", "", { { DT_F32, "6", { 127.5, -128.5, -1.5, 2.5, INFINITY, -INFINITY } }, { DT_F32, "", { 1 } }, { DT_I8, "", { 0 } } },
      { DT_I8, "6", { 127, -128, -2, 2, 127, -128 } } },
    { "QuantizeLinear", "", { { DT_F32, "4", { 65535.5, -0.25, 0.25, 0.75 } }, { DT_F32, "", { 0.5 } }, { DT_U16, "", { 0 } } }, { DT_U16, "4", { 65535, 0, 0, 2 } } },
    { "QuantizeLinear", "", { { DT_F32, "5", { 7.5, 8, -8.5, -9, 0.5 } }, { DT_F32, "", { 1 } }, { DT_I4, "", { 0 } } }, { DT_I4, "5", { 7, 7, -8, -8, 0 } } },
};

/* What C leaves undefined must not end the process; the answers are those of engine/run_binary.c. */
static const Row integers[] = {
    { "Div", "", { { DT_I32, "5", { 7, -7, 7, -7, I32_MIN } }, { DT_I32, "5", { 2, 2, -2, -2, -1 } } }, { DT_I32, "5", { 3, -3, -3, 3, I32_MIN } } },
    { "Div", "", { { DT_I64, "3", { I64_MIN, 5, -5 } }, { DT_I64, "3", { -1, 0, 0 } } }, { DT_I64, "3", { I64_MIN, 0, 0 } } },
    { "Div", "", { { DT_U64, "2", { 5, 9 } }, { DT_U64, "2", { 0, 2 } } }, { DT_U64, "2", { 0, 4 } } },
    { "Div", "", { { DT_I8, "2", { -128, 1 } }, { DT_I8, "2", { -1, 0 } } }, { DT_I8, "2", { -128, 0 } } },
    { "Mod", "", { { DT_I32, "6", { 7, -7, 7, -7, I32_MIN, 3 } }, { DT_I32, "6", { 3, 3, -3, -3, -1, 0 } } }, { DT_I32, "6", { 1, 2, -2, -1, 0, 0 } } },
    { "Mod", "fmod:i=1", { { DT_I32, "6", { 7, -7, 7, -7, I32_MIN, 3 } }, { DT_I32, "6", { 3, 3, -3, -3, -1, 0 } } }, { DT_I32, "6", { 1, -1, 1, -1, 0, 0 } } },
    { "Mod", "", { { DT_I64, "2", { I64_MIN, I64_MIN } }, { DT_I64, "2", { -1, 0 } } }, { DT_I64, "2", { 0, 0 } } },
    { "Mod", "fmod:i=1", { { DT_I64, "2", { I64_MIN, I64_MIN } }, { DT_I64, "2", { -1, 0 } } }, { DT_I64, "2", { 0, 0 } } },
    { "Mod", "", { { DT_U32, "2", { 7, 7 } }, { DT_U32, "2", { 4, 0 } } }, { DT_U32, "2", { 3, 0 } } },
    { "Mod", "fmod:i=1", { { DT_F32, "4", { 5.5, -5.5, 1, INFINITY } }, { DT_F32, "4", { 2, -2, 0, 2 } } }, { DT_F32, "4", { 1.5, -1.5, NAN, NAN } } },
    { "BitShift", "direction:s=LEFT", { { DT_U8, "5", { 1, 200, 1, 255, 3 } }, { DT_U8, "5", { 7, 1, 8, 255, 64 } } }, { DT_U8, "5", { 128, 144, 0, 0, 0 } } },
    { "BitShift", "direction:s=RIGHT", { { DT_U32, "4", { 8, 4294967295, 1, 7 } }, { DT_U32, "4", { 1, 32, 33, 64 } } }, { DT_U32, "4", { 4, 0, 0, 0 } } },
    { "BitShift", "direction:s=RIGHT", { { DT_U64, "3", { 0x1p63, 0x1p63, 9 } }, { DT_U64, "3", { 63, 64, 65 } } }, { DT_U64, "3", { 1, 0, 0 } } },
    { "Abs", "", { { DT_I32, "2", { I32_MIN, -5 } } }, { DT_I32, "2", { I32_MIN, 5 } } },
    { "Neg", "", { { DT_I64, "2", { I64_MIN, 5 } } }, { DT_I64, "2", { I64_MIN, -5 } } },
    { "Pow", "", { { DT_I32, "5", { 2, -3, 0, 7, 1 } }, { DT_I32, "5", { 10, 3, 0, 0, 30 } } }, { DT_I32, "5", { 1024, -27, 1, 1, 1 } } },
    { "Pow", "", { { DT_I64, "4", { 2, -1, 1, 3 } }, { DT_I64, "4", { -1, -3, -5, 32 } } }, { DT_I64, "4", { 0, -1, 1, 1853020188851841 } } },
    { "Pow", "", { { DT_I32, "3", { 9, 2, 4 } }, { DT_F32, "3", { 0.5, 3, -1 } } }, { DT_I32, "3", { 3, 8, 0 } } },
    { "Pow", "", { { DT_F32, "3", { 2, -2, 0.5 } }, { DT_I64, "3", { 10, 3, -2 } } }, { DT_F32, "3", { 1024, -8, 4 } } },
    { "Pow", "", { { DT_F32, "4", { NAN, 1, -8, 0 } }, { DT_F32, "4", { 0, NAN, 0.5, -1 } } }, { DT_F32, "4", { 1, 1, NAN, INFINITY } } },
    { "ReduceSum", "", { { DT_I32, "2", { -I32_MIN - 1, 1 } } }, { DT_I32, "1", { I32_MIN } } },
};

static const Row not_numbers[] = {
    { "Max", "", { { DT_F32, "4", { NAN, 1, 2, NAN } }, { DT_F32, "4", { 1, NAN, 3, NAN } } }, { DT_F32, "4", { NAN, NAN, 3, NAN } } },
    { "Min", "", { { DT_F32, "4", { NAN, 1, 2, NAN } }, { DT_F32, "4", { 1, NAN, 3, NAN } } }, { DT_F32, "4", { NAN, NAN, 2, NAN } } },
    { "Max", "", { { DT_F32, "3", { NAN, 1, INFINITY } }, { DT_F32, "", { 2 } } }, { DT_F32, "3", { NAN, 2, INFINITY } } },
    { "Min", "", { { DT_F32, "", { NAN } }, { DT_F32, "2", { 1, -INFINITY } } }, { DT_F32, "2", { NAN, NAN } } },
    { "Max", "", { { DT_F64, "2", { NAN, 1 } }, { DT_F64, "2", { 1, NAN } } }, { DT_F64, "2", { NAN, NAN } } },
    { "Min", "", { { DT_F16, "2", { NAN, 1 } }, { DT_F16, "2", { 1, NAN } } }, { DT_F16, "2", { NAN, NAN } } },
    { "Clip", "", { { DT_F32, "5", { NAN, 5, -5, INFINITY, -INFINITY } }, { DT_F32, "", { -1 } }, { DT_F32, "", { 1 } } }, { DT_F32, "5", { NAN, 1, -1, 1, -1 } } },
    { "Clip", "", { { DT_F64, "3", { NAN, 5, -5 } }, { DT_F64, "", { -1 } }, { DT_F64, "", { 1 } } }, { DT_F64, "3", { NAN, 1, -1 } } },
    { "Clip", "", { { DT_F32, "3", { 0, 5, -5 } }, { DT_F32, "", { 2 } }, { DT_F32, "", { 1 } } }, { DT_F32, "3", { 1, 1, 1 } } },
    { "Relu", "", { { DT_F32, "4", { NAN, -1, INFINITY, -INFINITY } } }, { DT_F32, "4", { NAN, 0, INFINITY, 0 } } },
    { "Relu", "", { { DT_F64, "2", { NAN, -1 } } }, { DT_F64, "2", { NAN, 0 } } },
    { "Sign", "", { { DT_F32, "4", { NAN, -0.0, 3, -INFINITY } } }, { DT_F32, "4", { NAN, 0, 1, -1 } } },
    { "Sigmoid", "", { { DT_F32, "4", { NAN, INFINITY, -INFINITY, 0 } } }, { DT_F32, "4", { NAN, 1, 0, 0.5 } } },
    { "Tanh", "", { { DT_F32, "4", { NAN, INFINITY, -INFINITY, 0 } } }, { DT_F32, "4", { NAN, 1, -1, 0 } } },
    { "Exp", "", { { DT_F32, "4", { NAN, INFINITY, -INFINITY, 0 } } }, { DT_F32, "4", { NAN, INFINITY, 0, 1 } } },
    { "ArgMax", "axis:i=0", { { DT_F32, "4", { 1, NAN, 3, NAN } } }, { DT_I64, "1", { 2 } } },      /* as ONNX Runtime */
    { "ArgMin", "axis:i=0", { { DT_F32, "4", { 1, NAN, -3, NAN } } }, { DT_I64, "1", { 2 } } },
    { "ArgMax", "axis:i=0 select_last_index:i=1", { { DT_F32, "4", { 1, 3, 3, 2 } } }, { DT_I64, "1", { 2 } } },
    { "ReduceMax", "", { { DT_F32, "3", { 1, NAN, 3 } } }, { DT_F32, "1", { NAN } } },
    { "ReduceMin", "", { { DT_F32, "3", { 1, NAN, 3 } } }, { DT_F32, "1", { NAN } } },
    { "TopK", "", { { DT_F32, "5", { 1, 3, 3, INFINITY, -INFINITY } }, { DT_I64, "1", { 3 } } }, { DT_F32, "3", { INFINITY, 3, 3 } } },
    { "Softmax", "", { { DT_F32, "1,3", { -INFINITY, 3, -INFINITY } } }, { DT_F32, "1,3", { 0, 1, 0 } } },
    { "Equal", "", { { DT_F32, "3", { NAN, 0, INFINITY } }, { DT_F32, "3", { NAN, -0.0, INFINITY } } }, { DT_BOOL, "3", { 0, 1, 1 } } },
    { "GreaterOrEqual", "", { { DT_F32, "2", { NAN, 1 } }, { DT_F32, "2", { NAN, 1 } } }, { DT_BOOL, "2", { 0, 1 } } },
    { "IsInf", "detect_negative:i=0", { { DT_F32, "3", { NAN, INFINITY, -INFINITY } } }, { DT_BOOL, "3", { 0, 1, 0 } } },
};

static const Row empty[] = {
    { "ReduceSum", "", { { DT_F32, "0,2", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,2", { 0, 0 } } },
    { "ReduceSum", "keepdims:i=0", { { DT_F32, "0,2", { 0 } }, { DT_I64, "1", { 1 } } }, { DT_F32, "0", { 0 } } },
    { "ReduceProd", "", { { DT_F32, "0,2", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,2", { 1, 1 } } },
    { "ReduceMax", "", { { DT_F32, "0,2", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,2", { -INFINITY, -INFINITY } } },
    { "ReduceMin", "", { { DT_F32, "0,2", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,2", { INFINITY, INFINITY } } },
    { "ReduceMax", "", { { DT_I32, "0,2", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_I32, "1,2", { I32_MIN, I32_MIN } } },
    { "ReduceMin", "", { { DT_U8, "0,2", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_U8, "1,2", { 255, 255 } } },
    { "ReduceMax", "", { { DT_BOOL, "0,1", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_BOOL, "1,1", { 0 } } },
    { "ReduceMean", "", { { DT_F32, "0,2", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,2", { NAN, NAN } } },
    { "ReduceL1", "", { { DT_F32, "0,1", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,1", { 0 } } },
    { "ReduceL2", "", { { DT_F32, "0,1", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,1", { 0 } } },
    { "ReduceSumSquare", "", { { DT_F32, "0,1", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,1", { 0 } } },
    { "ReduceLogSum", "", { { DT_F32, "0,1", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,1", { -INFINITY } } },
    { "ReduceLogSumExp", "", { { DT_F32, "0,1", { 0 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "1,1", { -INFINITY } } },
    { "ReduceSum", "noop_with_empty_axes:i=1", { { DT_F32, "2", { 1, 2 } } }, { DT_F32, "2", { 1, 2 } } },
    { "Concat", "axis:i=0", { { DT_F32, "0,2", { 0 } }, { DT_F32, "1,2", { 3, 4 } }, { DT_F32, "0,2", { 0 } } }, { DT_F32, "1,2", { 3, 4 } } },
    { "Concat", "axis:i=1", { { DT_F32, "2,0", { 0 } }, { DT_F32, "2,0", { 0 } } }, { DT_F32, "2,0", { 0 } } },
    { "MatMul", "", { { DT_F32, "2,0", { 0 } }, { DT_F32, "0,3", { 0 } } }, { DT_F32, "2,3", { 0 } } },
    { "MatMul", "", { { DT_F32, "0,2", { 0 } }, { DT_F32, "2,3", { 1, 2, 3, 4, 5, 6 } } }, { DT_F32, "0,3", { 0 } } },
    { "MatMul", "", { { DT_F32, "2,1", { 1, 2 } }, { DT_F32, "1,0", { 0 } } }, { DT_F32, "2,0", { 0 } } },
    { "Gemm", "", { { DT_F32, "2,0", { 0 } }, { DT_F32, "0,2", { 0 } }, { DT_F32, "2", { 5, 6 } } }, { DT_F32, "2,2", { 5, 6, 5, 6 } } },
    { "MatMulInteger", "", { { DT_U8, "1,0", { 0 } }, { DT_U8, "0,2", { 0 } } }, { DT_I32, "1,2", { 0, 0 } } },
    { "Softmax", "axis:i=-1", { { DT_F32, "0,3", { 0 } } }, { DT_F32, "0,3", { 0 } } },
    { "Softmax", "axis:i=-1", { { DT_F32, "3,0", { 0 } } }, { DT_F32, "3,0", { 0 } } },
    { "Conv", "", { { DT_F32, "0,1,3,3", { 0 } }, { DT_F32, "1,1,1,1", { 2 } } }, { DT_F32, "0,1,3,3", { 0 } } },
    { "Conv", "", { { DT_F32, "1,1,2,2", { 1, 2, 3, 4 } }, { DT_F32, "0,1,1,1", { 0 } } }, { DT_F32, "1,0,2,2", { 0 } } },
    { "ConvTranspose", "", { { DT_F32, "0,1,3,3", { 0 } }, { DT_F32, "1,1,2,2", { 1, 2, 3, 4 } } }, { DT_F32, "0,1,4,4", { 0 } } },
    { "MaxPool", "kernel_shape:is=2,2", { { DT_F32, "0,1,3,3", { 0 } } }, { DT_F32, "0,1,2,2", { 0 } } },
    { "GlobalAveragePool", "", { { DT_F32, "0,2,3,3", { 0 } } }, { DT_F32, "0,2,1,1", { 0 } } },
    { "Add", "", { { DT_F32, "0,2", { 0 } }, { DT_F32, "1,2", { 1, 2 } } }, { DT_F32, "0,2", { 0 } } },
    { "Add", "", { { DT_F32, "0", { 0 } }, { DT_F32, "", { 1 } } }, { DT_F32, "0", { 0 } } },
    { "Where", "", { { DT_BOOL, "0,1", { 0 } }, { DT_F32, "2", { 1, 2 } }, { DT_F32, "", { 3 } } }, { DT_F32, "0,2", { 0 } } },
    { "Gather", "", { { DT_F32, "2,2", { 1, 2, 3, 4 } }, { DT_I64, "0", { 0 } } }, { DT_F32, "0,2", { 0 } } },
    { "Reshape", "allowzero:i=1", { { DT_F32, "2,0", { 0 } }, { DT_I64, "3", { 0, 3, 5 } } }, { DT_F32, "0,3,5", { 0 } } },
    { "Tile", "", { { DT_F32, "2", { 1, 2 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "0", { 0 } } },
    { "Expand", "", { { DT_F32, "1,2", { 1, 2 } }, { DT_I64, "2", { 0, 2 } } }, { DT_F32, "0,2", { 0 } } },
    { "NonZero", "", { { DT_F32, "2,2", { 0 } } }, { DT_I64, "2,0", { 0 } } },
    { "TopK", "", { { DT_F32, "2,2", { 1, 2, 3, 4 } }, { DT_I64, "1", { 0 } } }, { DT_F32, "2,0", { 0 } } },
    { "Slice", "", { { DT_F32, "3", { 1, 2, 3 } }, { DT_I64, "1", { 2 } }, { DT_I64, "1", { 1 } } }, { DT_F32, "0", { 0 } } },
    { "LayerNormalization", "", { { DT_F32, "0,2", { 0 } }, { DT_F32, "2", { 1, 1 } } }, { DT_F32, "0,2", { 0 } } },
    { "CumSum", "", { { DT_F32, "0,2", { 0 } }, { DT_I64, "", { 0 } } }, { DT_F32, "0,2", { 0 } } },
};

/* to: 1 float32, 2 uint8, 3 int8, 6 int32, 7 int64, 9 bool, 10 float16, 16 bfloat16, 17 ... 20 float8. Out of an integer's range ONNX leaves the result open; ours is
 * that of the CPU, as ONNX Runtime's and NumPy's are. */
static const Row casts[] = {
    { "Cast", "to:i=6", { { DT_F32, "6", { 1.9, -1.9, 1e10, -1e10, NAN, INFINITY } } }, { DT_I32, "6", { 1, -1, I32_MIN, I32_MIN, I32_MIN, I32_MIN } } },
    { "Cast", "to:i=7", { { DT_F32, "5", { 1e18f, 1e20, -1e20, NAN, -INFINITY } } }, { DT_I64, "5", { 1e18f, I64_MIN, I64_MIN, I64_MIN, I64_MIN } } },
    { "Cast", "to:i=7", { { DT_F64, "4", { 2.5, -2.5, 1e300, NAN } } }, { DT_I64, "4", { 2, -2, I64_MIN, I64_MIN } } },
    { "Cast", "to:i=3", { { DT_I32, "4", { 127, 128, 256, -129 } } }, { DT_I8, "4", { 127, -128, 0, 127 } } },
    { "Cast", "to:i=2", { { DT_I64, "3", { -1, 256, 511 } } }, { DT_U8, "3", { 255, 0, 255 } } },
    { "Cast", "to:i=9", { { DT_F32, "4", { 0, -0.0, NAN, 1e-45f } } }, { DT_BOOL, "4", { 0, 0, 1, 1 } } },
    { "Cast", "to:i=10", { { DT_F32, "7", { 65504, 65519, 65520, -1e9, NAN, 0x1p-25, 0x1.8p-25 } } },
      { DT_F16, "7", { 65504, 65504, INFINITY, -INFINITY, NAN, 0, 0x1p-24 } } },
    { "Cast", "to:i=16", { { DT_F32, "4", { 3.4e38, 1.00390625, 1.01171875, NAN } } }, { DT_BF16, "4", { INFINITY, 1, 1.015625, NAN } } },
    { "Cast", "to:i=17", { { DT_F32, "6", { 448, 464, 1e9, -1e9, INFINITY, NAN } } }, { DT_F8E4M3FN, "6", { 448, 448, 448, -448, 448, NAN } } },
    { "Cast", "to:i=17 saturate:i=0", { { DT_F32, "5", { 448, 463, 1e9, -INFINITY, NAN } } }, { DT_F8E4M3FN, "5", { 448, 448, NAN, NAN, NAN } } },
    { "Cast", "to:i=18", { { DT_F32, "4", { 240, 1e9, -INFINITY, NAN } } }, { DT_F8E4M3FNUZ, "4", { 240, 240, -240, NAN } } },
    { "Cast", "to:i=19", { { DT_F32, "5", { 57344, 1e9, INFINITY, -INFINITY, NAN } } }, { DT_F8E5M2, "5", { 57344, 57344, 57344, -57344, NAN } } },
    { "Cast", "to:i=19 saturate:i=0", { { DT_F32, "4", { 57344, 1e9, -INFINITY, NAN } } }, { DT_F8E5M2, "4", { 57344, INFINITY, -INFINITY, NAN } } },
    { "Cast", "to:i=20 saturate:i=0", { { DT_F32, "3", { 57344, 1e9, -INFINITY } } }, { DT_F8E5M2FNUZ, "3", { 57344, NAN, NAN } } },
    { "Cast", "to:i=1", { { DT_U64, "2", { 0x1p63, 0x1p40 } } }, { DT_F32, "2", { 0x1p63, 0x1p40 } } },
    { "Cast", "to:i=11", { { DT_U64, "1", { 0x1p63 } } }, { DT_F64, "1", { 0x1p63 } } },
};

static const Row resized[] = {
    { "Resize", "coordinate_transformation_mode:s=asymmetric nearest_mode:s=floor", { { DT_F32, "1,5", { 1, 2, 3, 4, 5 } }, { 0 }, { DT_F32, "2", { 1, 0.6f } } },
      { DT_F32, "1,3", { 1, 2, 4 } } },
    { "Resize", "coordinate_transformation_mode:s=asymmetric nearest_mode:s=floor", { { DT_F32, "1,7", { 1, 2, 3, 4, 5, 6, 7 } }, { 0 }, { DT_F32, "2", { 1, 0.6f } } },
      { DT_F32, "1,4", { 1, 2, 4, 6 } } },
    { "Resize", "", { { DT_F32, "1,2", { 1, 2 } }, { 0 }, { DT_F32, "2", { 1, 2 } } }, { DT_F32, "1,4", { 1, 1, 2, 2 } } },
    { "Resize", "mode:s=linear", { { DT_F32, "1,2", { 1, 2 } }, { 0 }, { DT_F32, "2", { 1, 2 } } }, { DT_F32, "1,4", { 1, 1.25, 1.75, 2 } } },
    { "Resize", "mode:s=linear coordinate_transformation_mode:s=align_corners", { { DT_F32, "1,3", { 1, 2, 4 } }, { 0 }, { DT_F32, "2", { 1, 0.34f } } },
      { DT_F32, "1,1", { 1 } } },
    { "Resize", "mode:s=linear coordinate_transformation_mode:s=pytorch_half_pixel", { { DT_F32, "1,3", { 1, 2, 4 } }, { 0 }, { DT_F32, "2", { 1, 0.34f } } },
      { DT_F32, "1,1", { 1 } } },
    { "Resize", "", { { DT_F32, "0,2", { 0 } }, { 0 }, { DT_F32, "2", { 1, 2 } } }, { DT_F32, "0,4", { 0 } } },
};

static int64_t count_of(const char *dims)
{
    int64_t n = 1;
    for (const char *at = dims; *at; at += strcspn(at, ","), at += *at == ',') n *= atoll(at);
    return n;
}

static Build *model_of(const Row *row)
{
    static const char *const name[] = { "x0", "x1", "x2" };
    Build *b = build_new();
    char in[16] = "";
    for (int i = 0; i < 3; i++) {
        const Numbers *x = &row->in[i];
        uint64_t data[ROOM] = { 0 };
        if (i && (x->dims || (i < 2 && row->in[2].dims))) strcat(in, ",");
        if (!x->dims) continue;
        strcat(in, name[i]);
        elements_from_f64(x->dtype, x->v, count_of(x->dims), data, 0);
        build_init(b, name[i], x->dtype, x->dims, data);
    }
    build_node(b, row->op, in, strcmp(row->op, "TopK") ? "y" : "y,at", row->attributes);
    build_output(b, "y", row->out.dtype, NULL);
    return b;
}

/* Constants are folded, by the kernels that run would use. */
static void check(const char *family, int number, const Row *row)
{
    Plan *plan = NULL;
    Model *m = NULL;
    Bytes bytes = build_finish(model_of(row), 10, 21);
    if (model_parse(bytes.at, bytes.size, &m) != OK || ops_bind(m) != OK || plan_build(m, NULL, 0, &(PlanOptions){ .threads = 1 }, &plan) != OK ||
        plan_run(plan, NULL, 0) != OK) fail_msg("%s %d, %s: %s", family, number, row->op, err_text());
    const Buffer *y = plan->out[0];
    char dims[64] = "";
    for (int i = 0; i < y->shape.rank; i++) snprintf(dims + strlen(dims), sizeof dims - strlen(dims), "%s%lld", i ? "," : "", (long long)y->shape.dim[i]);
    if (y->dtype != row->out.dtype || strcmp(dims, row->out.dims)) fail_msg("%s %d, %s: %s of %s", family, number, row->op, dtype_name(y->dtype), dims);
    double v[ROOM];
    elements_to_f64(y->dtype, y->data, 0, y->count, v);
    for (int64_t i = 0; i < y->count; i++) {
        double want = row->out.v[i];
        bool near = y->dtype == DT_F32 && fabs(v[i] - want) <= 0x1p-23 * fabs(want);       /* of float32, kernels may round the last bit otherwise */
        if (v[i] != want && !near && !(isnan(v[i]) && isnan(want)))
            fail_msg("%s %d, %s: element %lld is %.17g, expected %.17g", family, number, row->op, (long long)i, v[i], want);
    }
    plan_free(plan);
    model_free(m);
    bytes_free(bytes);
}

#define FAMILY(NAME) \
    static void test_##NAME(void **state) \
    { \
        (void)state; \
        for (size_t i = 0; i < sizeof NAME / sizeof *NAME; i++) check(#NAME, (int)i, &NAME[i]); \
    }
FAMILY(rounding) FAMILY(integers) FAMILY(not_numbers) FAMILY(empty) FAMILY(casts) FAMILY(resized)

static void test_levels(void **state)
{
    (void)state;
    for (int level = 0; level < kernels_levels(); level++) run_level(level, "one level");
}

int main(int argc, char **argv)
{
    (void)argv;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding), cmocka_unit_test(test_integers), cmocka_unit_test(test_not_numbers), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_casts), cmocka_unit_test(test_resized), cmocka_unit_test(test_levels),
    };
    const int n = (int)(sizeof tests / sizeof *tests) - (argc > 1);
    return _cmocka_run_group_tests("numbers", tests, (size_t)n, NULL, NULL);
}
