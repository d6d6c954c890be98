#include "recipes/layer.h"

Err layer_open(Model *m, PruneLayer *plan, const PruneOptions *o, const Kernels *k, Layer *l)
{
    *l = (Layer) { .plan = plan, .pattern = &o->pattern, .matrix = matrix_of(plan->weight) };
    TRY(elements_open(m, plan->weight, &l->elements));
    l->task = (MaskTask) { &l->elements, &l->matrix, k, o->empty_channels };
    return OK;
}

Err layer_close(Model *m, Layer *l, bool edited)
{
    blocks_free(&l->blocks);
    return elements_close(m, l->plan->weight, edited);
}

Err layer_units(Layer *l, Magnitudes *units)
{
    if (l->pattern->kind == PATTERN_BLOCK) {
        TRY(blocks_new(&l->task, l->pattern, l->plan->order, &l->blocks));
        *units = l->blocks.scores;
    } else
        *units = (Magnitudes) { .count = l->elements.count, .elements = &l->elements };
    return OK;
}

/* Counting needs no selection: every zero asked for can be had until the channels' last weights are in the way. */
static int64_t count_unstructured(const Layer *l, int64_t zeros)
{
    int64_t room = l->elements.count - (l->task.empty_channels ? 0 : l->matrix.rows);
    if (zeros > room && !l->task.empty_channels)
        room = l->elements.count - matrix_live_rows(&l->matrix, &l->elements);
    return zeros < room ? zeros : room;
}

Err layer_mask(Layer *l, int64_t zeros, bool write, int64_t *after)
{
    Magnitudes units;
    switch (l->pattern->kind) {
    case PATTERN_N_OF_M:
        *after = mask_n_of_m(&l->task, l->pattern->n, l->pattern->m, write);
        return OK;
    case PATTERN_BLOCK:
        TRY(layer_units(l, &units));
        return mask_blocks(&l->blocks, zeros, write, after);
    default:
        if (write)
            return mask_unstructured(&l->task, zeros, after);
        *after = count_unstructured(l, zeros);
        return OK;
    }
}

Err layer_count(Model *m, PruneLayer *plan, const PruneOptions *o, const Kernels *k, int64_t *zeros)
{
    Layer l;
    TRY(layer_open(m, plan, o, k, &l));
    Err err = layer_mask(&l, *zeros, false, zeros);
    Err closed = layer_close(m, &l, false);
    return err ? err : closed;
}

int64_t layer_room(const PruneLayer *plan, const PruneOptions *o)
{
    const Matrix m = matrix_of(plan->weight);
    int64_t unit = o->pattern.kind == PATTERN_BLOCK ? (int64_t)o->pattern.rows * o->pattern.columns : 1;
    return plan->weight->elements - (o->empty_channels ? 0 : m.rows * unit);
}
