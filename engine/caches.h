/* Sizes of this processor's caches in bytes; where the system does not say: what most have at least. */
#pragma once
#include <stddef.h>
#include <unistd.h>

static inline size_t l1_bytes(void)
{
    const long bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE);
    return bytes > 32 << 10 ? (size_t)bytes : 32 << 10;
}

static inline size_t l2_bytes(void)
{
    const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? (size_t)bytes : 1 << 20;
}
