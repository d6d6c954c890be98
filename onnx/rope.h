/* A message under construction: runs of bytes in order, most of them lying in the mapped source or in tensors, none copied. */
#pragma once
#include "onnx/wire.h"

typedef struct Rope {
    Arena *arena;                  /* for the list and for small encoded parts */
    Span *piece; int n;
    size_t size;                   /* of all pieces */
} Rope;
typedef struct RopeMark { int piece; size_t size; uint32_t tag; } RopeMark;

Err rope_add(Rope *r, Span bytes);                             /* borrowed */
Err rope_copy(Rope *r, const void *bytes, size_t size);
Err rope_varint(Rope *r, uint32_t number, uint64_t value);     /* a whole field */
Err rope_text(Rope *r, uint32_t number, const char *text);     /* a whole field, copied */
Err rope_bytes(Rope *r, uint32_t number, Span bytes);          /* a whole field, borrowed */
/* A nested message: what is added between open and close becomes its content. */
Err rope_open(Rope *r, uint32_t number, RopeMark *mark);
Err rope_close(Rope *r, const RopeMark *mark);
