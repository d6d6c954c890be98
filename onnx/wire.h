/* The protobuf wire format, https://protobuf.dev/programming-guides/encoding/ : a bounds-checked cursor over the fields of one message.
 *
 * Nothing is copied: a field is described by where its bytes lie. There is no recursion; a caller that descends into a message makes a
 * new cursor over Field.bytes and counts its own depth (WIRE_DEPTH). Unknown fields are fields like any other, groups are skipped. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "onnx/error.h"
#include "onnx/model.h"

typedef enum WireType { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_GROUP = 3, WIRE_END_GROUP = 4, WIRE_FIXED32 = 5 } WireType;
enum { WIRE_DEPTH = 100 };         /* nesting that protobuf's own readers accept */

/* Field number and wire type in one number, as the wire has it: for switch statements that ignore a known number of a wrong type. */
#define WIRE_TAG(number, type) ((uint32_t)(number) << 3 | (uint32_t)(type))

typedef struct Field {
    uint32_t tag, number;
    WireType type;
    uint64_t value;                /* VARINT, FIXED64, FIXED32 */
    Span bytes;                    /* BYTES: the content */
    Span whole;                    /* tag, length and content */
} Field;

typedef struct Wire {
    const uint8_t *at, *end;
    const uint8_t *file;           /* where offsets in messages count from */
    Err err;                       /* set by wire_next when the bytes are no message */
} Wire;

Wire wire_of(Span message, const uint8_t *file);
/* The next field, in the order of the bytes. False at the end and at an error: check w->err after the loop. */
bool wire_next(Wire *w, Field *f);

/* The elements of one repeated numeric field, packed or not, in order. type: VARINT, FIXED32, FIXED64 as it is when not packed. */
typedef struct Numbers { Wire message, packed; uint32_t number; WireType type; Err err; } Numbers;
Numbers numbers_of(Span message, uint32_t number, WireType type, const uint8_t *file);
bool    numbers_next(Numbers *n, uint64_t *value);             /* false at the end and at an error: check n->err */
Err     numbers_count(Span message, uint32_t number, WireType type, const uint8_t *file, size_t *count);

enum { VARINT_MAX = 10 };
size_t varint_put(uint8_t *at, uint64_t value);                /* writes at most VARINT_MAX bytes, returns how many */
