/* Scope: how many zeros each layer gets. Fills zeros_wanted (and reason) of the layers with prune set; reads weights where it must. */
#pragma once
#include "recipes/prune.h"
#include "recipes/select.h"

typedef struct Allocation {
    Model *model;
    const PruneOptions *options;
    const Kernels *kernels;
    PruneResult *result;
    const Progress *progress;
} Allocation;

/* Wanted zeros of n weights at this sparsity: the nearest whole number. */
int64_t zeros_at(double sparsity, int64_t n);
Err     allocate(Allocation *a);
