#include "recipes/replace.h"
#include <stdlib.h>

typedef struct Next { int64_t position; uint32_t magnitude; } Next;

static int by_order(const void *a, const void *b)
{
    const Next *x = a, *y = b;
    if (x->magnitude != y->magnitude)
        return x->magnitude < y->magnitude ? -1 : 1;
    return x->position < y->position ? -1 : 1;
}

/* The candidates between two cuts, in order. */
static int64_t find_between(const Magnitudes *m, Cut low, Cut high, Next *list)
{
    int64_t n = 0;
    for (int64_t at = 0; at < m->count; at++) {
        uint32_t magnitude = m->elements ? elements_magnitude(m->elements, at) : m->bits[at];
        if (cut_takes(high, magnitude, at) && !cut_takes(low, magnitude, at))
            list[n++] = (Next) { at, magnitude };
    }
    qsort(list, (size_t)n, sizeof *list, by_order);
    return n;
}

/* Looks at the next `room` candidates. *done: no later one can be taken. */
static Err look(const Replace *r, int64_t room, Next *next, Replacements *found, bool *done)
{
    Magnitudes each = *r->from;
    each.cost = NULL;                  /* by number, not by cost */
    Cut high;
    int64_t taken;
    TRY(select_first(&(Candidates) { .n = 1, .count = &each.count, .only = &each }, r->rank + room, r->kernels, &high, &taken));
    int64_t n = find_between(&each, r->cut, high, next);
    found->n = found->cost = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = next[i].position, cost = r->from->cost ? r->from->cost[at] : 1;
        if (r->must_stay(r->user, at))
            continue;
        *done = found->cost + cost > r->budget;
        if (*done)
            return OK;
        found->cost += cost;
        found->position[found->n++] = at;
    }
    return OK;
}

Err replace_find(const Replace *r, Replacements *found)
{
    int64_t rest = r->from->count - r->rank, looked = 0;
    bool done = false;
    *found = (Replacements) { 0 };
    for (int64_t room = 4 * r->budget + 64; !done && looked < rest; room *= 8) {
        looked = room < rest ? room : rest;
        block_free(found->position);
        found->position = block_new((size_t)looked * sizeof *found->position);
        Next *next = block_new((size_t)looked * sizeof *next);
        Err err = found->position && next ? look(r, looked, next, found, &done)
                                          : err_set(ERR_NOMEM, "out of memory for %lld candidates next to the threshold", (long long)looked);
        block_free(next);
        if (err != OK)
            return err;
    }
    return OK;
}
