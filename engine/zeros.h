/* Counting what is already zero. */
#pragma once
#include "engine/weights.h"

bool zeros_countable(DType t);                     /* the type has a zero that can be written */
/* Elements that are 0 or -0. Reads and releases the constant. */
Err  zeros_of(Model *m, Constant *c, int64_t *zeros);
/* Elements of w that stand for zero: equal to the zero point where w is quantized, else 0 or -0. Reads and releases the constants. */
Err  zeros_count(Model *m, const Weight *w, int64_t *zeros);
