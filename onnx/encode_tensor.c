/* Edited and converted constants. A TensorProto keeps its fields in their order; the new elements stand where the old ones began. */
#include "onnx/encode.h"
#include "onnx/schema.h"
#include "onnx/typed.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static Err out_of_memory(void)
{
    return err_set(ERR_NOMEM, "out of memory while encoding the model");
}

static Err encode_dims(Encoder *x, uint32_t number, const Shape *s)
{
    for (int i = 0; i < s->rank; i++) TRY(rope_varint(&x->rope, number, (uint64_t)s->dim[i]));
    return OK;
}

static Err encode_entry(Encoder *x, const char *key, const char *value)
{
    RopeMark mark;
    TRY(rope_open(&x->rope, TENSOR_EXTERNAL, &mark));
    TRY(rope_text(&x->rope, ENTRY_KEY, key));
    TRY(rope_text(&x->rope, ENTRY_VALUE, value));
    return rope_close(&x->rope, &mark);
}

static Err encode_location(Encoder *x, const Constant *c)
{
    char offset[32], length[32];
    snprintf(offset, sizeof offset, "%" PRId64, c->saved.offset);
    snprintf(length, sizeof length, "%zu", c->tensor.bytes);
    TRY(encode_entry(x, "location", c->saved.location));
    TRY(encode_entry(x, "offset", offset));
    TRY(encode_entry(x, "length", length));
    return rope_varint(&x->rope, TENSOR_LOCATION, 1);
}

static Err encode_strings(Encoder *x, uint32_t number, const Tensor *t)
{
    const Span *s = t->data;
    for (size_t i = 0; i < t->bytes / sizeof *s; i++) TRY(rope_bytes(&x->rope, number, s[i]));
    return OK;
}

/* The entries as one packed field of a tensor, or as a field each in an attribute. */
static Err encode_typed(Encoder *x, const Constant *c)
{
    TypedField field;
    TRY(typed_field(c, &field));
    if (c->tensor.dtype == DT_STRING) return encode_strings(x, field.number, &c->tensor);
    size_t size = typed_encode(c, &field, c->in_attribute, NULL);
    uint8_t *bytes = arena_alloc(x->arena, size);
    if (!bytes) return out_of_memory();
    typed_encode(c, &field, c->in_attribute, bytes);
    return c->in_attribute ? rope_add(&x->rope, (Span){ bytes, size }) : rope_bytes(&x->rope, field.number, (Span){ bytes, size });
}

static Err encode_elements(Encoder *x, const Constant *c, Storage form)
{
    if (form == STORED_EXTERNAL) return encode_location(x, c);
    if (form == STORED_TYPED || c->tensor.dtype == DT_STRING) return encode_typed(x, c);
    return rope_bytes(&x->rope, TENSOR_RAW, (Span){ c->tensor.data, c->tensor.bytes });
}

static bool holds_elements(uint32_t number)
{
    switch (number) {
    case TENSOR_FLOAT: case TENSOR_INT32: case TENSOR_STRING: case TENSOR_INT64: case TENSOR_RAW: case TENSOR_DOUBLE: case TENSOR_UINT64:
    case TENSOR_EXTERNAL: case TENSOR_LOCATION: return true;
    default: return false;
    }
}

/* Whether the source states these dims; a rank beyond MAX_RANK cannot have been edited. */
static Err same_dims(Encoder *x, Span source, uint32_t number, const Shape *s, bool *same)
{
    Numbers dims = numbers_of(source, number, WIRE_VARINT, x->m->source.at);
    int rank = 0;
    *same = true;
    for (uint64_t d; numbers_next(&dims, &d); rank++)
        if (rank < s->rank && (int64_t)d != s->dim[rank]) *same = false;
    if (s->rank >= 0 && rank != s->rank) *same = false;
    return dims.err;
}

/* The fields of a TensorProto: those of c->source, with dims, type and elements from c. */
static Err encode_fields(Encoder *x, const Constant *c, Storage form)
{
    bool done = false, same;
    TRY(same_dims(x, c->source, TENSOR_DIMS, &c->tensor.shape, &same));
    if (!same) TRY(encode_dims(x, TENSOR_DIMS, &c->tensor.shape));
    Wire w = wire_of(c->source, x->m->source.at);
    for (Field f; wire_next(&w, &f);) {
        bool is_elements = holds_elements(f.number);
        if (is_elements && !done) TRY(encode_elements(x, c, form));
        done |= is_elements;
        if (is_elements || (f.number == TENSOR_DIMS && !same)) continue;
        if (f.tag == WIRE_TAG(TENSOR_DTYPE, WIRE_VARINT)) TRY(rope_varint(&x->rope, TENSOR_DTYPE, (uint64_t)c->tensor.dtype));
        else TRY(rope_add(&x->rope, f.whole));
    }
    TRY(w.err);
    return done ? OK : encode_elements(x, c, form);
}

static Err encode_new_fields(Encoder *x, const Constant *c, Storage form)
{
    TRY(encode_dims(x, TENSOR_DIMS, &c->tensor.shape));
    TRY(rope_varint(&x->rope, TENSOR_DTYPE, (uint64_t)c->tensor.dtype));
    if (*c->name) TRY(rope_text(&x->rope, TENSOR_NAME, c->name));
    return encode_elements(x, c, form);
}

static Err encode_tensor(Encoder *x, uint32_t number, const Constant *c, Storage form)
{
    RopeMark mark;
    TRY(rope_open(&x->rope, number, &mark));
    TRY((c->source.at ? encode_fields : encode_new_fields)(x, c, form));
    return rope_close(&x->rope, &mark);
}

static bool is_zero(const uint8_t *at, size_t unit)
{
    for (size_t i = 0; i < unit; i++)
        if (at[i]) return false;
    return true;
}

int64_t count_nonzeros(const Tensor *t)
{
    size_t unit = (size_t)dtype_bits(t->dtype) / 8;
    int64_t n = 0;
    for (size_t at = 0; at < t->bytes; at += unit) n += !is_zero((const uint8_t *)t->data + at, unit);
    return n;
}

static void coordinates(const Shape *s, int64_t position, int64_t *index)
{
    for (int k = s->rank - 1; k >= 0; k--) {
        index[k] = position % s->dim[k];
        position /= s->dim[k];
    }
}

/* The elements whose bytes are not all zero (so -0.0 stays) and where they stand, as two tensors. */
static Err gather(Encoder *x, const Tensor *dense, bool linear, Tensor *values, Tensor *indices)
{
    size_t unit = (size_t)dtype_bits(dense->dtype) / 8;
    int64_t nonzeros = count_nonzeros(dense), at = 0, width = linear ? 1 : dense->shape.rank;
    *values = (Tensor){ .dtype = dense->dtype, .shape = shape_of(1, &nonzeros), .bytes = (size_t)nonzeros * unit };
    *indices = (Tensor){ .dtype = DT_I64, .shape = shape_of(2, (int64_t[]){ nonzeros, width }), .bytes = (size_t)(nonzeros * width) * sizeof(int64_t) };
    if (linear) indices->shape.rank = 1;
    uint8_t *value = values->data = arena_alloc(x->arena, values->bytes);
    int64_t *index = indices->data = arena_alloc(x->arena, indices->bytes);
    if (!value || !index) return out_of_memory();
    for (int64_t i = 0; i < (int64_t)(dense->bytes / unit); i++) {
        const uint8_t *element = (const uint8_t *)dense->data + (size_t)i * unit;
        if (is_zero(element, unit)) continue;
        memcpy(value + (size_t)at * unit, element, unit);
        if (linear) index[at] = i;
        else coordinates(&dense->shape, i, index + at * width);
        at++;
    }
    return OK;
}

/* A SparseTensorProto. Parts that stood in the source keep their other fields; indices become int64 in raw form. */
static Err encode_sparse(Encoder *x, uint32_t number, const Constant *c)
{
    bool was_sparse = c->storage == STORED_SPARSE;
    Constant values = was_sparse ? *c->values : *c, indices = was_sparse ? *c->indices : (Constant){ .name = "" };
    TRY(gather(x, &c->tensor, !was_sparse || c->indices->tensor.shape.rank == 1, &values.tensor, &indices.tensor));
    Storage form = was_sparse && values.storage == STORED_TYPED ? STORED_TYPED : STORED_RAW;
    RopeMark mark;
    TRY(rope_open(&x->rope, number, &mark));
    TRY(encode_tensor(x, SPARSE_VALUES, &values, form));
    TRY(encode_tensor(x, SPARSE_INDICES, &indices, STORED_RAW));
    TRY(encode_dims(x, SPARSE_DIMS, &c->tensor.shape));
    Wire w = wire_of(c->source, x->m->source.at);
    for (Field f; was_sparse && wire_next(&w, &f);)
        if (f.number > SPARSE_DIMS) TRY(rope_add(&x->rope, f.whole));
    TRY(w.err);
    return rope_close(&x->rope, &mark);
}

/* The attribute of a Constant node whose elements stand in the attribute itself. Without a type it was its fields that told the type; it is stated now, since
 * an empty list has no fields. */
static Err encode_in_attribute(Encoder *x, uint32_t number, const Constant *c)
{
    TypedField field;
    bool done = false, has_type = false;
    RopeMark mark;
    TRY(typed_field(c, &field));
    TRY(rope_open(&x->rope, number, &mark));
    Wire w = wire_of(c->source, x->m->source.at);
    for (Field f; wire_next(&w, &f);) {
        if (f.number != field.number) TRY(rope_add(&x->rope, f.whole));
        else if (!done) TRY(encode_typed(x, c));
        done |= f.number == field.number;
        has_type |= f.tag == WIRE_TAG(ATTR_TYPE_FIELD, WIRE_VARINT) && f.value != 0;
    }
    TRY(w.err);
    if (!done) TRY(encode_typed(x, c));
    if (!has_type) TRY(rope_varint(&x->rope, ATTR_TYPE_FIELD, field.number - 1));       /* types count as the fields do, from 1 instead of 2 */
    return rope_close(&x->rope, &mark);
}

Err encode_constant(Encoder *x, uint32_t number, Constant *c)
{
    if (c->saved.form != STORED_EXTERNAL) TRY(constant_fetch(x->m, c));
    if (c->in_attribute) return encode_in_attribute(x, number, c);
    bool was_sparse = number == GRAPH_SPARSE_INITIALIZER, is_initializer = was_sparse || number == GRAPH_INITIALIZER;
    if (c->saved.form == STORED_SPARSE) return encode_sparse(x, is_initializer ? GRAPH_SPARSE_INITIALIZER : number, c);
    if (c->storage != STORED_SPARSE) return encode_tensor(x, number, c, c->saved.form);
    Constant dense = *c->values;
    dense.tensor = c->tensor;
    dense.saved = c->saved;
    return encode_tensor(x, GRAPH_INITIALIZER, &dense, c->saved.form);
}
