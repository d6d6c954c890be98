/* Open addressing with a table that doubles; at most half of it is used. */
#include "engine/pointers.h"
#include <stdint.h>

typedef struct Entry { const void *key; int number; } Entry;
struct Pointers { Arena *arena; Entry *entry; size_t size, used; };

Err pointers_new(Arena *arena, Pointers **out)
{
    Pointers *p = arena_alloc(arena, sizeof *p);
    if (!p) return err_set(ERR_NOMEM, "out of memory");
    *p = (Pointers){ .arena = arena, .size = 64 };
    p->entry = arena_array(arena, p->size, sizeof *p->entry);
    if (!p->entry) return err_set(ERR_NOMEM, "out of memory");
    *out = p;
    return OK;
}

static Entry *entry_of(Entry *table, size_t size, const void *key)
{
    size_t i = (size_t)(((uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15u) >> 20) & (size - 1);
    while (table[i].key && table[i].key != key) i = (i + 1) & (size - 1);
    return &table[i];
}

int *pointers_find(const Pointers *p, const void *key)
{
    Entry *e = entry_of(p->entry, p->size, key);
    return e->key ? &e->number : NULL;
}

static Err grow(Pointers *p)
{
    Entry *table = arena_array(p->arena, 2 * p->size, sizeof *table);
    if (!table) return err_set(ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < p->size; i++)
        if (p->entry[i].key) *entry_of(table, 2 * p->size, p->entry[i].key) = p->entry[i];
    p->entry = table;
    p->size *= 2;
    return OK;
}

Err pointers_add(Pointers *p, const void *key, int **number)
{
    if (2 * (p->used + 1) > p->size) TRY(grow(p));
    Entry *e = entry_of(p->entry, p->size, key);
    if (!e->key) p->used++;
    e->key = key;
    *number = &e->number;
    return OK;
}
