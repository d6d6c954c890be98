/* A map from names to objects: open addressing in an arena, grows by doubling, never shrinks. Keys are borrowed. */
#pragma once
#include "onnx/arena.h"
#include "onnx/error.h"

typedef struct NameSlot { const char *name; void *object; } NameSlot;
typedef struct Names { NameSlot *slot; size_t capacity, count; } Names;

void *names_get(const Names *names, const char *name);        /* NULL if absent */
void  names_clear(Names *names);                               /* forgets all names, keeps the memory */
/* Sets or replaces. name must live as long as the map. ERR_NOMEM. */
Err   names_put(Arena *arena, Names *names, const char *name, void *object);
