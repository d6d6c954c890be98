/* A sparse product of few tokens, sixteen rows of W side by side, one in each lane: every nonzero is read once, and what it meets is gathered from X, which stays in an
 * L1 cache. A panel of columns would leave all lanes but those of a few tokens idle.
 *
 * A unit of weights (weights_pack_gather) are the heads of its groups of rows and then, from a whole line on, their steps, which follow each other. Rows are sorted
 * by their number of nonzeros, so that the rows of a group end at nearly the same step (SELL-C-sigma: Kreutzer et al., SIAM J. Sci. Comput. 36, 2014). */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
    GATHER_LANES = 16,
    GATHER_TOKENS = 4,         /* at once, at most */
    GATHER_ROWS = 64,          /* of a unit, at most */
    GATHER_BLOCK = 8192,       /* columns of W in a unit, at most */
};

typedef struct GatherHead {
    uint8_t  row[GATHER_LANES];            /* of the unit, for each lane: all different; those beyond its last row count nothing */
    uint16_t steps;
} GatherHead;
typedef struct GatherStep { float w[GATHER_LANES]; uint16_t at[GATHER_LANES]; } GatherStep;        /* weights, and which column of the unit each stands in */

/* x: one token as it lies, or tokens in pairs: element k of token t is x[(t / 2 * k_all + k) * 2 + t % 2]. */
typedef struct GatherPart {
    const GatherHead *head;
    int heads;
    const GatherStep *step;
    const float *x;            /* from the unit's first column on */
    int pairs;                 /* of tokens, at most GATHER_TOKENS / 2; 0: one token */
    size_t k_all;              /* elements of a token, where there are pairs */
} GatherPart;

static inline int gather_heads(int rows) { return (rows + GATHER_LANES - 1) / GATHER_LANES; }
static inline size_t gather_steps_at(int heads) { return ((size_t)heads * sizeof(GatherHead) + 63) / 64 * 64; }        /* bytes of a unit before its steps */
