/* Inputs for a model where there are no samples. */
#pragma once
#include "onnx/model.h"

/* A tensor for input v: floats uniform in [0,1), integers uniform in [0, whole) or, when whole is 0, all 1. Advances *state. ERR_ARG when v is no tensor
 * or the shape is not known. */
Err random_input(Arena *arena, const Value *v, const Shape *shape, int64_t whole, uint64_t *state, Tensor *out);
