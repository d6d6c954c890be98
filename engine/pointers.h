/* A map from addresses to small numbers: properties of nodes and values that only one computation needs. */
#pragma once
#include "onnx/arena.h"
#include "onnx/error.h"

typedef struct Pointers Pointers;

Err  pointers_new(Arena *arena, Pointers **out);                  /* ERR_NOMEM */
int *pointers_find(const Pointers *p, const void *key);           /* NULL if absent; valid until the next pointers_add */
/* The number of key, 0 when it was absent. ERR_NOMEM. */
Err  pointers_add(Pointers *p, const void *key, int **number);
