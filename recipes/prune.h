/* Magnitude pruning: which weights become zero, and why the others stay.
 *
 * Two steps that meet in one number per layer: allocation (a scope turns the wanted sparsity into a count of zeros for each layer) and masking (a pattern turns
 * a layer's count into zeros). prune_plan does the first and changes nothing; prune_apply does the second. Both are exact: counts are met to the element, ties
 * go to the lower position, and the result does not depend on the number of threads.
 *
 * Zeros that are there already stay and count (-0.0 too, which may become 0.0; of quantized weights the zero point). A layer with as many zeros as it was to
 * get is left alone. NaN counts as larger than everything and stays. An output channel that has weights keeps its largest unless empty_channels is set; the
 * next weights in order go instead, and only where no others are left a layer gets fewer zeros than wanted, which its reason says. */
#pragma once
#include "engine/weights.h"

typedef enum Scope {
    SCOPE_UNIFORM,     /* each layer the same sparsity, rounded so that the sum over the layers is rounded once */
    SCOPE_GLOBAL,      /* one threshold on |w| over all layers */
    SCOPE_ERK,         /* Erdos-Renyi-Kernel: density ~ (n_out + n_in + kh + kw) / (n_out n_in kh kw), arXiv 1911.11134 */
    SCOPE_LAMP,        /* score w^2 / sum of the squares not smaller, one threshold, arXiv 2010.07611 */
} Scope;

typedef struct Pattern {
    enum { PATTERN_UNSTRUCTURED, PATTERN_N_OF_M, PATTERN_BLOCK } kind;
    int n, m;          /* N_OF_M: n weights stay of every m consecutive input channels at one kernel tap; of the last C % m at most n */
    int rows, columns; /* BLOCK: rows output channels x columns input channels at one tap live or die together; at the edges smaller blocks */
} Pattern;

typedef struct LayerSparsity { const char *name; double sparsity; } LayerSparsity;

typedef struct PruneOptions {
    double sparsity;                               /* of the prunable weights, in [0,1). With N_OF_M 0, or 1 - n/m to two decimals */
    Scope scope; Pattern pattern;                  /* N_OF_M fixes every layer's count: only with SCOPE_UNIFORM */
    bool regroup;                                  /* BLOCK with rows > 1: choose the output channels that share a mask by similarity */
    bool empty_channels;                           /* allow all weights of an output channel to go */
    /* NULL-terminated lists of names, globs or "re:" regular expressions, for weights and their nodes (recipes/names.h); NULL: none. include overrides the
     * default that keeps a weight (Weight.keep), exclude keeps one, and wins over include. */
    const char *const *include, *const *exclude;
    const LayerSparsity *layer; int n_layer;       /* these layers get their own sparsity, apart from the others' budget; 0 keeps one. Wins over both lists;
                                                    * the last that matches counts */
} PruneOptions;

typedef struct PruneLayer {
    Weight *weight;
    bool    prune;
    const char *reason;            /* why not, or what was special ("odd remainder: 3 of 67 input channels stay dense"); NULL: nothing to say */
    double  sparsity;              /* asked of this layer alone by PruneOptions.layer; -1: none */
    int64_t zeros_before, zeros_wanted, zeros_after;   /* wanted: planned; after: what prune_apply counted (planned value before) */
    const int32_t *order;          /* BLOCK with regroup: the output channels in the order in which blocks take them; NULL: as stored */
} PruneLayer;

typedef struct PruneResult {
    PruneLayer *layer; int n_layer;                /* all weights of the model, in its order */
    int64_t prunable, zeros_before, zeros_after;   /* over the layers with prune set */
} PruneResult;

/* Whom to tell how far the work is: called from one thread, with the layer at hand and elements. */
typedef struct Progress { void (*tell)(void *user, const char *what, int64_t done, int64_t total); void *user; } Progress;

/* "unstructured", "2:4", "4x1" -> *p. ERR_ARG with the accepted forms. */
Err pattern_parse(const char *text, Pattern *p);
Err scope_parse(const char *text, Scope *s);

/* Decides; changes nothing. Reads the weights where the counts depend on them. The result lives in the model's arena. ERR_ARG: an option out of range, a name
 * that matches no weight, a sparsity that the pattern cannot give; ERR_NOMEM; errors of constant_fetch.
 * progress may be NULL. */
Err prune_plan(Model *m, Weight *weight, int n, const PruneOptions *o, const Progress *progress, PruneResult **out);
/* Writes the zeros (constant_edited, constant_release on each) and counts them; also into Weight.zeros. After an error some layers may be pruned already. */
Err prune_apply(Model *m, const PruneOptions *o, PruneResult *r, const Progress *progress);
