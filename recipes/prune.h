/* Magnitude pruning: which weights become zero, and why the others stay.
 *
 * Two steps that meet in one number per layer: allocation (a scope turns the wanted sparsity into a count of zeros for each layer) and masking (a pattern turns
 * a layer's count into zeros). prune_plan does the first and reads only; prune_apply does the second. Both are exact: counts are met to the element, ties
 * go to the lower position, and the result does not depend on the number of threads. */
#pragma once
#include "engine/weights.h"

typedef enum Scope {
    SCOPE_UNIFORM,     /* each layer the same sparsity */
    SCOPE_GLOBAL,      /* one threshold on |w| over all layers */
    SCOPE_ERK,         /* Erdos-Renyi-Kernel: density ~ (n_out + n_in + kh + kw) / (n_out n_in kh kw), arXiv 1911.11134 */
    SCOPE_LAMP,        /* score w^2 / sum of the squares not smaller, one threshold, arXiv 2010.07611 */
} Scope;

typedef struct Pattern {
    enum { PATTERN_UNSTRUCTURED, PATTERN_N_OF_M, PATTERN_BLOCK } kind;
    int n, m;          /* N_OF_M: n weights stay of every m consecutive input channels at one kernel tap */
    int rows, columns; /* BLOCK: rows output channels x columns input channels at one tap live or die together */
} Pattern;

typedef struct LayerSparsity { const char *name; double sparsity; } LayerSparsity;

typedef struct PruneOptions {
    double sparsity;                               /* of the prunable weights, in [0,1) */
    Scope scope; Pattern pattern;
    bool regroup;                                  /* BLOCK with rows > 1: choose the output channels that share a mask by similarity */
    bool empty_channels;                           /* allow all weights of an output channel to go */
    const char *const *include, *const *exclude;   /* NULL-terminated globs, or "re:" regular expressions, on weight and node names; NULL: none */
    const LayerSparsity *layer; int n_layer;       /* overrides, by the same names */
} PruneOptions;

typedef struct PruneLayer {
    Weight *weight;
    bool    prune;
    const char *reason;            /* why not, or what was special ("odd remainder: 3 of 67 input channels stay dense"); NULL: nothing to say */
    int64_t zeros_before, zeros_wanted, zeros_after;   /* wanted: planned; after: set by prune_apply (planned value before) */
} PruneLayer;

typedef struct PruneResult {
    PruneLayer *layer; int n_layer;                /* all weights of the model, in its order */
    int64_t prunable, zeros_before, zeros_after;   /* over the layers with prune set */
} PruneResult;

/* "unstructured", "2:4", "4x1" -> *p. ERR_ARG with the accepted forms. */
Err pattern_parse(const char *text, Pattern *p);
Err scope_parse(const char *text, Scope *s);

/* Decides; changes nothing. ERR_ARG: an option out of range, a name that matches no weight, a sparsity that the pattern cannot give.
 * progress may be NULL; it is called from one thread with (user, done, total) in elements. */
typedef void Progress(void *user, const char *what, int64_t done, int64_t total);
Err prune_plan(Model *m, Weight *weight, int n, const PruneOptions *o, Progress *progress, void *user, PruneResult **out);
/* Writes the zeros (constant_edited, constant_release on each) and counts them. */
Err prune_apply(Model *m, const PruneOptions *o, PruneResult *r, Progress *progress, void *user);
