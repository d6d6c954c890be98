/* Builds .npy and .npz bytes for tests, right ones and wrong ones. */
#pragma once
#include "tests/files.h"
#include <stdint.h>

/* An array with this header text (padded and ended as NumPy does) and these elements. The caller frees. */
Bytes npy_bytes(const char *header, const void *elements, size_t size);

typedef struct Entry {
    const char *name;                  /* with .npy */
    Bytes content;                     /* before packing; stays the caller's */
    bool deflated;
    /* What the file claims instead of the truth; 0 or NULL: the truth. */
    const char *local_name;
    uint32_t crc, size, packed, method, flags, local_offset;
} Entry;
/* A zip file of the entries, one after the other, then the directory. The caller frees. */
Bytes zip_bytes(const Entry *entry, int n);
