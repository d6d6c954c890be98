/* Elements in the typed fields of a TensorProto (float_data, int32_data ...) and in the attributes of a Constant node. */
#pragma once
#include "onnx/wire.h"

/* Where a constant's elements stand in its source: one field, whose entries are `unit` bytes each in memory. */
typedef struct TypedField { uint32_t number; WireType type; size_t unit; bool is_signed; } TypedField;

/* ERR_UNSUPPORTED for a type that the specification does not store so. */
Err    typed_field(const Constant *c, TypedField *field);
/* Reads the entries into data, c->tensor.bytes large. file: for offsets in messages. ERR_FORMAT when their number is wrong. */
Err    typed_decode(const Constant *c, const uint8_t *file, void *data);
/* The bytes of the entries as the content of a packed field, or of an attribute's unpacked one (unpacked: with a tag each); at may be NULL to
 * count only. Not for strings. */
size_t typed_encode(const Constant *c, const TypedField *field, bool unpacked, uint8_t *at);
