#include "onnx/tensor_proto.h"
#include "onnx/load.h"
#include "onnx/mapping.h"
#include <string.h>

/* Fetched elements live in blocks of the model's; a tensor alone has only its arena. Strings are there already. */
static Err keep_in_arena(Arena *arena, Model *shell, Tensor *t)
{
    void *copy = shell->mapping ? arena_alloc(arena, t->bytes) : t->data;
    if (copy && copy != t->data) memcpy(copy, t->data, t->bytes);
    for (Mapping *mapping = shell->mapping; mapping; mapping = mapping->next) mapping_clear(mapping);
    t->data = copy;
    return copy ? OK : err_set(ERR_NOMEM, "out of memory for a tensor of %zu bytes", t->bytes);
}

Err tensor_parse(Arena *arena, Span bytes, Tensor **out, const char **name)
{
    Model *shell = arena_alloc(arena, sizeof *shell);
    Constant *c;
    if (!shell) return err_set(ERR_NOMEM, "out of memory");
    shell->arena = arena;
    shell->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    shell->memory_limit = SIZE_MAX;        /* the bytes are there already; typed fields grow at most eightfold */
    Loader l = { .m = shell, .arena = arena, .file = bytes.at };
    TRY(load_constant(&l, bytes, &c));
    if (c->storage == STORED_EXTERNAL) return err_set(ERR_UNSUPPORTED, "a tensor with external data is not read as a sample");
    TRY(constant_fetch(shell, c));
    TRY(keep_in_arena(arena, shell, &c->tensor));
    if (name) *name = c->name;
    *out = &c->tensor;
    return OK;
}
