/* What products with constant weights cost on this CPU, to choose the variant of each without running it.
 *
 *     seconds = a * multiplications * columns + b * k * columns + c * rows * columns + d * multiplications
 *
 * that is multiplying, packing X, finishing Y, and reading the weights. Multiplications are rows * k, or the nonzeros in a sparse variant; a bitmap multiplies all, and b
 * is what its rows * k bits take. The
 * coefficients of each variant are built in for each instruction set; cost_fit replaces them by what was measured (`oneshot tune`), and cost_write keeps that for
 * later runs in a file below $XDG_CACHE_HOME or ~/.cache that counts for one CPU model, instruction set and version of the program. */
#pragma once
#include "kernels/kernels.h"
#include "onnx/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum Variant {
    VARIANT_DENSE, VARIANT_WINOGRAD_2, VARIANT_WINOGRAD_4, VARIANT_SPARSE,         /* columns: engine/multiply.h, engine/winograd.h */
    VARIANT_TOKENS_DENSE, VARIANT_TOKENS_SPARSE, VARIANT_TOKENS_GATHER, VARIANT_TOKENS_BITMAP,       /* engine/tokens.h */
    VARIANTS
} Variant;
const char *variant_name(Variant variant);
static inline bool variant_is_tokens(Variant v) { return v >= VARIANT_TOKENS_DENSE; }
static inline bool variant_is_winograd(Variant v) { return v == VARIANT_WINOGRAD_2 || v == VARIANT_WINOGRAD_4; }
static inline bool variant_is_sparse(Variant v) { return v == VARIANT_SPARSE || v > VARIANT_TOKENS_DENSE; }

/* Columns are the pixels (height x width) of all images, or tokens (1 x tokens). What a variant computes beside them, up to whole tiles or registers, counts too.
 * Where tokens are gathered in pairs, a pair is a column. */
typedef struct ProductSize {
    double rows, k, nonzeros;
    int64_t batch, height, width;
    bool near;                 /* dense weights of tokens stay in the L2 cache from run to run */
    int kernel, stride;        /* along each axis, for Winograd's variants, which count what they multiply, gather, finish and read */
} ProductSize;

enum { COST_TERMS = 4 };
typedef struct Cost {
    double term[VARIANTS][COST_TERMS];    /* seconds for one of each, with one thread */
    bool   measured;                   /* on this CPU, by this version */
} Cost;

double cost_seconds(const Cost *cost, Variant variant, const ProductSize *size);

/* What was measured here, or what is built in for the instruction set. The file is read once; one that cannot be read or does not fit counts as absent. */
const Cost *cost_here(void);
/* The file, in a static buffer; "" when neither $XDG_CACHE_HOME nor $HOME is set. */
const char *cost_path(void);
/* Makes the folders above the file and finds out whether it can be written. ERR_IO. */
Err cost_check(const char *path);
Err cost_write(const Cost *cost, const char *path);
/* ERR_FORMAT for anything but a file of cost_write of this CPU, instruction set and version. */
Err cost_read(const char *path, Cost *out);

/* n measured times of one variant to coefficients: least squares of relative errors with none below 0. */
typedef struct CostSample { ProductSize size; double seconds; } CostSample;
void cost_fit(Variant variant, const CostSample *sample, int n, double term[COST_TERMS]);
