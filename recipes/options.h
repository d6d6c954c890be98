/* Checks PruneOptions against a model's weights and decides which layers are pruned at all. */
#pragma once
#include "recipes/prune.h"

/* Ranges, what goes together, and that every name names something. ERR_ARG. */
Err options_check(const PruneOptions *o, const Weight *weight, int n);
/* Sets prune, reason and sparsity of a layer whose weight is set. */
Err options_choose(const PruneOptions *o, PruneLayer *l);
