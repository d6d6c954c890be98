#include "onnx/typed.h"
#include "onnx/schema.h"
#include <string.h>

static uint32_t attribute_field(const Constant *c)
{
    bool scalar = c->tensor.shape.rank == 0;
    switch (c->tensor.dtype) {
    case DT_F32: return scalar ? ATTR_FLOAT : ATTR_FLOATS;
    case DT_I64: return scalar ? ATTR_INT : ATTR_INTS;
    default: return scalar ? ATTR_STRING : ATTR_STRINGS;
    }
}

static uint32_t tensor_field(DType t)
{
    switch (t) {
    case DT_F32: case DT_C64: return TENSOR_FLOAT;
    case DT_F64: case DT_C128: return TENSOR_DOUBLE;
    case DT_I64: return TENSOR_INT64;
    case DT_U32: case DT_U64: return TENSOR_UINT64;
    case DT_STRING: return TENSOR_STRING;
    default: return TENSOR_INT32;
    }
}

static WireType wire_type(DType t)
{
    switch (t) {
    case DT_F32: case DT_C64: return WIRE_FIXED32;
    case DT_F64: case DT_C128: return WIRE_FIXED64;
    case DT_STRING: return WIRE_BYTES;
    default: return WIRE_VARINT;
    }
}

Err typed_field(const Constant *c, TypedField *field)
{
    DType t = c->tensor.dtype;
    int bits = dtype_bits(t);
    if (bits == 0 && t != DT_STRING) return err_set(ERR_UNSUPPORTED, "tensor '%s' has the unknown element type %d", c->name, (int)t);
    bool is_complex = t == DT_C64 || t == DT_C128;
    *field = (TypedField){ .number = c->in_attribute ? attribute_field(c) : tensor_field(t), .type = wire_type(t),
                           .is_signed = t == DT_I8 || t == DT_I16 || t == DT_I32 || t == DT_I64 };
    field->unit = t == DT_STRING ? sizeof(Span) : bits < 8 ? 1 : (size_t)bits / (is_complex ? 16 : 8);
    return OK;
}

static Err wrong_count(const Constant *c, size_t expected)
{
    return err_set(ERR_FORMAT, "tensor '%s' has another number of elements than its shape and type ask for (%zu entries)", c->name, expected);
}

static Err decode_strings(const Constant *c, const TypedField *field, const uint8_t *file, Span *data)
{
    size_t n = c->tensor.bytes / sizeof *data, i = 0;
    Wire w = wire_of(c->source, file);
    for (Field f; wire_next(&w, &f);) {
        if (f.tag != WIRE_TAG(field->number, WIRE_BYTES)) continue;
        if (i < n) data[i] = f.bytes;
        i++;
    }
    TRY(w.err);
    return i == n ? OK : wrong_count(c, n);
}

Err typed_decode(const Constant *c, const uint8_t *file, void *data)
{
    TypedField field;
    TRY(typed_field(c, &field));
    if (c->tensor.dtype == DT_STRING) return decode_strings(c, &field, file, data);
    size_t n = c->tensor.bytes / field.unit, i = 0;
    Numbers numbers = numbers_of(c->source, field.number, field.type, file);
    for (uint64_t v; numbers_next(&numbers, &v); i++)
        if (i < n) memcpy((uint8_t *)data + i * field.unit, &v, field.unit);       /* little-endian, like the file */
    TRY(numbers.err);
    return i == n ? OK : wrong_count(c, n);
}

static uint64_t entry(const uint8_t *data, size_t i, const TypedField *field)
{
    uint64_t v = 0;
    memcpy(&v, data + i * field->unit, field->unit);
    unsigned unused = 64 - 8 * (unsigned)field->unit;
    return field->is_signed ? (uint64_t)((int64_t)(v << unused) >> unused) : v;
}

size_t typed_encode(const Constant *c, const TypedField *field, bool unpacked, uint8_t *at)
{
    size_t n = c->tensor.bytes / field->unit, size = 0;
    uint8_t buffer[2 * VARINT_MAX];
    for (size_t i = 0; i < n; i++) {
        size_t used = unpacked ? varint_put(buffer, WIRE_TAG(field->number, field->type)) : 0;
        uint64_t v = entry(c->tensor.data, i, field);
        if (field->type == WIRE_VARINT) used += varint_put(buffer + used, v);
        else used += field->unit;
        if (at && field->type == WIRE_VARINT) memcpy(at + size, buffer, used);
        if (at && field->type != WIRE_VARINT) {
            memcpy(at + size, buffer, used - field->unit);
            memcpy(at + size + used - field->unit, &v, field->unit);
        }
        size += used;
    }
    return size;
}
