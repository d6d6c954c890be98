/* What the files of the public interface share. */
#pragma once
#include <stdatomic.h>
#include "engine/api/oneshot.h"
#include "engine/plan_cache.h"
#include "recipes/layers.h"
#include "recipes/survey.h"

enum { SIZES_MAX = 64 };

struct oneshot_model {
    Model *model;
    Arena *arena;                      /* of this struct and what it copies */
    Survey *survey;                    /* NULL until somebody needs it */
    PruneResult *layers;               /* the weights as they are, or as oneshot_prune left them */
    const Value **input; int n_input;  /* that take data */
    atomic_int plans;                  /* that run it */
    const char *size[SIZES_MAX + 1]; int n_size;
    char sha256[65];
};

oneshot_status api_status(Err e);
Err api_null(const char *what);        /* "what is NULL" */
