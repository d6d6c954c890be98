/* Strings between ONNX (UTF-8) and NumPy ('<U' arrays). */
#pragma once
#include "onnx/model.h"

/* A tensor of strings (Span) as NumPy's elements: UTF-32, bytes / elements / 4 code points each. ERR_UNSUPPORTED for what is no UTF-8; ERR_NOMEM. */
Err text_pack(Arena *arena, const Tensor *strings, Tensor *out);
