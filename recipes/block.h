/* Blocks: rows output channels x columns input channels at one kernel tap that live or die together.
 *
 * A block's score is the mean of |w|^2 over its places, so the smaller blocks at the edges compete fairly. Its cost is the number of its weights that are not zero
 * yet. Blocks are numbered by batch, group of output channels, tap and group of input channels, the last fastest; equal scores go in that order. */
#pragma once
#include "recipes/mask.h"
#include "recipes/prune.h"

typedef struct Blocks {
    const MaskTask *task;
    int rows, columns;
    const int32_t *order;              /* as in PruneLayer.order */
    int64_t out_groups, in_groups, count;
    Magnitudes scores;                 /* scores as magnitudes, with costs */
    int64_t weights;                   /* sum of the costs */
} Blocks;

/* Scores all blocks. The memory (8 bytes a block) is freed by blocks_free, also after an error. ERR_NOMEM. */
Err  blocks_new(const MaskTask *t, const Pattern *p, const int32_t *order, Blocks *b);
void blocks_free(Blocks *b);

/* Zeroes blocks of lowest score in order until the next one would make more than `zeros` elements zero; of each output channel the block of highest score that
 * holds weights of it stays, unless t->empty_channels. *after: how many are zero then. write false: only counts. */
Err mask_blocks(const Blocks *b, int64_t zeros, bool write, int64_t *after);
