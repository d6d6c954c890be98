/* Packed weights that the plans of one model share: shapes of inputs change from plan to plan, weights do not, and need not be read again. */
#pragma once
#include "engine/trial.h"
#include "onnx/model.h"

typedef struct Plan Plan; typedef struct Step Step;

/* Which weights: a constant as an operator reads it, as a matrix with these steps, its output channels times what was fused into it. */
typedef struct PackKey {
    const Constant *constant;      /* NULL: not to be shared */
    const struct Op *op;
    size_t row, column;
    uint64_t scale;                /* a hash of the factors; 0: none */
} PackKey;

/* One variant of them, packed. */
typedef struct Pack {
    PackKey key;
    Trial trial;
    size_t nonzeros;
    void *memory;                  /* what is packed, behind it the order of its rows */
    struct Pack *next;
} Pack;

typedef struct Packs { Arena *arena; Pack *first; } Packs;

/* Of the weights that input 1 of s holds, w->w: NULL, or how s reads them. */
PackKey pack_key(const Step *s, const Weights *w, int64_t channels);
/* The newest of these weights, whatever its variant; NULL: there is none. */
Pack *packs_find(const Packs *packs, const PackKey *key);
bool  packs_have(const Packs *packs, const PackKey *key, Variant variant);
/* All that are no Winograd's, linked by Packed.like. */
const Packed *packs_like(const Packs *packs, const PackKey *key);
/* Whose memory t has; for Winograd's form: takes that of the same form. NULL: nobody's. */
Pack *packs_owner(const Packs *packs, const PackKey *key, Trial *t);
/* Memory for a trial that will be packed there; t gets its order there. ERR_NOMEM. */
Err   packs_add(Packs *packs, const PackKey *key, size_t nonzeros, Trial *t, Pack **out);
/* Frees all of it; no plan that uses it may be left. */
void  packs_clear(Packs *packs);
