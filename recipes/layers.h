/* Sums over the layers of a model, before and after pruning. */
#pragma once
#include "recipes/prune.h"
#include "recipes/survey.h"

/* The weights as the layers of a job that changes nothing: prune says whether they are pruned by default, reason why not. In the arena. ERR_NOMEM. */
Err layers_as_they_are(Arena *arena, const Survey *v, PruneResult **out);
/* After prune_apply: brings the survey's zeros up to what is there now. */
void layers_settle(Survey *v, const PruneResult *r);
/* Multiply-adds that are left when zero weights cost nothing; -1: unknown. after: by zeros_after, else by zeros_before. */
int64_t layers_macs(const Survey *v, const PruneResult *r, bool after);
/* Zeros among all parameters after the job that the survey came before. */
int64_t layers_zeros(const Survey *v, const PruneResult *r);
int     layers_pruned(const PruneResult *r);
