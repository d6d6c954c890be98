/* Memory that a model holds besides its arena: the mapped file, fetched elements. Kept in a list so that model_free finds all of it. */
#pragma once
#include "onnx/model.h"

typedef struct Mapping {
    struct Mapping *next;          /* in Model.mapping */
    void *base;                    /* NULL: nothing at the moment */
    size_t size;
    bool mapped;                   /* by mmap; otherwise a block of block_new */
} Mapping;

/* A new, empty entry of the model's list. ERR_NOMEM. */
Err  mapping_new(Model *m, Mapping **out);
Err  mapping_block(Mapping *mapping, size_t bytes);                       /* memory, not zeroed. ERR_NOMEM */
/* size bytes of a file from offset on (a multiple of the page size), private; writable or not. ERR_IO. */
Err  mapping_file(Mapping *mapping, int fd, int64_t offset, size_t size, bool writable);
void mapping_clear(Mapping *mapping);                                     /* gives the memory back */
