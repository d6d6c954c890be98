/* Counting what is already zero. */
#pragma once
#include "engine/weights.h"

bool zeros_countable(DType t);                     /* the type has a zero that can be written */
/* Elements of w that stand for zero: equal to the zero point where w is quantized, else 0 or -0. Fetches and releases the constants. */
Err  zeros_count(Model *m, const Weight *w, int64_t *zeros);
