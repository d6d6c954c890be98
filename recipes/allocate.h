/* Scope: how many zeros each layer gets. */
#pragma once
#include "recipes/layer.h"

typedef struct Allocation {
    Model *model;
    const PruneOptions *options;
    const Kernels *kernels;
    PruneResult *result;
    const Progress *progress;
} Allocation;

/* Fills zeros_wanted, reason and order of the layers with prune set; reads weights where it must. ERR_NOMEM, errors of constant_fetch. */
Err allocate(const Allocation *a);

/* The scopes. Each writes zeros_wanted of the n layers that share the budget, without regard to the rounding of blocks. */
void allocate_uniform(const Allocation *a, PruneLayer *const *layer, int n);
void allocate_erk(const Allocation *a, PruneLayer *const *layer, int n);
Err  allocate_threshold(const Allocation *a, PruneLayer *const *layer, int n);     /* global and LAMP */

/* The nearest whole number of zeros for n weights. */
int64_t zeros_at(double sparsity, int64_t n);
