#include "engine/packs.h"
#include <string.h>
#include "engine/fuse.h"

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
    const float *scale = fused_scale(s, channels);
    const Constant *constant = b->halves ? b->halves->stored : b->stored;
    const bool other = w->w && (scale ? is_type(s, "ConvTranspose") : w->w != b->data);        /* a copy that is not fused_weights', or a part */
    if (!constant || other) return (PackKey){ 0 };
    return (PackKey){ constant, s->op, w->row, w->column, scale ? hash_of(scale, (size_t)channels * sizeof *scale) : 0 };
}

static bool same_key(const PackKey *a, const PackKey *b)
{
    return a->constant == b->constant && a->op == b->op && a->row == b->row && a->column == b->column && a->scale == b->scale;
}

static Pack *next_of(Pack *p, const PackKey *key)
{
    while (p && !same_key(&p->key, key)) p = p->next;
    return p;
}

Pack *packs_find(const Packs *packs, const PackKey *key) { return packs && key->constant ? next_of(packs->first, key) : NULL; }

bool packs_have(const Packs *packs, const PackKey *key, Variant variant)
{
    Pack *p = packs_find(packs, key);
    while (p && p->trial.variant != variant) p = next_of(p->next, key);
    return p;
}

const Packed *packs_like(const Packs *packs, const PackKey *key)
{
    const Packed *first = NULL;
    for (Pack *p = packs_find(packs, key); p; p = next_of(p->next, key)) {
        if (variant_is_winograd(p->trial.variant)) continue;
        trial_packed(&p->trial)->like = first;
        first = trial_packed(&p->trial);
    }
    return first;
}

static bool same_winograd(const Trial *a, const Trial *b)
{
    const WinogradForm *x = &a->columns.winograd.form, *y = &b->columns.winograd.form;
    return variant_is_winograd(b->variant) && x->m == y->m && x->kernel == y->kernel && x->stride == y->stride && a->bytes == b->bytes;
}

Pack *packs_owner(const Packs *packs, const PackKey *key, Trial *t)
{
    const bool winograd = variant_is_winograd(t->variant);
    for (Pack *p = packs_find(packs, key); p; p = next_of(p->next, key)) {
        if (!(winograd ? same_winograd(t, &p->trial) : trial_memory(t) == p->memory)) continue;
        trial_at(t, p->memory);
        return p;
    }
    return NULL;
}

Err packs_add(Packs *packs, const PackKey *key, size_t nonzeros, Trial *t, Pack **out)
{
    Packed *packed = variant_is_winograd(t->variant) ? NULL : trial_packed(t);
    size_t order = packed && packed->order ? (size_t)packed->groups * (size_t)packed->weights.rows * sizeof *packed->order : 0;
    Pack *p = arena_alloc(packs->arena, sizeof *p);
    char *memory = p ? arena_alloc(packs->arena, t->bytes + order) : NULL;
    if (!memory) return err_set(ERR_NOMEM, "Out of memory: %zu bytes more were wanted.", t->bytes + order);
    if (order) packed->order = memcpy(memory + t->bytes, packed->order, order);
    *p = (Pack){ .key = *key, .trial = *t, .nonzeros = nonzeros, .memory = memory, .next = packs->first };
    trial_at(&p->trial, memory);
    packs->first = p;
    *out = p;
    return OK;
}

void packs_clear(Packs *packs)
{
    packs->first = NULL;
    arena_reset(packs->arena, (ArenaMark){ 0 });
}
