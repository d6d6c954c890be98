#include "engine/packs.h"
#include <string.h>
#include "engine/fuse.h"
#include "onnx/arena.h"

/* Fowler, Noll and Vo's, 64 bits. */
static uint64_t hash_of(const void *data, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const uint8_t *at = data, *end = at + bytes; at < end; at++) hash = (hash ^ *at) * 0x100000001b3u;
    return hash;
}

PackKey pack_key(const Step *s, const Weights *w, int64_t channels)
{
    const Buffer *b = s->in[1];
    const float *first = b->data, *scale = fused_scale(s, channels);
    const Constant *constant = b->halves ? b->halves->stored : b->stored;
    const bool inside = w->w >= first && w->w < first + b->count;      /* not a copy that was made of them; with factors it is one that fused_weights made */
    if (!constant || (scale ? is_type(s, "ConvTranspose") : !inside)) return (PackKey){ 0 };
    return (PackKey){ constant, s->op, scale ? 0 : (size_t)(w->w - first), w->row, w->column, scale ? hash_of(scale, (size_t)channels * sizeof *scale) : 0 };
}

static bool same_key(const PackKey *a, const PackKey *b)
{
    return a->constant == b->constant && a->op == b->op && a->offset == b->offset && a->row == b->row && a->column == b->column && a->scale == b->scale;
}

static bool same_layout(const Trial *a, const Trial *b)
{
    if (a->variant != b->variant || a->bytes != b->bytes) return false;
    if (variant_is_winograd(a->variant)) return !memcmp(&a->columns.winograd.form, &b->columns.winograd.form, sizeof a->columns.winograd.form);
    const Packed *x = trial_packed(a), *y = trial_packed(b);
    return x->width == y->width && x->block == y->block && x->chunk_rows == y->chunk_rows && x->groups == y->groups && x->k == y->k &&
           x->weights.rows == y->weights.rows && !x->order == !y->order;
}

Pack *packs_take(const Packs *packs, const PackKey *key, Trial *t)
{
    for (Pack *p = packs->first; p; p = p->next) {
        if (!same_key(&p->key, key) || !same_layout(&p->trial, t)) continue;
        trial_at(t, p->memory);
        return p;
    }
    return NULL;
}

Err packs_add(Packs *packs, const PackKey *key, const Trial *t, Pack **out)
{
    Pack *p = block_new(sizeof *p);
    void *memory = p ? block_new(t->bytes) : NULL;
    if (!memory) {
        block_free(p);
        return err_set(ERR_NOMEM, "Out of memory: %zu bytes more were wanted.", t->bytes);
    }
    *p = (Pack){ .key = *key, .trial = *t, .memory = memory, .next = packs->first };
    packs->first = p;
    packs->bytes += t->bytes;
    *out = p;
    return OK;
}

void packs_sweep(Packs *packs)
{
    for (Pack **at = &packs->first, *p; (p = *at);) {
        if (p->users) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        packs->bytes -= p->trial.bytes;
        block_free(p->memory);
        block_free(p);
    }
}
