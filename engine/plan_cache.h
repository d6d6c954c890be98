/* Plans of one model for the input shapes that were used last: whoever runs samples of several sizes asks here before each run. */
#pragma once
#include "engine/plan.h"

typedef struct PlanCache PlanCache;
enum { PLANS_KEPT = 8 };

/* Keeps at most `most` plans (0: PLANS_KEPT), and fewer when all together would pass options->memory_limit. Needs ops_bind; the model and its inputs, which are
 * those of plan_inputs, must live and stay unchanged until plan_cache_free. One cache is used by one thread at a time; caches of one model by as many as like. */
Err  plan_cache_new(Model *m, const Value *const *input, int n, int most, const PlanOptions *options, PlanCache **out);
void plan_cache_free(PlanCache *c);            /* and its plans; NULL is allowed */
/* The plan for inputs of these types and shapes: a kept one, or a new one, for which the one that was used longest ago is freed. Valid until the next call.
 * Errors are those of plan_build. */
Err  plan_cache_get(PlanCache *c, const Tensor *in, Plan **out);
int  plan_cache_count(const PlanCache *c);     /* plans that are kept now */
