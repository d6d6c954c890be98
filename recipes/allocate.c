#include "recipes/allocate.h"
#include "recipes/regroup.h"
#include <math.h>

int64_t zeros_at(double sparsity, int64_t n)
{
    int64_t zeros = llround(sparsity * (double)n);
    return zeros < n ? zeros : n;
}

/* Each layer its part of one running sum, so that the rounded parts add up to the rounded whole. */
void allocate_uniform(const Allocation *a, PruneLayer *const *layer, int n)
{
    int64_t elements = 0, zeros = 0;
    for (int i = 0; i < n; i++) {
        elements += layer[i]->weight->elements;
        layer[i]->zeros_wanted = zeros_at(a->options->sparsity, elements) - zeros;
        zeros += layer[i]->zeros_wanted;
    }
}

static double output_and_input(const Weight *w, double *product)
{
    const Matrix m = matrix_of(w);
    double sum = (double)m.out.count + (double)m.in.count;
    for (int i = 0; i < m.tap.n; i++)
        sum += (double)m.tap.size[i];
    *product = (double)m.out.count * (double)m.columns;
    return sum;
}

/* Weights that a layer keeps at this scale of the densities: at least one of each output channel, at most those that are not zero yet. */
static double kept_at(const Allocation *a, const PruneLayer *l, double scale)
{
    double product, sum = output_and_input(l->weight, &product), n = (double)l->weight->elements;
    double most = n - (double)l->zeros_before, least = n - (double)layer_room(l, a->options);
    double kept = scale * sum / product * n;
    return kept >= most ? most : kept < least ? fmin(least, most) : kept;
}

/* The scale at which the layers together keep what the sparsity says is found by bisection: their sum rises with it. */
void allocate_erk(const Allocation *a, PruneLayer *const *layer, int n)
{
    double total = 0, low = 0, high = 1;
    for (int i = 0; i < n; i++) {
        double product, sum = output_and_input(layer[i]->weight, &product);
        total += (double)layer[i]->weight->elements;
        high = fmax(high, product / sum);      /* here every layer is dense */
    }
    double wanted = total - round(a->options->sparsity * total);
    for (int step = 0; step < 200; step++) {
        double middle = low + (high - low) / 2, kept = 0;
        for (int i = 0; i < n; i++)
            kept += kept_at(a, layer[i], middle);
        *(kept < wanted ? &low : &high) = middle;
    }
    double kept = 0;
    int64_t rounded = 0;
    for (int i = 0; i < n; i++) {
        kept += kept_at(a, layer[i], high);
        layer[i]->zeros_wanted = layer[i]->weight->elements - (llround(kept) - rounded);
        rounded = llround(kept);
    }
}

/* What the pattern does at the edges of this layer, for the report. */
static Err describe_edges(const Allocation *a, PruneLayer *l)
{
    const Pattern *p = &a->options->pattern;
    const Matrix m = matrix_of(l->weight);
    long long in = m.in.count, out = m.out.count;
    Arena *arena = a->model->arena;
    const char *text = NULL;
    bool made = true;
    if (p->kind == PATTERN_N_OF_M && in % p->m) {
        text = arena_printf(arena, "odd remainder: of the last %lld of %lld input channels at most %d stay", in % p->m, in, p->n);
        made = text;
    } else if (p->kind == PATTERN_BLOCK && (out % p->rows || in % p->columns)) {
        text = arena_printf(arena, "odd remainder: %lld output x %lld input channels are no multiple of %dx%d, so blocks at the edge are smaller", out, in, p->rows,
                            p->columns);
        made = text;
    }
    l->reason = text;
    return made ? OK : err_set(ERR_NOMEM, "out of memory for the plan");
}

static Err regroup(const Allocation *a, PruneLayer *l)
{
    Layer x;
    TRY(layer_open(a->model, l, a->options, a->kernels, &x));
    int32_t *order = arena_array(a->model->arena, (size_t)x.matrix.rows, sizeof *order);
    if (!order || x.matrix.rows > INT32_MAX)
        return err_set(ERR_NOMEM, "out of memory for the order of %lld output channels", (long long)x.matrix.rows);
    TRY(regroup_rows(&x.elements, &x.matrix, a->options->pattern.rows, a->kernels, order));
    l->order = order;
    return layer_close(a->model, &x, false);
}

/* Turns the wanted count into the one that masking will give. *missed: what the pattern's units could not meet. */
static Err settle(const Allocation *a, PruneLayer *l, int64_t *missed)
{
    const Pattern *p = &a->options->pattern;
    int64_t wanted = l->zeros_wanted, unit = p->kind == PATTERN_BLOCK ? (int64_t)p->rows * p->columns : 1;
    *missed = 0;
    if (p->kind != PATTERN_N_OF_M && wanted <= l->zeros_before) {
        l->reason = l->zeros_before ? "already as sparse as asked" : l->reason;
        l->zeros_wanted = l->zeros_before;
        return OK;
    }
    TRY(describe_edges(a, l));
    if (p->kind == PATTERN_UNSTRUCTURED && wanted <= layer_room(l, a->options))
        return OK;
    TRY(layer_count(a->model, l, a->options, a->kernels, &l->zeros_wanted));
    if (p->kind == PATTERN_N_OF_M) {
        l->reason = l->zeros_wanted == l->zeros_before ? "has this pattern already" : l->reason;
        return OK;
    }
    *missed = wanted - l->zeros_wanted;
    if (*missed >= unit)
        l->reason = "fewer zeros than asked: every output channel keeps its largest weights";
    return OK;
}

static Err scope(const Allocation *a, PruneLayer *const *layer, int n)
{
    switch (a->options->scope) {
    case SCOPE_UNIFORM: allocate_uniform(a, layer, n); return OK;
    case SCOPE_ERK: allocate_erk(a, layer, n); return OK;
    default: return allocate_threshold(a, layer, n);
    }
}

Err allocate(const Allocation *a)
{
    PruneResult *r = a->result;
    int n = 0;
    PruneLayer **share = arena_array(a->model->arena, (size_t)r->n_layer + 1, sizeof *share);
    if (!share)
        return err_set(ERR_NOMEM, "out of memory for the plan of %d layers", r->n_layer);
    for (int i = 0; i < r->n_layer; i++) {
        PruneLayer *l = &r->layer[i];
        if (l->prune && a->options->regroup)
            TRY(regroup(a, l));
        if (l->prune && l->sparsity >= 0)
            l->zeros_wanted = zeros_at(l->sparsity, l->weight->elements);
        else if (l->prune)
            share[n++] = l;
    }
    TRY(scope(a, share, n));
    /* What blocks leave of a count, of the budget's or of one layer's, goes to the next layer. */
    int64_t elements = 0, left = 0, missed, unit = (int64_t)a->options->pattern.rows * a->options->pattern.columns;
    for (int i = 0; i < n; i++) {
        elements += share[i]->weight->elements;
        left -= share[i]->zeros_wanted;
    }
    left += zeros_at(a->options->sparsity, elements);
    left = left > 0 && left < unit ? left : 0;
    for (int i = 0; i < n; i++) {
        bool has_left = share[i]->zeros_wanted > share[i]->zeros_before;
        share[i]->zeros_wanted += has_left ? left : 0;
        TRY(settle(a, share[i], &missed));
        left = !has_left ? left : missed < unit ? missed : 0;
    }
    for (int i = 0; i < r->n_layer; i++)
        if (r->layer[i].prune && r->layer[i].sparsity >= 0)
            TRY(settle(a, &r->layer[i], &missed));
    return OK;
}
