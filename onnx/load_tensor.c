/* TensorProto and SparseTensorProto -> Constant: everything but the elements, which stay where they are. */
#include "onnx/load.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LOCATION_EXTERNAL = 1 };

/* The one packed run of float_data or double_data that may be used as it is. */
typedef struct Run { Span bytes; int runs; } Run;

static void run_add(Run *run, const Field *f)
{
    run->bytes = f->bytes;
    run->runs += f->type == WIRE_BYTES ? 1 : 2;
}

/* The dims of message's field `number` into *shape (rank -1 beyond MAX_RANK), their product into *count. */
static Err load_dims(Loader *l, Span message, uint32_t number, Shape *shape, int64_t *count)
{
    Numbers dims = numbers_of(message, number, WIRE_VARINT, l->file);
    size_t rank = 0;
    int64_t product = 1;
    bool empty = false, overflow = false;
    for (uint64_t v; numbers_next(&dims, &v); rank++) {
        int64_t d = (int64_t)v;
        if (d < 0) return err_set(ERR_FORMAT, "dimension %zu is negative (%" PRId64 ")", rank, d);
        if (rank < MAX_RANK) shape->dim[rank] = d;
        empty |= d == 0;
        overflow |= __builtin_mul_overflow(product, d, &product) || product > INT64_C(1) << 56;
        if (overflow) product = 1;
    }
    TRY(dims.err);
    if (overflow && !empty) return err_set(ERR_FORMAT, "the product of the dimensions is beyond 2^56");
    shape->rank = rank <= MAX_RANK ? (int)rank : -1;
    *count = empty ? 0 : product;
    return OK;
}

static size_t bytes_of(DType t, int64_t count)
{
    if (t == DT_STRING) return (size_t)count * sizeof(Span);
    int64_t bits = dtype_bits(t);
    return (size_t)(bits >= 8 ? count * (bits / 8) : (count * bits + 7) / 8);
}

static Err load_number(Span text, const char *what, int64_t *value)
{
    char digits[32] = "";
    if (text.size > 0 && text.size < sizeof digits) memcpy(digits, text.at, text.size);
    char *end = digits;
    *value = strtoll(digits, &end, 10);
    bool whole = end != digits && end == digits + text.size;
    if (!whole || *value < 0 || *value == INT64_MAX) return err_set(ERR_FORMAT, "the %s of its external data is no number", what);
    return OK;
}

static bool span_is(Span s, const char *text)
{
    return s.size == strlen(text) && memcmp(s.at, text, s.size) == 0;
}

static Err load_external_entry(Loader *l, Span entry, Constant *c)
{
    Wire w = wire_of(entry, l->file);
    Span key = {0}, value = {0};
    for (Field f; wire_next(&w, &f);) {
        if (f.tag == WIRE_TAG(ENTRY_KEY, WIRE_BYTES)) key = f.bytes;
        if (f.tag == WIRE_TAG(ENTRY_VALUE, WIRE_BYTES)) value = f.bytes;
    }
    TRY(w.err);
    if (span_is(key, "location")) return load_string(l, value, &c->location);
    if (span_is(key, "offset")) return load_number(value, "offset", &c->offset);
    if (span_is(key, "length")) return load_number(value, "length", &c->length);
    return OK;
}

/* The location must name a file below the model's folder. What links do is checked when the file is opened. */
static Err check_location(const Constant *c)
{
    const char *at = c->location;
    if (!at || !*at) return err_set(ERR_FORMAT, "its external data names no file");
    if (*at == '/') return err_set(ERR_FORMAT, "its external data '%s' is an absolute path; only files in the model's folder are read", at);
    while (at) {
        size_t part = strcspn(at, "/");
        if (part == 2 && at[0] == '.' && at[1] == '.')
            return err_set(ERR_FORMAT, "its external data '%s' leaves the model's folder by '..'", c->location);
        at = at[part] ? at + part + 1 : NULL;
    }
    return OK;
}

static Err check_size(Constant *c, size_t size, const char *where)
{
    if (size == c->tensor.bytes) return OK;
    return err_set(ERR_FORMAT, "%s has %zu bytes, but the shape and the type (%s) ask for %zu", where, size, dtype_name(c->tensor.dtype), c->tensor.bytes);
}

static Err finish_external(Constant *c)
{
    c->storage = STORED_EXTERNAL;
    TRY(check_location(c));
    if (c->tensor.dtype == DT_STRING) return err_set(ERR_FORMAT, "strings cannot be external data");
    if (c->length < 0 || dtype_bits(c->tensor.dtype) == 0) return OK;
    return check_size(c, (size_t)c->length, "its external data");
}

/* Decides how the elements are stored. Types that this program does not know keep their bytes unchecked. */
static Err finish(Constant *c, bool external, const Span *raw, const Run *run)
{
    bool known = dtype_bits(c->tensor.dtype) > 0;
    if (external) return finish_external(c);
    if (raw->at) {
        c->storage = STORED_RAW;
        c->payload = *raw;
        if (c->tensor.dtype == DT_STRING) return err_set(ERR_FORMAT, "strings cannot be raw data");
        return known ? check_size(c, raw->size, "raw_data") : OK;
    }
    c->storage = STORED_TYPED;
    if (run->runs != 1 || !known) return OK;
    c->payload = run->bytes;
    return check_size(c, c->payload.size, "its data");
}

static bool is_run_of(DType t, uint32_t tag)
{
    if (tag >> 3 == TENSOR_FLOAT) return t == DT_F32 || t == DT_C64;
    return tag >> 3 == TENSOR_DOUBLE && (t == DT_F64 || t == DT_C128);
}

static Err load_fields(Loader *l, Constant *c)
{
    Wire w = wire_of(c->source, l->file);
    Span raw = {0};
    Run run[2] = {0};
    bool external = false;
    for (Field f; wire_next(&w, &f);) {
        switch (f.tag) {
        case WIRE_TAG(TENSOR_DTYPE, WIRE_VARINT): c->tensor.dtype = (DType)(uint32_t)f.value; break;
        case WIRE_TAG(TENSOR_NAME, WIRE_BYTES): TRY(load_string(l, f.bytes, &c->name)); break;
        case WIRE_TAG(TENSOR_RAW, WIRE_BYTES): raw = f.bytes; break;
        case WIRE_TAG(TENSOR_FLOAT, WIRE_BYTES): case WIRE_TAG(TENSOR_FLOAT, WIRE_FIXED32): run_add(&run[0], &f); break;
        case WIRE_TAG(TENSOR_DOUBLE, WIRE_BYTES): case WIRE_TAG(TENSOR_DOUBLE, WIRE_FIXED64): run_add(&run[1], &f); break;
        case WIRE_TAG(TENSOR_LOCATION, WIRE_VARINT): external = f.value == LOCATION_EXTERNAL; break;
        case WIRE_TAG(TENSOR_EXTERNAL, WIRE_BYTES): TRY(load_external_entry(l, f.bytes, c)); break;
        case WIRE_TAG(TENSOR_SEGMENT, WIRE_BYTES): return err_set(ERR_UNSUPPORTED, "it is stored in segments");
        default: break;
        }
    }
    TRY(w.err);
    int64_t count;
    TRY(load_dims(l, c->source, TENSOR_DIMS, &c->tensor.shape, &count));
    c->tensor.bytes = bytes_of(c->tensor.dtype, count);
    if (is_run_of(c->tensor.dtype, WIRE_TAG(TENSOR_FLOAT, 0))) return finish(c, external, &raw, &run[0]);
    if (is_run_of(c->tensor.dtype, WIRE_TAG(TENSOR_DOUBLE, 0))) return finish(c, external, &raw, &run[1]);
    return finish(c, external, &raw, &(Run){0});
}

static Err constant_new(Loader *l, Span source, Constant **out)
{
    Constant *c = arena_alloc(l->arena, sizeof *c);
    if (!c) return load_out_of_memory();
    *c = (Constant){ .name = "", .source = source, .length = -1, .nonzeros = -1 };
    *out = c;
    return OK;
}

Err load_constant(Loader *l, Span source, Constant **out)
{
    TRY(load_nested(l));
    Constant *c = NULL;
    TRY(constant_new(l, source, &c));
    Err err = load_fields(l, c);
    if (err) return *c->name ? err_in(err, "tensor '%s'", c->name) : err_in(err, "a tensor at byte %td", source.at - l->file);
    l->depth--;
    *out = c;
    return OK;
}

/* The two parts belong together: (nnz) values and (nnz) or (nnz, rank) indices. */
static Err check_sparse(const Constant *c)
{
    const Tensor *v = &c->values->tensor, *i = &c->indices->tensor;
    if (c->values->storage == STORED_EXTERNAL || c->indices->storage == STORED_EXTERNAL)
        return err_set(ERR_UNSUPPORTED, "its parts are external data, which no runtime reads");
    if (v->shape.rank != 1) return err_set(ERR_FORMAT, "its values have rank %d instead of 1", v->shape.rank);
    int64_t nonzeros = v->shape.dim[0];
    bool linear = i->shape.rank == 1, coordinates = i->shape.rank == 2 && i->shape.dim[1] == c->tensor.shape.rank;
    if ((!linear && !coordinates) || i->shape.dim[0] != nonzeros)
        return err_set(ERR_FORMAT, "its indices have another shape than (%" PRId64 ") or (%" PRId64 ", %d)", nonzeros, nonzeros, c->tensor.shape.rank);
    DType t = i->dtype;
    if (t != DT_I64 && t != DT_I32 && t != DT_I16 && t != DT_I8) return err_set(ERR_FORMAT, "its indices are %s instead of int64", dtype_name(t));
    if (v->dtype == DT_STRING || dtype_bits(v->dtype) < 8) return err_set(ERR_UNSUPPORTED, "its values are %s", dtype_name(v->dtype));
    return OK;
}

static Err load_sparse_fields(Loader *l, Constant *c)
{
    Wire w = wire_of(c->source, l->file);
    for (Field f; wire_next(&w, &f);) {
        if (f.tag == WIRE_TAG(SPARSE_VALUES, WIRE_BYTES)) TRY(load_constant(l, f.bytes, &c->values));
        if (f.tag == WIRE_TAG(SPARSE_INDICES, WIRE_BYTES)) TRY(load_constant(l, f.bytes, &c->indices));
    }
    TRY(w.err);
    if (!c->values || !c->indices) return err_set(ERR_FORMAT, "it has no %s", c->values ? "indices" : "values");
    c->name = c->values->name;
    c->tensor.dtype = c->values->tensor.dtype;
    int64_t count;
    TRY(load_dims(l, c->source, SPARSE_DIMS, &c->tensor.shape, &count));
    TRY(check_sparse(c));
    c->tensor.bytes = bytes_of(c->tensor.dtype, count);
    c->nonzeros = c->values->tensor.shape.dim[0];
    return OK;
}

Err load_sparse(Loader *l, Span source, Constant **out)
{
    TRY(load_nested(l));
    Constant *c = NULL;
    TRY(constant_new(l, source, &c));
    c->storage = STORED_SPARSE;
    Err err = load_sparse_fields(l, c);
    if (err) return *c->name ? err_in(err, "sparse tensor '%s'", c->name) : err_in(err, "a sparse tensor at byte %td", source.at - l->file);
    l->depth--;
    *out = c;
    return OK;
}
