#include "recipes/allocate.h"
#include "recipes/mask.h"
#include <math.h>

int64_t zeros_at(double sparsity, int64_t n)
{
    int64_t zeros = llround(sparsity * (double)n);
    return zeros < n ? zeros : n;
}

/* Layers that share the budget: to be pruned, and not asked for a sparsity of their own. */
static bool shares(const PruneLayer *l) { return l->prune && l->sparsity < 0; }

/* Each layer its part of one running sum, so that the rounded parts add up to the rounded whole. */
static void uniform(Allocation *a)
{
    int64_t elements = 0, zeros = 0;
    for (int i = 0; i < a->result->n_layer; i++) {
        PruneLayer *l = &a->result->layer[i];
        if (!shares(l))
            continue;
        elements += l->weight->elements;
        l->zeros_wanted = zeros_at(a->options->sparsity, elements) - zeros;
        zeros += l->zeros_wanted;
    }
}

static Err live_rows(Allocation *a, const Weight *w, int64_t *rows)
{
    Elements e;
    TRY(elements_open(a->model, w, &e));
    Matrix m = matrix_of(w);
    *rows = matrix_live_rows(&m, &e);
    return elements_close(a->model, w, false);
}

/* Corrects a layer's count by what it has and by what must stay. */
static Err bound(Allocation *a, PruneLayer *l)
{
    const Weight *w = l->weight;
    if (l->zeros_wanted <= l->zeros_before) {
        if (l->zeros_before > 0)
            l->reason = "already as sparse as asked";
        l->zeros_wanted = l->zeros_before;
        return OK;
    }
    Matrix m = matrix_of(w);
    if (a->options->empty_channels || l->zeros_wanted <= w->elements - m.rows)
        return OK;
    int64_t rows;
    TRY(live_rows(a, w, &rows));
    if (l->zeros_wanted > w->elements - rows) {
        l->zeros_wanted = w->elements - rows;
        l->reason = "fewer zeros than asked: every output channel keeps one weight";
    }
    return OK;
}

Err allocate(Allocation *a)
{
    PruneResult *r = a->result;
    for (int i = 0; i < r->n_layer; i++)
        if (r->layer[i].prune && r->layer[i].sparsity >= 0)
            r->layer[i].zeros_wanted = zeros_at(r->layer[i].sparsity, r->layer[i].weight->elements);
    uniform(a);
    for (int i = 0; i < r->n_layer; i++)
        if (r->layer[i].prune)
            TRY(bound(a, &r->layer[i]));
    return OK;
}
