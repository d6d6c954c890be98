#include "onnx/mapping.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

Err mapping_new(Model *m, Mapping **out)
{
    Mapping *mapping = arena_alloc(m->arena, sizeof *mapping);
    if (!mapping) return err_set(ERR_NOMEM, "out of memory");
    mapping->next = m->mapping;
    m->mapping = mapping;
    *out = mapping;
    return OK;
}

Err mapping_block(Mapping *mapping, size_t bytes)
{
    void *block = block_new(bytes);
    if (!block) return err_set(ERR_NOMEM, "out of memory for %zu bytes", bytes);
    mapping->base = block;
    mapping->size = bytes;
    mapping->mapped = false;
    return OK;
}

Err mapping_file(Mapping *mapping, int fd, int64_t offset, size_t size, bool writable)
{
    void *base = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_PRIVATE, fd, offset);
    if (base == MAP_FAILED) return err_set(errno == ENOMEM ? ERR_NOMEM : ERR_IO, "cannot map the file: %s", strerror(errno));
    mapping->base = base;
    mapping->size = size;
    mapping->mapped = true;
    return OK;
}

void mapping_clear(Mapping *mapping)
{
    if (mapping->mapped && mapping->base) munmap(mapping->base, mapping->size);
    else block_free(mapping->base);
    mapping->base = NULL;
}
