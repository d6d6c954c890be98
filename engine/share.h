/* The items of a loop, shared among the threads of a team.
 *
 * Every thread first takes the items of a range of its own, in order, and then what others have left. Steps of a plan that cut the same pixels or tokens into items so
 * find the results of the step before in the cache of the thread that made them: between the dies of a server a line takes several times as long as
 * within one. Who runs an item changes no result. */
#pragma once
#include "kernels/whole.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SHARE_RANGES = 64 };            /* more threads share ranges */

typedef struct Share {
    int ranges;
    struct { _Alignas(64) atomic_int_fast64_t next; int64_t end; } range[SHARE_RANGES];
} Share;

static inline void share_start(Share *s, int64_t items, int threads)
{
    s->ranges = least(threads, SHARE_RANGES);
    for (int r = 0; r < s->ranges; r++) {
        atomic_init(&s->range[r].next, items * r / s->ranges);
        s->range[r].end = items * (r + 1) / s->ranges;
    }
}

/* The next item of the calling thread; false: none is left. */
static inline bool share_next(Share *s, int thread, int64_t *item)
{
    for (int i = 0; i < s->ranges; i++) {
        int r = (thread + i) % s->ranges;
        if (atomic_load_explicit(&s->range[r].next, memory_order_relaxed) >= s->range[r].end)
            continue;
        *item = atomic_fetch_add_explicit(&s->range[r].next, 1, memory_order_relaxed);
        if (*item < s->range[r].end)
            return true;
    }
    return false;
}
