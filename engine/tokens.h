/* Products with a constant weight where every row of X is a token, Y = clamp(X * W' + bias): Gemm and MatMul.   x (tokens, k), y (tokens, features), w (features, k)
 *
 * Dense: W is packed into tiles of features and tokens are read as they lie, so nothing is copied while it runs. Sparse: as many tokens as a panel has columns are
 * transposed into one, multiplied by a stream of nonzeros and transposed back; few tokens are not worth a panel and have two forms
 * of their own (kernels/few.h). Used like engine/multiply.h; results do not depend on the number of threads. */
#pragma once
#include "engine/multiply.h"

typedef struct Tokens {
    int64_t tokens;
    Packed  packed;            /* weights' rows: features; for packed_fill before the first run */
    bool    repeated;          /* it runs many times in a row, so its weights stay in a cache that holds them: for engine/choose.h */
    int     at_once;           /* tokens of an item of work */
    int     parts, part_chunks;        /* features are cut into parts; dense: a part is a tile; of few tokens: a unit */
    int     panel_rows;        /* sparse: of the transposed panel that is kept: all K, or a block */
    bool    from_panels, to_panels;    /* sparse, set after tokens_plan: x or y (and residual) lie in panels of at_once tokens, see engine/panels.h */
    size_t  scratch;           /* bytes that tokens_run needs, for all threads */
} Tokens;

/* tokens and weights, k, kernels and threads of packed are set; computes the rest. */
void tokens_plan(Tokens *t, MultiplyForm form);
/* bias (features) or NULL; run->residual must be NULL unless y lies in panels: posts add. */
void tokens_run(const Tokens *t, const MultiplyRun *run);
