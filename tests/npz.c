#include "tests/npz.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static void add(Bytes *b, const void *at, size_t size)
{
    b->at = realloc(b->at, b->size + size + 1);
    if (!b->at) abort();
    if (size) memcpy(b->at + b->size, at, size);
    b->size += size;
}

static void add_number(Bytes *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) add(b, &(uint8_t){ (uint8_t)(v >> 8 * i) }, 1);
}

Bytes npy_bytes(const char *header, const void *elements, size_t size)
{
    Bytes b = { 0 };
    size_t text = strlen(header), whole = (text + 1 + 10 + 63) / 64 * 64 - 10;
    add(&b, "\x93NUMPY\1\0", 8);
    add_number(&b, whole, 2);
    add(&b, header, text);
    while (b.size < whole + 9) add(&b, " ", 1);
    add(&b, "\n", 1);
    add(&b, elements, size);
    return b;
}

static Bytes deflated(Bytes content)
{
    Bytes b = { .at = malloc(content.size + 1024) };
    z_stream z = { .next_in = content.at, .avail_in = (uInt)content.size, .next_out = b.at, .avail_out = (uInt)content.size + 1024 };
    if (!b.at || deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK || deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
    b.size = z.total_out;
    deflateEnd(&z);
    return b;
}

/* The fields that the local header and the directory share, from "flags" to the length of the name. */
static void add_fields(Bytes *b, const Entry *e, size_t packed, size_t name)
{
    uint32_t crc = (uint32_t)crc32(0, e->content.at, (uInt)e->content.size);
    add_number(b, e->flags, 2);
    add_number(b, e->method ? e->method : e->deflated ? 8 : 0, 2);
    add_number(b, 0, 4);
    add_number(b, e->crc ? e->crc : crc, 4);
    add_number(b, e->packed ? e->packed : packed, 4);
    add_number(b, e->size ? e->size : e->content.size, 4);
    add_number(b, name, 2);
}

static void add_member(Bytes *zip, Bytes *directory, const Entry *e)
{
    const char *local = e->local_name ? e->local_name : e->name;
    Bytes packed = e->deflated ? deflated(e->content) : e->content;
    size_t offset = e->local_offset ? e->local_offset : zip->size;
    add_number(zip, 0x04034b50, 4);
    add_number(zip, 20, 2);
    add_fields(zip, e, packed.size, strlen(local));
    add_number(zip, 0, 2);
    add(zip, local, strlen(local));
    add(zip, packed.at, packed.size);
    add_number(directory, 0x02014b50, 4);
    add_number(directory, 20, 2);
    add_number(directory, 20, 2);
    add_fields(directory, e, packed.size, strlen(e->name));
    add_number(directory, 0, 8);
    add_number(directory, 0, 4);
    add_number(directory, offset, 4);
    add(directory, e->name, strlen(e->name));
    if (e->deflated) bytes_free(packed);
}

Bytes zip_bytes(const Entry *entry, int n)
{
    Bytes zip = { 0 }, directory = { 0 };
    for (int i = 0; i < n; i++) add_member(&zip, &directory, &entry[i]);
    size_t start = zip.size;
    add(&zip, directory.at, directory.size);
    add_number(&zip, 0x06054b50, 4);
    add_number(&zip, 0, 4);
    add_number(&zip, (uint64_t)n, 2);
    add_number(&zip, (uint64_t)n, 2);
    add_number(&zip, directory.size, 4);
    add_number(&zip, start, 4);
    add_number(&zip, 0, 2);
    bytes_free(directory);
    return zip;
}
