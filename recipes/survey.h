/* What is known about a model before anything is changed: shapes for assumed sizes, weights, parameters, zeros, multiply-adds.
 *
 * The first step of every job: it binds operators, infers shapes and finds the weights. Sizes that the file leaves open are assumed, so that
 * multiply-adds can be counted; every assumption is listed and can be replaced by the user's number. Assumed is:
 *   1    the first axis of an input, and any size whose name holds "batch"
 *   0    a size whose name starts with "past" (the cache of a decoder that sees its whole input at once)
 *   3    the channels, 224 the height and width, 16 the depth of an input of rank 4 or 5 (NCHW; NHWC where the last size is known and at most 4)
 *   128  everything else: sequences. */
#pragma once
#include "engine/infer.h"
#include "engine/weights.h"

typedef struct SizeChoice {
    const char *name;              /* of the symbol; "input:axis" for a size without a name */
    int64_t size;
    bool given;                    /* by the user; else assumed */
} SizeChoice;

typedef struct OperatorCount { const char *domain, *type; int count; bool known; } OperatorCount;     /* known: a local function or one of our operators */

typedef struct Survey {
    SizeChoice *size; int n_size;
    OperatorCount *op; int n_op;   /* most frequent first, equal ones by name; nodes of bodies and functions included */
    int n_node;
    Weight *weight; int n_weight;
    /* Parameters: the elements of all weights and of every other floating-point constant, each tensor once. */
    int64_t parameters, zeros;
    int64_t macs;                  /* dense multiply-adds of one inference, both branches of an If counted; -1 when a product's size is unknown */
    const char *complaint;         /* the first contradiction among shapes; NULL: none */
} Survey;

/* size: "NAME=1,3,224,224" with an input's name or "NAME=128" with a symbol's, NULL-terminated; NULL: none given.
 * ERR_ARG: a name that is neither, a size that contradicts the file; ERR_NOMEM; ERR_IO, ERR_FORMAT from refresh and constants.
 * The result lives in the model's arena. */
Err model_survey(Model *m, const char *const *size, Survey **out);
