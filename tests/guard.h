/* Buffers that notice stray accesses: what a kernel may touch ends at a page that cannot be read, and begins behind bytes that must not change. */
#pragma once
#include "tests/random.h"
#include <stddef.h>

typedef struct Guard { void *data; size_t bytes; void *map; size_t map_bytes; } Guard;

/* bytes of memory whose last byte is `slack` bytes before the forbidden page; filled with 0xa5, as is the page before it. */
Guard guard_new(size_t bytes, size_t slack);
/* Asserts that nothing before data (nor behind its end, up to the slack) was written, and frees. */
void  guard_free(Guard *g);
/* n floats in [-1, 1), of which about 10 - tenths of 10 are 0. */
Guard guard_floats(size_t n, uint32_t tenths, Random *r);
Guard guard_copy(const Guard *g);
