/* Products with a constant weight in the variant that is fastest here, chosen when a plan is made.
 *
 * engine/cost.h says what each variant should take. Where that was not measured on this CPU and two variants are close, they are run against each other; another
 * plan may then choose otherwise, and its results differ in their last bits. Dense always stands for election, so zeros never make a layer slower beyond noise. */
#pragma once
#include "engine/plan.h"
#include "engine/trial.h"

/* Sets nonzeros and like. Weights of NULL stand for input 1 with what was fused into it, channels first: it is read only if another plan has not packed it. */
Err columns_start(Plan *plan, Step *s, MultiplyShape *shape);
/* Then chooses and packs. s->variant tells what was chosen and why; s->scratch_bytes grows by c->scratch, which lies at its end. */
Err columns_prepare(Plan *plan, Step *s, MultiplyShape *shape, Columns *c);

/* Gemm and MatMul: as tokens_plan and packed_fill, which `t` is ready for. Weights of NULL stand for input 1 with channels along `axis`. */
Err tokens_prepare(Plan *plan, Step *s, int axis, Tokens *t);
