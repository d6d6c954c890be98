/* Packed weights that the plans of one model share: shapes of inputs change from plan to plan, weights do not. */
#pragma once
#include "engine/trial.h"
#include "onnx/model.h"

typedef struct Plan Plan; typedef struct Step Step;

/* Which weights: a constant as an operator reads it, from byte `offset` on as a matrix with these steps, its rows or columns times what was fused into it. */
typedef struct PackKey {
    const Constant *constant;      /* NULL: not to be shared */
    const struct Op *op;
    size_t offset, row, column;
    uint64_t scale;                /* a hash of the factors; 0: none */
} PackKey;

/* One variant of them, packed. */
typedef struct Pack {
    PackKey key;
    Trial trial;
    void *memory;
    int users;                     /* plans that run it */
    struct Pack *next;
} Pack;

typedef struct Packs { Pack *first; size_t bytes; } Packs;         /* bytes: of all memory */

PackKey pack_key(const Step *s, const Weights *w, int64_t channels);
/* A product of these weights that takes them as they are packed there, if trial_plan gave it the same layout: then t has its memory. NULL: there is none. */
Pack *packs_take(const Packs *packs, const PackKey *key, Trial *t);
/* Memory of t->bytes bytes for a trial that will be packed there. ERR_NOMEM. */
Err   packs_add(Packs *packs, const PackKey *key, const Trial *t, Pack **out);
/* Frees what no plan uses. */
void  packs_sweep(Packs *packs);
