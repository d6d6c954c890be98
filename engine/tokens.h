/* Products with a constant weight where every row of X is a token, Y = clamp(X * W' + bias): Gemm and MatMul.   x (tokens, k), y (tokens, features), w (features, k)
 *
 * Dense: W is packed into tiles of 16 features and tokens are read as they lie, so nothing is copied while it runs. Sparse: 64 tokens at a time are transposed
 * into a panel, multiplied by a stream of nonzeros and transposed back. Used like engine/multiply.h; results do not depend on the number of threads. */
#pragma once
#include "engine/multiply.h"

typedef struct Tokens {
    int64_t tokens;
    int     k;
    Weights weights;           /* rows: features */
    const Kernels *kernels;
    bool    sparse;
    int     threads;
    int     block, blocks;     /* of k */
    int     parts, part_rows;  /* sparse: features are cut into parts; dense: a part is a tile */
    size_t  bytes, scratch;    /* packed weights; what tokens_run needs, for all threads */
    char   *packed;
    size_t *at;                /* where (part, block) begins; in `packed` */
} Tokens;

/* tokens, k, weights, kernels and threads of *t are set; computes the rest. */
void tokens_plan(Tokens *t, MultiplyChoice choice);
void tokens_pack(Tokens *t, void *memory);                     /* t->bytes, used until the last run */
/* bias (features) or NULL; run->residual must be NULL: posts add. */
void tokens_run(const Tokens *t, const MultiplyRun *run);
