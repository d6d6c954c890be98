#include "recipes/layers.h"

Err layers_as_they_are(Arena *arena, const Survey *v, PruneResult **out)
{
    PruneResult *r = arena_alloc(arena, sizeof *r);
    PruneLayer *layer = arena_array(arena, (size_t)v->n_weight, sizeof *layer);
    if (!r || !layer) return err_set(ERR_NOMEM, "not enough memory for the layers");
    *r = (PruneResult){ .layer = layer, .n_layer = v->n_weight };
    for (int i = 0; i < v->n_weight; i++) {
        Weight *w = &v->weight[i];
        bool prunable = w->keep == KEEP_NOT;
        layer[i] = (PruneLayer){ .weight = w, .prune = prunable, .reason = prunable ? NULL : weight_keep_text(w->keep),
                                 .zeros_before = w->zeros, .zeros_wanted = w->zeros, .zeros_after = w->zeros };
        if (!prunable) continue;
        r->prunable += w->elements;
        r->zeros_before += w->zeros;
        r->zeros_after += w->zeros;
    }
    *out = r;
    return OK;
}

void layers_settle(Survey *v, const PruneResult *r)
{
    v->zeros = layers_zeros(v, r);
}

int64_t layers_macs(const Survey *v, const PruneResult *r, bool after)
{
    if (v->macs < 0) return -1;
    double saved = 0;
    for (int i = 0; i < r->n_layer; i++) {
        const PruneLayer *l = &r->layer[i];
        if (l->weight->macs < 0) return -1;
        if (l->weight->elements) saved += (double)l->weight->macs * (double)(after ? l->zeros_after : l->zeros_before) / (double)l->weight->elements;
    }
    return v->macs - (int64_t)saved;
}

int64_t layers_zeros(const Survey *v, const PruneResult *r)
{
    int64_t zeros = v->zeros;
    for (int i = 0; i < r->n_layer; i++) zeros += r->layer[i].zeros_after - r->layer[i].zeros_before;
    return zeros;
}

int layers_pruned(const PruneResult *r)
{
    int n = 0;
    for (int i = 0; i < r->n_layer; i++) n += r->layer[i].prune;
    return n;
}
