#include "onnx/wire.h"

Wire wire_of(Span message, const uint8_t *file)
{
    return (Wire){ .at = message.at, .end = message.size ? message.at + message.size : message.at, .file = file };
}

static bool bad(Wire *w, const uint8_t *at, const char *what)
{
    w->err = err_set(ERR_FORMAT, "byte %td: %s", at - w->file, what);
    return false;
}

static bool varint_get(Wire *w, uint64_t *value)
{
    const uint8_t *start = w->at;
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (w->at == w->end) return bad(w, start, "a number is cut off");
        uint8_t byte = *w->at++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = v;
            return true;
        }
    }
    return bad(w, start, "a number has more than ten bytes");
}

static bool fixed_get(Wire *w, size_t size, uint64_t *value)
{
    if ((size_t)(w->end - w->at) < size) return bad(w, w->at, "a number is cut off");
    *value = 0;
    for (size_t i = 0; i < size; i++) *value |= (uint64_t)w->at[i] << 8 * i;
    w->at += size;
    return true;
}

static bool tag_get(Wire *w, Field *f)
{
    const uint8_t *start = w->at;
    uint64_t tag;
    if (!varint_get(w, &tag)) return false;
    if (tag > UINT32_MAX || tag >> 3 == 0) return bad(w, start, "this is no protobuf field (so the file is damaged, or no ONNX model)");
    f->tag = (uint32_t)tag;
    f->number = f->tag >> 3;
    f->type = (WireType)(tag & 7);
    return true;
}

static bool bytes_get(Wire *w, Span *bytes)
{
    const uint8_t *start = w->at;
    uint64_t size;
    if (!varint_get(w, &size)) return false;
    if (size > (uint64_t)(w->end - w->at)) return bad(w, start, "a length passes the end of what encloses it (so the file is damaged or cut off)");
    *bytes = (Span){ w->at, (size_t)size };
    w->at += size;
    return true;
}

/* What follows a tag that does not open a group. */
static bool content_get(Wire *w, Field *f)
{
    switch (f->type) {
    case WIRE_VARINT: return varint_get(w, &f->value);
    case WIRE_FIXED64: return fixed_get(w, 8, &f->value);
    case WIRE_FIXED32: return fixed_get(w, 4, &f->value);
    case WIRE_BYTES: return bytes_get(w, &f->bytes);
    case WIRE_GROUP: case WIRE_END_GROUP: default: return bad(w, w->at, "this is no protobuf field (so the file is damaged, or no ONNX model)");
    }
}

/* Skips to the end of a group whose start tag was read, groups within it included. */
static bool group_skip(Wire *w, uint32_t number)
{
    uint32_t open[WIRE_DEPTH] = { number };
    int depth = 1;
    while (depth > 0) {
        const uint8_t *start = w->at;
        Field f = {0};
        if (!tag_get(w, &f)) return false;
        if (f.type == WIRE_GROUP) {
            if (depth == WIRE_DEPTH) return bad(w, start, "groups are nested more than 100 deep");
            open[depth++] = f.number;
        } else if (f.type == WIRE_END_GROUP) {
            if (open[--depth] != f.number) return bad(w, start, "a group ends that was not opened");
        } else if (!content_get(w, &f)) {
            return false;
        }
    }
    return true;
}

bool wire_next(Wire *w, Field *f)
{
    if (w->at == w->end || w->err) return false;
    const uint8_t *start = w->at;
    *f = (Field){0};
    if (!tag_get(w, f)) return false;
    if (!(f->type == WIRE_GROUP ? group_skip(w, f->number) : content_get(w, f))) return false;
    f->whole = (Span){ start, (size_t)(w->at - start) };
    return true;
}

Numbers numbers_of(Span message, uint32_t number, WireType type, const uint8_t *file)
{
    return (Numbers){ .message = wire_of(message, file), .packed = { .file = file }, .number = number, .type = type };
}

static bool packed_next(Numbers *n, uint64_t *value)
{
    bool got = n->type == WIRE_VARINT ? varint_get(&n->packed, value) : fixed_get(&n->packed, n->type == WIRE_FIXED32 ? 4 : 8, value);
    n->err = n->packed.err;
    return got;
}

bool numbers_next(Numbers *n, uint64_t *value)
{
    if (n->err) return false;
    if (n->packed.at != n->packed.end) return packed_next(n, value);
    for (Field f; wire_next(&n->message, &f);) {
        if (f.number != n->number) continue;
        if (f.type == n->type) {
            *value = f.value;
            return true;
        }
        if (f.type != WIRE_BYTES || f.bytes.size == 0) continue;
        n->packed = wire_of(f.bytes, n->message.file);
        return packed_next(n, value);
    }
    n->err = n->message.err;
    return false;
}

/* Elements of a packed run: varints end in a byte below 0x80. */
static size_t packed_count(Span packed, WireType type)
{
    if (type != WIRE_VARINT) return packed.size / (type == WIRE_FIXED32 ? 4 : 8);
    size_t count = 0;
    for (size_t i = 0; i < packed.size; i++) count += packed.at[i] < 0x80;
    return count;
}

Err numbers_count(Span message, uint32_t number, WireType type, const uint8_t *file, size_t *count)
{
    Wire w = wire_of(message, file);
    *count = 0;
    for (Field f; wire_next(&w, &f);) {
        if (f.number != number) continue;
        if (f.type == type) ++*count;
        else if (f.type == WIRE_BYTES) *count += packed_count(f.bytes, type);
    }
    return w.err;
}

size_t varint_put(uint8_t *at, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) at[n++] = (uint8_t)(value | 0x80);
    at[n++] = (uint8_t)value;
    return n;
}
