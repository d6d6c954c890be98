#include "onnx/rope.h"
#include <string.h>

static Err push(Rope *r, Span bytes)
{
    Span *list = arena_grow(r->arena, r->piece, r->n, sizeof *list);
    if (!list) return err_set(ERR_NOMEM, "out of memory while encoding the model");
    r->piece = list;
    list[r->n++] = bytes;
    return OK;
}

Err rope_add(Rope *r, Span bytes)
{
    if (bytes.size == 0) return OK;
    r->size += bytes.size;
    Span *last = r->n ? &r->piece[r->n - 1] : NULL;
    if (!last || !last->at || last->at + last->size != bytes.at) return push(r, bytes);
    last->size += bytes.size;
    return OK;
}

Err rope_copy(Rope *r, const void *bytes, size_t size)
{
    char *copy = arena_strndup(r->arena, bytes, size);
    if (!copy) return err_set(ERR_NOMEM, "out of memory while encoding the model");
    return rope_add(r, (Span){ (const uint8_t *)copy, size });
}

Err rope_varint(Rope *r, uint32_t number, uint64_t value)
{
    uint8_t bytes[2 * VARINT_MAX];
    size_t n = varint_put(bytes, WIRE_TAG(number, WIRE_VARINT));
    return rope_copy(r, bytes, n + varint_put(bytes + n, value));
}

static Err head(Rope *r, uint32_t number, size_t size)
{
    uint8_t bytes[2 * VARINT_MAX];
    size_t n = varint_put(bytes, WIRE_TAG(number, WIRE_BYTES));
    return rope_copy(r, bytes, n + varint_put(bytes + n, size));
}

Err rope_text(Rope *r, uint32_t number, const char *text)
{
    size_t size = strlen(text);
    TRY(head(r, number, size));
    return rope_copy(r, text, size);
}

Err rope_bytes(Rope *r, uint32_t number, Span bytes)
{
    TRY(head(r, number, bytes.size));
    return rope_add(r, bytes);
}

Err rope_open(Rope *r, uint32_t number, RopeMark *mark)
{
    *mark = (RopeMark){ .piece = r->n, .size = r->size, .tag = WIRE_TAG(number, WIRE_BYTES) };
    return push(r, (Span){0});
}

Err rope_close(Rope *r, const RopeMark *mark)
{
    uint8_t bytes[2 * VARINT_MAX];
    size_t n = varint_put(bytes, mark->tag);
    n += varint_put(bytes + n, r->size - mark->size);
    char *copy = arena_strndup(r->arena, (const char *)bytes, n);
    if (!copy) return err_set(ERR_NOMEM, "out of memory while encoding the model");
    r->piece[mark->piece] = (Span){ (const uint8_t *)copy, n };
    r->size += n;
    return OK;
}
