/* Measuring what products cost on this CPU, for engine/cost.h. */
#pragma once
#include "engine/cost.h"
#include "onnx/arena.h"

typedef struct TuneLine { Variant variant; CostSample sample; double predicted; } TuneLine;    /* predicted: by the coefficients that came out */
typedef struct Tuning {
    Cost cost;                 /* the result */
    TuneLine *line; int n;     /* what was measured, in arena */
} Tuning;

/* Runs products of common sizes and sparsities with one thread, each several times, for a few seconds, and fits. step(user, done, of) is called after each
 * product. ERR_NOMEM, ERR_ARG for an instruction set that does not run here. */
Err tune(Arena *arena, void (*step)(void *user, int done, int of), void *user, Tuning *out);
