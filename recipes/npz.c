/* NumPy's files.   https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html , zip: PKWARE APPNOTE.TXT 4.3 */
#include "recipes/samples.h"
#include "recipes/text.h"
#include "kernels/whole.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "onnx/file.h"
#include "onnx/wire.h"

static const struct { DType type; const char *name; } NUMPY[] = {
    { DT_F32, "<f4" }, { DT_F64, "<f8" }, { DT_F16, "<f2" }, { DT_I8, "|i1" }, { DT_U8, "|u1" },
    { DT_I16, "<i2" }, { DT_U16, "<u2" }, { DT_I32, "<i4" }, { DT_U32, "<u4" },
    { DT_I64, "<i8" }, { DT_U64, "<u8" }, { DT_BOOL, "|b1" }, { DT_C64, "<c8" }, { DT_C128, "<c16" },
};

static uint32_t get(const uint8_t *at, int bytes)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint32_t)at[i] << 8 * i;
    return v;
}

/* The header is a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } with any blanks, keys in any order. */
typedef struct Cursor { const char *at; } Cursor;

static void blanks(Cursor *c) { while (*c->at == ' ' || *c->at == '\n' || *c->at == '\t') c->at++; }

static bool take(Cursor *c, const char *word)
{
    blanks(c);
    size_t n = strlen(word);
    if (strncmp(c->at, word, n)) return false;
    c->at += n;
    return true;
}

static bool quoted(Cursor *c, char text[32])
{
    blanks(c);
    char q = *c->at;
    if (q != '\'' && q != '"') return false;
    size_t n = strcspn(++c->at, "'\"");
    if (n >= 32 || c->at[n] != q) return false;
    memcpy(text, c->at, n);
    text[n] = 0;
    c->at += n + 1;
    return true;
}

static bool shape_tuple(Cursor *c, Shape *s)
{
    if (!take(c, "(")) return false;
    for (s->rank = 0; !take(c, ")"); s->rank++) {
        char *end;
        blanks(c);
        if (s->rank == MAX_RANK || *c->at < '0' || *c->at > '9') return false;
        s->dim[s->rank] = strtoll(c->at, &end, 10);
        if (end - c->at > 18) return false;
        c->at = end;
        bool comma = take(c, ",");         /* (3) is a number, (3,) a tuple */
        if (!comma && (s->rank == 0 || (blanks(c), *c->at != ')'))) return false;
    }
    return true;
}

/* text ends with a NUL at `size`; one before that is refused like any other byte. */
static bool header(const char *text, size_t size, char descr[32], bool *fortran, Shape *shape)
{
    Cursor c = { text };
    int seen = 0, part;
    if (!take(&c, "{")) return false;
    for (; !take(&c, "}"); seen |= part) {
        char key[32];
        if (!quoted(&c, key) || !take(&c, ":")) return false;
        if (!strcmp(key, "descr")) { if (!quoted(&c, descr)) return false; part = 1; }
        else if (!strcmp(key, "fortran_order")) { *fortran = take(&c, "True"); if (!*fortran && !take(&c, "False")) return false; part = 2; }
        else if (!strcmp(key, "shape")) { if (!shape_tuple(&c, shape)) return false; part = 4; }
        else return false;
        if (seen & part || (!take(&c, ",") && (blanks(&c), *c.at != '}'))) return false;
    }
    blanks(&c);
    return seen == 7 && c.at == text + size;
}

static Err refuse_type(const char *descr)
{
    if (*descr == '>') return err_set(ERR_UNSUPPORTED, "it is big-endian ('%s'); save it with a.astype(a.dtype.newbyteorder('<'))", descr);
    if (strchr(descr, 'O')) return err_set(ERR_UNSUPPORTED, "it holds Python objects ('%s'), which are never unpacked", descr);
    return err_set(ERR_UNSUPPORTED, "its type '%s' is not read", descr);
}

static Err check_bools(const Tensor *t)
{
    const uint8_t *at = t->data;
    for (size_t i = 0; t->dtype == DT_BOOL && i < t->bytes; i++)
        if (at[i] > 1) return err_set(ERR_FORMAT, "element %zu of it is the bool %d", i, at[i]);
    return OK;
}

Err npy_parse(Span b, Tensor *out)
{
    char text[65536], descr[32] = "";
    bool fortran = false;
    Tensor t = { 0 };
    if (b.size < 12 || memcmp(b.at, "\x93NUMPY", 6)) return err_set(ERR_FORMAT, "it is no NumPy array");
    if (b.at[6] < 1 || b.at[6] > 3) return err_set(ERR_UNSUPPORTED, "it has the NumPy format version %d", b.at[6]);
    size_t start = b.at[6] == 1 ? 10 : 12, size = get(b.at + 8, b.at[6] == 1 ? 2 : 4);
    if (size >= sizeof text || size > b.size - start) return err_set(ERR_FORMAT, "its header is cut off");
    memcpy(text, b.at + start, size);
    text[size] = 0;
    if (!header(text, size, descr, &fortran, &t.shape)) return err_set(ERR_FORMAT, "its header is not {'descr': '...', 'fortran_order': ..., 'shape': (...)}");
    for (size_t i = 0; i < sizeof NUMPY / sizeof *NUMPY; i++) if (!strcmp(NUMPY[i].name, descr)) t.dtype = NUMPY[i].type;
    if (t.dtype == DT_NONE) return refuse_type(descr);
    if (fortran && t.shape.rank > 1) return err_set(ERR_UNSUPPORTED, "it is in Fortran order; save it with numpy.ascontiguousarray");
    TRY(tensor_bytes(t.dtype, &t.shape, &t.bytes));
    if (t.bytes != b.size - start - size) return err_set(ERR_FORMAT, "it holds %zu bytes of elements where its shape asks for %zu", b.size - start - size, t.bytes);
    t.data = (void *)(uintptr_t)(b.at + start + size);
    TRY(check_bools(&t));
    *out = t;
    return OK;
}

/* zip ------------------------------------------------------------------------------------------------------------------------------- */

enum { MAX_MEMBERS = 1024, DEFLATE_RATIO = 1032, STORED = 0, DEFLATED = 8 };     /* the ratio: zlib's "Maximum Compression Factor" */
typedef struct Member { Span name, packed; uint32_t method, crc; size_t size; } Member;
/* The directory: where the next entry of it stands, where it ends; where the next member may begin, and how many bytes all may unpack to. */
typedef struct Zip { Span bytes; size_t at, end, free_from, room; int count; } Zip;

static Err damaged(const char *what) { return err_set(ERR_FORMAT, "its zip directory is damaged: %s", what); }

static Err inflate_member(Arena *arena, const Member *m, Span *out)
{
    if (m->size / DEFLATE_RATIO > m->packed.size) return err_set(ERR_FORMAT, "a member claims %zu bytes, which %zu cannot unpack to", m->size, m->packed.size);
    uint8_t *at = arena_alloc(arena, m->size + 1);
    z_stream z = { .next_in = (uint8_t *)(uintptr_t)m->packed.at, .avail_in = (uInt)m->packed.size, .next_out = at, .avail_out = (uInt)m->size + 1 };
    if (!at) return err_set(ERR_NOMEM, "out of memory for %zu bytes", m->size);
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return err_set(ERR_NOMEM, "out of memory");
    int end = inflate(&z, Z_FINISH);
    size_t got = z.total_out;
    inflateEnd(&z);
    if (end != Z_STREAM_END || got != m->size) return err_set(ERR_FORMAT, "its compressed data is damaged");
    *out = (Span){ at, m->size };
    return OK;
}

/* The local header of an entry: where its bytes are. It must say the same as the directory. */
static Err read_local(Zip *z, size_t local, size_t packed, Member *m)
{
    if (local < z->free_from) return damaged("members overlap or are out of order");
    if (local + 30 > z->end || get(z->bytes.at + local, 4) != 0x04034b50) return damaged("it leads to no member");
    const uint8_t *l = z->bytes.at + local;
    size_t name = get(l + 26, 2), data = local + 30 + name + get(l + 28, 2);
    if (data > z->end || packed > z->end - data) return err_set(ERR_FORMAT, "a member of it is cut off");
    if (name != m->name.size || memcmp(l + 30, m->name.at, name) || get(l + 8, 2) != m->method) return damaged("a member says something else");
    m->packed = (Span){ z->bytes.at + data, packed };
    z->free_from = data + packed;
    return OK;
}

static Err read_entry(Zip *z, Member *m)
{
    const uint8_t *e = z->bytes.at + z->at;
    if (z->end - z->at < 46 || get(e, 4) != 0x02014b50) return damaged("it ends too early");
    size_t name = get(e + 28, 2), size = 46 + name + get(e + 30, 2) + get(e + 32, 2), packed = get(e + 20, 4), local = get(e + 42, 4);
    *m = (Member){ .name = { e + 46, name }, .method = get(e + 10, 2), .crc = get(e + 16, 4), .size = get(e + 24, 4) };
    if (size > z->end - z->at) return damaged("it ends too early");
    if (get(e + 8, 2) & 1) return err_set(ERR_UNSUPPORTED, "it is encrypted");
    if (m->size == UINT32_MAX || packed == UINT32_MAX || local == UINT32_MAX) return err_set(ERR_UNSUPPORTED, "a member of it needs zip64");
    if (m->method != STORED && m->method != DEFLATED) return err_set(ERR_UNSUPPORTED, "a member is packed by method %u", m->method);
    if (m->size > z->room) return err_set(ERR_NOMEM, "it unpacks to more than the limit");
    z->room -= m->size;
    z->at += size;
    return read_local(z, local, packed, m);
}

static Err member_array(Arena *arena, const Member *m, Array *out)
{
    Span bytes = m->packed;
    if (m->method == DEFLATED) TRY(inflate_member(arena, m, &bytes));
    if (bytes.size != m->size || crc32(0, bytes.at, (uInt)bytes.size) != m->crc) return err_set(ERR_FORMAT, "a member does not fit its checksum");
    size_t n = m->name.size;
    if (n > 4 && !memcmp(m->name.at + n - 4, ".npy", 4)) n -= 4;
    if (memchr(m->name.at, 0, n)) return err_set(ERR_FORMAT, "a member's name holds a NUL");
    out->name = arena_strndup(arena, (const char *)m->name.at, n);
    if (!out->name) return err_set(ERR_NOMEM, "out of memory");
    Err e = npy_parse(bytes, &out->tensor);
    if (e != OK) return err_in(e, "array '%s'", out->name);
    if ((uintptr_t)out->tensor.data % 16) {
        void *aligned = arena_alloc(arena, out->tensor.bytes);
        if (!aligned) return err_set(ERR_NOMEM, "out of memory");
        out->tensor.data = memcpy(aligned, out->tensor.data, out->tensor.bytes);
    }
    return OK;
}

/* The record at the very end says where the directory is. A comment may follow it. */
static Err find_directory(Span bytes, size_t limit, Zip *z)
{
    size_t end = bytes.size < 22 ? 0 : bytes.size - 22, stop = end > UINT16_MAX ? end - UINT16_MAX : 0;
    if (bytes.size < 22) return err_set(ERR_FORMAT, "it is no npz file");
    while (end > stop && (get(bytes.at + end, 4) != 0x06054b50 || get(bytes.at + end + 20, 2) != bytes.size - end - 22)) end--;
    const uint8_t *r = bytes.at + end;
    if (get(r, 4) != 0x06054b50) return err_set(ERR_FORMAT, "it is no npz file, or its end is missing");
    size_t count = get(r + 10, 2), size = get(r + 12, 4), at = get(r + 16, 4);
    if (count == UINT16_MAX || at == UINT32_MAX) return err_set(ERR_UNSUPPORTED, "it is a zip64 file");
    if (count > MAX_MEMBERS) return err_set(ERR_UNSUPPORTED, "it holds %zu arrays, more than %d", count, MAX_MEMBERS);
    if (get(r + 4, 4) || get(r + 8, 2) != count || at > end || size != end - at) return damaged("its end does not fit it");
    *z = (Zip){ bytes, at, end, 0, limit, (int)count };
    return OK;
}

Err npz_parse(Arena *arena, Span bytes, size_t limit, Array **out, int *n)
{
    Zip z = { 0 };
    TRY(find_directory(bytes, limit, &z));
    Array *list = arena_array(arena, (size_t)z.count + 1, sizeof *list);
    if (!list) return err_set(ERR_NOMEM, "out of memory");
    size_t directory = z.at;
    for (int i = 0; i < z.count; i++) {
        Member m = { 0 };
        TRY(read_entry(&z, &m));
        if (z.free_from > directory) return damaged("a member runs into it");
        TRY(member_array(arena, &m, &list[i]));
        for (int k = 0; k < i; k++) if (!strcmp(list[k].name, list[i].name)) return err_set(ERR_FORMAT, "it holds two arrays named '%s'", list[i].name);
    }
    *out = list;
    *n = z.count;
    return OK;
}

/* Writing --------------------------------------------------------------------------------------------------------------------------- */

static void put(uint8_t *at, uint64_t v, int bytes) { for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(v >> 8 * i); }

static Err npy_head(Arena *arena, const Tensor *t, Span *out)
{
    char text[512], dims[400] = "";
    size_t at = 0;
    const char *descr = NULL;
    int64_t count;
    TRY(shape_count(&t->shape, &count));
    if (t->dtype == DT_STRING) {           /* packed: see npz_write */
        descr = arena_printf(arena, "<U%zu", count ? t->bytes / 4 / (size_t)count : 1);
        if (!descr) return err_set(ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < sizeof NUMPY / sizeof *NUMPY; i++) if (NUMPY[i].type == t->dtype) descr = NUMPY[i].name;
    if (!descr) return err_set(ERR_UNSUPPORTED, "NumPy has no type %s; --format pb writes it", dtype_name(t->dtype));
    for (int i = 0; i < t->shape.rank; i++) at += (size_t)snprintf(dims + at, sizeof dims - at, "%s%lld%s", i ? " " : "",
                                                                     (long long)t->shape.dim[i], i + 1 < t->shape.rank || !i ? "," : "");
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims);
    size_t size = to_line((size_t)n + 1 + 10) - 10;        /* elements start at a multiple of 64 */
    uint8_t *head = arena_alloc(arena, size + 10);
    if (!head) return err_set(ERR_NOMEM, "out of memory");
    memcpy(head, "\x93NUMPY\1\0", 8);
    put(head + 8, size, 2);
    memset(head + 10, ' ', size);
    memcpy(head + 10, text, (size_t)n);
    head[size + 9] = '\n';
    *out = (Span){ head, size + 10 };
    return OK;
}

static Err zip_local(Arena *arena, const Array *a, Span head, uint32_t crc, Span *out)
{
    size_t name = strlen(a->name) + 4, size = head.size + a->tensor.bytes;
    uint8_t *h = arena_alloc(arena, 30 + name);
    if (!h) return err_set(ERR_NOMEM, "out of memory");
    put(h, 0x04034b50, 4); put(h + 4, 20, 2); put(h + 12, 0x21, 2); put(h + 14, crc, 4); put(h + 18, size, 4); put(h + 22, size, 4); put(h + 26, name, 2);
    memcpy(h + 30, a->name, name - 4);
    memcpy(h + 26 + name, ".npy", 4);
    *out = (Span){ h, 30 + name };
    return OK;
}

static Err zip_central(Arena *arena, Span local, size_t offset, Span *out)
{
    size_t name = local.size - 30;
    uint8_t *h = arena_alloc(arena, 46 + name);
    if (!h) return err_set(ERR_NOMEM, "out of memory");
    put(h, 0x02014b50, 4); put(h + 4, 20, 2);
    memcpy(h + 6, local.at + 4, 26);       /* version, flags, method, time, date, checksum, sizes, length of the name */
    put(h + 42, offset, 4);
    memcpy(h + 46, local.at + 30, name);
    *out = (Span){ h, 46 + name };
    return OK;
}

/* Every array is three pieces (zip header, npy header, elements); the directory follows. */
static Err npz_pieces(Arena *arena, const Array *array, int n, Span *piece)
{
    size_t offset = 0, directory = 0;
    for (int i = 0; i < n; i++) {
        const Tensor *t = &array[i].tensor;
        Span *p = piece + 3 * i;
        TRY(npy_head(arena, t, &p[1]));
        p[2] = (Span){ t->data, t->bytes };
        if (offset + t->bytes > 0xF0000000u) return err_set(ERR_UNSUPPORTED, "the outputs are larger than a npz file holds (4 GiB)");
        uint32_t crc = (uint32_t)crc32(crc32(0, p[1].at, (uInt)p[1].size), p[2].at, (uInt)p[2].size);
        TRY(zip_local(arena, &array[i], p[1], crc, &p[0]));
        TRY(zip_central(arena, p[0], offset, &piece[3 * n + i]));
        offset += p[0].size + p[1].size + p[2].size;
        directory += piece[3 * n + i].size;
    }
    uint8_t *end = arena_alloc(arena, 22);
    if (!end) return err_set(ERR_NOMEM, "out of memory");
    put(end, 0x06054b50, 4); put(end + 8, (uint64_t)n, 2); put(end + 10, (uint64_t)n, 2); put(end + 12, directory, 4); put(end + 16, offset, 4);
    piece[4 * n] = (Span){ end, 22 };
    return OK;
}

static Err write_pieces(Arena *arena, const char *path, const Span *piece, size_t n)
{
    OutFile f;
    TRY(out_open(arena, path, &f));
    Err e = out_write(&f, piece, n);
    if (e == OK) e = out_commit(&f);
    out_close(&f);
    return e;
}

Err npz_write(Arena *arena, const char *path, const Array *array, int n)
{
    Span *piece = arena_array(arena, (size_t)n * 4 + 1, sizeof *piece);
    Array *packed = arena_array(arena, (size_t)n + 1, sizeof *packed);
    if (!piece || !packed) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        packed[i] = array[i];
        Err e = array[i].tensor.dtype == DT_STRING ? text_pack(arena, &array[i].tensor, &packed[i].tensor) : OK;
        if (e != OK) return err_in(e, "the output '%s'", array[i].name);
    }
    TRY(npz_pieces(arena, packed, n, piece));
    return write_pieces(arena, path, piece, (size_t)n * 4 + 1);
}

/* TensorProto: dims = 1, data_type = 2, name = 8, raw_data = 9 */
Err pb_write(Arena *arena, const char *path, const Array *a)
{
    size_t name = strlen(a->name), at = 0;
    uint8_t *h = arena_alloc(arena, name + 16 * (MAX_RANK + 4));
    if (!h) return err_set(ERR_NOMEM, "out of memory");
    if (a->tensor.dtype == DT_STRING) return err_set(ERR_UNSUPPORTED, "strings are not written");
    for (int i = 0; i < a->tensor.shape.rank; i++) {
        h[at++] = 1 << 3;
        at += varint_put(h + at, (uint64_t)a->tensor.shape.dim[i]);
    }
    h[at++] = 2 << 3;
    at += varint_put(h + at, a->tensor.dtype);
    h[at++] = 8 << 3 | 2;
    at += varint_put(h + at, name);
    memcpy(h + at, a->name, name);
    at += name;
    h[at++] = 9 << 3 | 2;
    at += varint_put(h + at, a->tensor.bytes);
    return write_pieces(arena, path, (Span[]){ { h, at }, { a->tensor.data, a->tensor.bytes } }, 2);
}
