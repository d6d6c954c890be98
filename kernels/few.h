/* Sparse products of few tokens, sixteen rows of W side by side, one in each lane. Every nonzero is read once, which is what such a product takes time for; a panel of
 * columns would leave all lanes but those of a few tokens idle. Two forms:
 *
 * Gather: a nonzero comes with its column, and what it meets is gathered from X. Rows of a unit are sorted by their number of nonzeros, so that the rows of a group end
 * at nearly the same step (SELL-C-sigma: Kreutzer et al., SIAM J. Sci. Comput. 36, 2014). A unit are the heads of its groups of rows and, from a whole line on, their
 * steps, which follow each other.
 *
 * Bitmap: for each column of W a bit for each of sixteen rows, and nonzeros that are spread over the lanes again. Fewer bytes than with columns unless
 * nearly all weights are 0, and a step serves all tokens, but every column takes one. A unit are for each group of rows the bits of its columns, up to an even number
 * of columns, and the nonzeros column by column; behind the last one BITMAP_SLACK bytes may be read. */
#pragma once
#include "kernels/whole.h"

enum {
    FEW_LANES = 16,
    FEW_TOKENS = 4,            /* at once, at most */
    FEW_ROWS = 64,             /* of a unit, at most */
    FEW_BLOCK = 8192,          /* columns of W in a unit, at most */
    BITMAP_SLACK = 32,
};

typedef struct GatherHead {
    uint8_t  row[FEW_LANES];               /* of the unit, for each lane: all different; those beyond its last row count nothing */
    uint16_t steps;
} GatherHead;
typedef struct GatherStep { float w[FEW_LANES]; uint16_t at[FEW_LANES]; } GatherStep;      /* weights, and which column of the unit each stands in */

static inline int few_groups(int rows) { return ceil_div(rows, FEW_LANES); }
static inline size_t gather_steps_at(int groups) { return to_line((size_t)groups * sizeof(GatherHead)); }      /* bytes of a unit before its steps */

/* Element k of token t is x[t * ldx + k]; gather, where there are two or more, has tokens in pairs: x[t / 2 * ldx + 2 * k + t % 2]. */
typedef struct FewPart {
    const void *unit;
    int groups;                /* of rows */
    int k;                     /* columns of the unit */
    const float *x;            /* from the unit's first column on */
    size_t ldx;
    int tokens;                /* at most FEW_TOKENS; gather: 1 or even */
} FewPart;
