#include "onnx/names.h"
#include <stdint.h>
#include <string.h>

enum { FIRST_CAPACITY = 16 };      /* a power of two; at most half of the slots are used */

static size_t hash(const char *name)           /* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x100000001b3;
    return (size_t)(h ^ h >> 32);
}

/* The slot that holds name, or the free one where it belongs. */
static NameSlot *find(NameSlot *slot, size_t capacity, const char *name)
{
    size_t i = hash(name) & (capacity - 1);
    while (slot[i].name && strcmp(slot[i].name, name) != 0) i = (i + 1) & (capacity - 1);
    return &slot[i];
}

void *names_get(const Names *names, const char *name)
{
    return names->count ? find(names->slot, names->capacity, name)->object : NULL;
}

void names_clear(Names *names)
{
    if (names->capacity > 0) memset(names->slot, 0, names->capacity * sizeof *names->slot);
    names->count = 0;
}

static Err grow(Arena *arena, Names *names)
{
    size_t capacity = names->capacity ? names->capacity * 2 : FIRST_CAPACITY;
    NameSlot *slot = arena_array(arena, capacity, sizeof *slot);
    if (!slot) return err_set(ERR_NOMEM, "out of memory for %zu names", capacity);
    for (size_t i = 0; i < names->capacity; i++)
        if (names->slot[i].name) *find(slot, capacity, names->slot[i].name) = names->slot[i];
    names->slot = slot;
    names->capacity = capacity;
    return OK;
}

Err names_put(Arena *arena, Names *names, const char *name, void *object)
{
    if (names->count * 2 >= names->capacity) TRY(grow(arena, names));
    NameSlot *slot = find(names->slot, names->capacity, name);
    if (!slot->name) names->count++;
    *slot = (NameSlot){ name, object };
    return OK;
}
