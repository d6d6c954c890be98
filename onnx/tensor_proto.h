/* A TensorProto as a file of its own: how ONNX keeps test data (input_0.pb). */
#pragma once
#include "onnx/model.h"

/* bytes must outlive a tensor of strings; other elements are copied into the arena. name may be NULL.
 * ERR_FORMAT; ERR_UNSUPPORTED for external data. */
Err tensor_parse(Arena *arena, Span bytes, Tensor **out, const char **name);
