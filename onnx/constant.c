/* Elements of constants: fetched when asked for, given back when not edited. */
#include "onnx/mapping.h"
#include "onnx/store.h"
#include "onnx/typed.h"
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void constant_edited(Constant *c)
{
    c->edited = true;
}

static Err fetch_inline(Model *m, Constant *c)
{
    TRY(mapping_block(c->mapping, c->tensor.bytes));
    if (c->payload.at) memcpy(c->mapping->base, c->payload.at, c->tensor.bytes);
    else TRY(typed_decode(c, m->source.at, c->mapping->base));
    c->tensor.data = c->mapping->base;
    return OK;
}

static int64_t index_at(const Tensor *t, int64_t i)
{
    switch (t->dtype) {
    case DT_I8: return ((const int8_t *)t->data)[i];
    case DT_I16: return ((const int16_t *)t->data)[i];
    case DT_I32: return ((const int32_t *)t->data)[i];
    default: return ((const int64_t *)t->data)[i];
    }
}

/* The position in the dense tensor of stored value i; -1 when an index is out of range. */
static int64_t position(const Constant *c, int64_t i, int64_t elements)
{
    const Tensor *indices = &c->indices->tensor;
    if (indices->shape.rank == 1) {
        int64_t at = index_at(indices, i);
        return at >= 0 && at < elements ? at : -1;
    }
    int64_t at = 0, rank = c->tensor.shape.rank;
    for (int64_t k = 0; k < rank; k++) {
        int64_t d = c->tensor.shape.dim[k], x = index_at(indices, i * rank + k);
        if (x < 0 || x >= d) return -1;
        at = at * d + x;
    }
    return at;
}

static Err expand(Constant *c)
{
    size_t unit = (size_t)dtype_bits(c->tensor.dtype) / 8;
    int64_t elements = (int64_t)(c->tensor.bytes / unit), last = -1;
    for (int64_t i = 0; i < c->nonzeros; i++) {
        int64_t at = position(c, i, elements);
        if (at < 0) return err_set(ERR_FORMAT, "sparse tensor '%s': index %" PRId64 " is out of range", c->name, i);
        if (at <= last) return err_set(ERR_FORMAT, "sparse tensor '%s': index %" PRId64 " is not in ascending order", c->name, i);
        memcpy((uint8_t *)c->tensor.data + (size_t)at * unit, (const uint8_t *)c->values->tensor.data + (size_t)i * unit, unit);
        last = at;
    }
    return OK;
}

static Err fetch_alone(Model *m, Constant *c);
static Err release_alone(Model *m, Constant *c);

static Err fetch_sparse(Model *m, Constant *c)
{
    Err err = fetch_alone(m, c->values);
    if (!err) err = fetch_alone(m, c->indices);
    if (!err) err = mapping_block(c->mapping, c->tensor.bytes);
    if (!err) {
        c->tensor.data = memset(c->mapping->base, 0, c->tensor.bytes);
        err = expand(c);
    }
    Err values = release_alone(m, c->values), indices = release_alone(m, c->indices);
    return err ? err : values ? values : indices;
}

static Err fetch(Model *m, Constant *c)
{
    if (c->tensor.bytes > m->memory_limit)
        return err_set(ERR_NOMEM, "tensor '%s' needs %zu bytes of memory, the limit is %zu", c->name, c->tensor.bytes, m->memory_limit);
    if (!c->mapping) TRY(mapping_new(m, &c->mapping));
    if (c->stored) return store_fetch(m, c);
    switch (c->storage) {
    case STORED_EXTERNAL: return external_fetch(m, c);
    case STORED_SPARSE: return fetch_sparse(m, c);
    case STORED_RAW: case STORED_TYPED: break;
    }
    return fetch_inline(m, c);
}

static Err fetch_alone(Model *m, Constant *c)
{
    if (c->tensor.data) return OK;
    if (dtype_bits(c->tensor.dtype) == 0 && c->tensor.dtype != DT_STRING)
        return err_set(ERR_UNSUPPORTED, "tensor '%s' has the unknown element type %d", c->name, (int)c->tensor.dtype);
    Err err = fetch(m, c);
    if (!err) return OK;
    c->tensor.data = NULL;
    if (c->mapping) mapping_clear(c->mapping);
    return err;
}

static Err release_alone(Model *m, Constant *c)
{
    if (!c->tensor.data || !c->mapping) return OK;
    if (c->edited && (c->storage != STORED_EXTERNAL || !m->store)) return OK;
    if (c->edited) TRY(store_put(m, c));
    mapping_clear(c->mapping);
    c->tensor.data = NULL;
    return OK;
}

Err constant_fetch(Model *m, Constant *c)
{
    pthread_mutex_lock(&m->lock);
    Err err = fetch_alone(m, c);
    pthread_mutex_unlock(&m->lock);
    return err;
}

Err constant_read(Model *m, Constant *c, const void **elements)
{
    pthread_mutex_lock(&m->lock);
    bool as_they_are = !c->tensor.data && c->payload.at && dtype_bits(c->tensor.dtype) > 0;
    Err err = as_they_are ? OK : fetch_alone(m, c);
    if (err == OK) *elements = as_they_are ? (const void *)c->payload.at : c->tensor.data;
    pthread_mutex_unlock(&m->lock);
    return err;
}

void constant_forget(Model *m, const Constant *c)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)c->payload.at, to = from + c->tensor.bytes;
    from = (from + page - 1) / page * page;
    to = to / page * page;
    if (!c->payload.at || from >= to) return;
    pthread_mutex_lock(&m->lock);
    for (const Mapping *at = m->mapping; at; at = at->next)
        if (at->mapped && at->base == m->source.at) madvise((void *)from, to - from, MADV_DONTNEED);
    pthread_mutex_unlock(&m->lock);
}

Err constant_release(Model *m, Constant *c)
{
    pthread_mutex_lock(&m->lock);
    Err err = release_alone(m, c);
    pthread_mutex_unlock(&m->lock);
    return err;
}
