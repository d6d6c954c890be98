/* Operators written for float and double run on float16 and bfloat16 through this: operands become double, results are rounded once. */
#pragma once
#include "engine/plan.h"

/* True when the step has float16 or bfloat16 operands; *e is then what widen_prep gave and the caller returns it:
 *     Err e;
 *     if (widened(plan, s, softmax_prep, &e)) return e; */
bool widened(Plan *plan, Step *s, Err (*prep)(Plan *, Step *), Err *e);
