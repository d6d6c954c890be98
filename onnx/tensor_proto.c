#include "onnx/tensor_proto.h"
#include "onnx/load.h"

Err tensor_parse(Arena *arena, Span bytes, Tensor **out, const char **name)
{
    Model *shell = arena_alloc(arena, sizeof *shell);
    Constant *c;
    if (!shell) return err_set(ERR_NOMEM, "out of memory");
    shell->arena = arena;
    shell->memory_limit = SIZE_MAX;        /* the bytes are there already; typed fields grow at most eightfold */
    Loader l = { .m = shell, .arena = arena, .file = bytes.at };
    TRY(load_constant(&l, bytes, &c));
    if (c->storage == STORED_EXTERNAL) return err_set(ERR_UNSUPPORTED, "a tensor with external data is not read as a sample");
    TRY(constant_fetch(shell, c));
    if (name) *name = c->name;
    *out = &c->tensor;
    return OK;
}
