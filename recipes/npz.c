/* NumPy's files.   https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html , zip: PKWARE APPNOTE.TXT 4.3 */
#include "recipes/samples.h"
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
        if (!take(c, ",") && !(blanks(c), *c->at == ')')) return false;
    }
    return true;
}

static bool header(const char *text, char descr[32], bool *fortran, Shape *shape)
{
    Cursor c = { text };
    int seen = 0;
    if (!take(&c, "{")) return false;
    while (!take(&c, "}")) {
        char key[32];
        if (!quoted(&c, key) || !take(&c, ":")) return false;
        if (!strcmp(key, "descr")) { if (!quoted(&c, descr)) return false; seen |= 1; }
        else if (!strcmp(key, "fortran_order")) { *fortran = take(&c, "True"); if (!*fortran && !take(&c, "False")) return false; seen |= 2; }
        else if (!strcmp(key, "shape")) { if (!shape_tuple(&c, shape)) return false; seen |= 4; }
        else return false;
        if (!take(&c, ",") && !(blanks(&c), *c.at == '}')) return false;
    }
    blanks(&c);
    return seen == 7 && !*c.at;
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
    if (!header(text, descr, &fortran, &t.shape)) return err_set(ERR_FORMAT, "its header cannot be read");
    for (size_t i = 0; i < sizeof NUMPY / sizeof *NUMPY; i++) if (!strcmp(NUMPY[i].name, descr)) t.dtype = NUMPY[i].type;
    if (t.dtype == DT_NONE) return err_set(ERR_UNSUPPORTED, "its type '%s' is not read", descr);
    if (fortran && t.shape.rank > 1) return err_set(ERR_UNSUPPORTED, "it is in Fortran order; save it with numpy.ascontiguousarray");
    TRY(tensor_bytes(t.dtype, &t.shape, &t.bytes));
    if (t.bytes != b.size - start - size) return err_set(ERR_FORMAT, "it holds %zu bytes of elements where its shape asks for %zu", b.size - start - size, t.bytes);
    t.data = (void *)(uintptr_t)(b.at + start + size);
    *out = t;
    return OK;
}

/* zip ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Member { Span name, packed; uint32_t method, crc; size_t size; } Member;

static Err inflate_member(Arena *arena, const Member *m, Span *out)
{
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

/* Entry at `at` of the central directory; *next: the following one. */
static Err read_entry(Span zip, size_t at, Member *m, size_t *next)
{
    if (at + 46 > zip.size || get(zip.at + at, 4) != 0x02014b50) return err_set(ERR_FORMAT, "its zip directory is damaged");
    const uint8_t *e = zip.at + at;
    size_t name = get(e + 28, 2), skip = name + get(e + 30, 2) + get(e + 32, 2), local = get(e + 42, 4), packed = get(e + 20, 4);
    *m = (Member){ .method = get(e + 10, 2), .crc = get(e + 16, 4), .size = get(e + 24, 4) };
    if (get(e + 8, 2) & 1) return err_set(ERR_UNSUPPORTED, "it is encrypted");
    if (at + 46 + skip > zip.size || local + 30 > zip.size || get(zip.at + local, 4) != 0x04034b50) return err_set(ERR_FORMAT, "its zip directory is damaged");
    m->name = (Span){ e + 46, name };
    size_t data = local + 30 + get(zip.at + local + 26, 2) + get(zip.at + local + 28, 2);
    if (data > zip.size || packed > zip.size - data) return err_set(ERR_FORMAT, "a member of it is cut off");
    m->packed = (Span){ zip.at + data, packed };
    *next = at + 46 + skip;
    return OK;
}

static Err member_array(Arena *arena, const Member *m, Array *out)
{
    Span bytes = m->packed;
    if (m->method == 8) TRY(inflate_member(arena, m, &bytes));
    else if (m->method != 0) return err_set(ERR_UNSUPPORTED, "a member is packed by method %u", m->method);
    if (bytes.size != m->size || crc32(0, bytes.at, (uInt)bytes.size) != m->crc) return err_set(ERR_FORMAT, "a member does not fit its checksum");
    size_t n = m->name.size;
    if (n > 4 && !memcmp(m->name.at + n - 4, ".npy", 4)) n -= 4;
    if (memchr(m->name.at, 0, n)) return err_set(ERR_FORMAT, "a member's name holds a NUL");
    out->name = arena_strndup(arena, (const char *)m->name.at, n);
    if (!out->name) return err_set(ERR_NOMEM, "out of memory");
    TRY(npy_parse(bytes, &out->tensor));
    if ((uintptr_t)out->tensor.data % 16) {
        void *aligned = arena_alloc(arena, out->tensor.bytes);
        if (!aligned) return err_set(ERR_NOMEM, "out of memory");
        out->tensor.data = memcpy(aligned, out->tensor.data, out->tensor.bytes);
    }
    return OK;
}

Err npz_parse(Arena *arena, Span zip, size_t limit, Array **out, int *n)
{
    size_t end = zip.size < 22 ? 0 : zip.size - 22, stop = end > 65535 ? end - 65535 : 0, total = 0;
    if (zip.size < 22) return err_set(ERR_FORMAT, "it is no npz file");
    while (end > stop && get(zip.at + end, 4) != 0x06054b50) end--;
    if (get(zip.at + end, 4) != 0x06054b50) return err_set(ERR_FORMAT, "it is no npz file");
    int count = (int)get(zip.at + end + 10, 2);
    size_t at = get(zip.at + end + 16, 4);
    if (count == 0xFFFF || at == 0xFFFFFFFF) return err_set(ERR_UNSUPPORTED, "it is a zip64 file");
    Array *list = arena_array(arena, (size_t)count + 1, sizeof *list);
    if (!list) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < count; i++) {
        Member m = { 0 };
        TRY(read_entry(zip, at, &m, &at));
        if (m.size > limit - total) return err_set(ERR_NOMEM, "it unpacks to more than the limit of %zu MiB", limit >> 20);
        total += m.size;
        TRY(member_array(arena, &m, &list[i]));
    }
    *out = list;
    *n = count;
    return OK;
}

/* Writing --------------------------------------------------------------------------------------------------------------------------- */

static void put(uint8_t *at, uint64_t v, int bytes) { for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(v >> 8 * i); }

static Err npy_head(Arena *arena, const Tensor *t, Span *out)
{
    char text[512], dims[400] = "";
    size_t at = 0;
    const char *descr = NULL;
    for (size_t i = 0; i < sizeof NUMPY / sizeof *NUMPY; i++) if (NUMPY[i].type == t->dtype) descr = NUMPY[i].name;
    if (!descr) return err_set(ERR_UNSUPPORTED, "NumPy has no type %s; --format pb writes it", dtype_name(t->dtype));
    for (int i = 0; i < t->shape.rank; i++) at += (size_t)snprintf(dims + at, sizeof dims - at, "%s%lld%s", i ? " " : "",
                                                                     (long long)t->shape.dim[i], i + 1 < t->shape.rank || !i ? "," : "");
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims);
    size_t size = ((size_t)n + 1 + 10 + 63) / 64 * 64 - 10;        /* elements start at a multiple of 64 */
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
    if (!piece) return err_set(ERR_NOMEM, "out of memory");
    TRY(npz_pieces(arena, array, n, piece));
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
