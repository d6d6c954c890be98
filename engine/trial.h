/* A product with constant weights in one of its variants: planned, packed and run in one way, whether it is tried, timed or kept. */
#pragma once
#include "engine/cost.h"
#include "engine/tokens.h"
#include "engine/winograd.h"

/* Conv and ConvTranspose: pixels are columns. */
typedef struct Columns {
    Variant  variant;
    Multiply multiply;         /* dense, sparse */
    Winograd winograd;
    size_t   scratch;          /* bytes that columns_run needs */
} Columns;
void columns_run(const Columns *c, const MultiplyRun *run);

/* What is multiplied: columns with these kernels and threads, or tokens, which name theirs; the variant says which. */
typedef struct Product { const MultiplyShape *columns; const Tokens *tokens; const Kernels *kernels; int threads; } Product;

typedef struct Trial {
    Variant variant;
    Columns columns;           /* one of both */
    Tokens  tokens;
    size_t  bytes, scratch;    /* for trial_pack, for trial_run */
} Trial;

void trial_plan(const Product *p, Variant variant, Trial *out);
/* Into memory of t->bytes bytes (64-byte aligned), which is used until the last run. */
void trial_pack(Trial *t, void *memory);
/* What was packed elsewhere, with the same layout, lies in `memory` now. */
void trial_at(Trial *t, void *memory);
Packed *trial_packed(Trial *t);                /* of any variant but Winograd's */
void *trial_memory(Trial *t);                  /* where it is packed; NULL: it is not */
void trial_run(const Trial *t, const MultiplyRun *run);
