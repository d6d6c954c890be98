/* Any bytes as a NumPy array and as an archive of arrays: refused with a reason, or read, and then every byte of every array is there. */
#include "recipes/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_LIMIT = 1 << 22 };

static volatile unsigned sum;

static void touch(const Tensor *t)
{
    for (size_t i = 0; i < t->bytes; i++) sum = sum + ((const uint8_t *)t->data)[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Span bytes = { data, size };
    Tensor one;
    Array *all;
    int n;
    Arena *arena = arena_new();
    if (npy_parse(bytes, &one) == OK) touch(&one);
    if (arena && npz_parse(arena, bytes, MEMORY_LIMIT, &all, &n) == OK)
        for (int i = 0; i < n; i++) touch(&all[i].tensor);
    arena_free(arena);
    return 0;
}
