/* One layer under the pattern asked for: what is selected from, and what becomes of a count of zeros. */
#pragma once
#include "recipes/block.h"

/* A layer whose weight is fetched. Holds pointers into itself: not to be copied. */
typedef struct Layer {
    PruneLayer *plan;
    const Pattern *pattern;
    Elements elements;
    Matrix matrix;
    MaskTask task;
    Blocks blocks;                     /* BLOCK: scored by layer_units; memory for layer_close */
} Layer;

Err layer_open(Model *m, PruneLayer *plan, const PruneOptions *o, const Kernels *k, Layer *l);
Err layer_close(Model *m, Layer *l, bool edited);

/* What lives or dies as one: the elements, or the scored blocks. Not for N_OF_M. Valid until layer_close. ERR_NOMEM. */
Err layer_units(Layer *l, Magnitudes *units);
/* Puts zeros in by the pattern; *after: how many the layer has then. write false: only counts. Any number of layers may be masked at the same time. */
Err layer_mask(Layer *l, int64_t zeros, bool write, int64_t *after);
/* Opens the layer, turns *zeros into what layer_mask would give, and closes it. */
Err layer_count(Model *m, PruneLayer *plan, const PruneOptions *o, const Kernels *k, int64_t *zeros);
/* Zeros beyond which keeping a unit of each output channel may be in the way; the number of weights if channels may be emptied. */
int64_t layer_room(const PruneLayer *plan, const PruneOptions *o);
