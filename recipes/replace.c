#include "recipes/replace.h"
#include <stdlib.h>

enum { PIECE = 512 };                  /* elements that are looked through one by one when one of them is between the cuts */

typedef struct Next { int64_t position; uint32_t magnitude; } Next;

static int by_order(const void *a, const void *b)
{
    const Next *x = a, *y = b;
    if (x->magnitude != y->magnitude)
        return x->magnitude < y->magnitude ? -1 : 1;
    return x->position < y->position ? -1 : 1;
}

/* The candidates between two cuts, in order. */
static int64_t find_between(const Replace *r, Cut high, Next *list)
{
    const Magnitudes *m = r->from;
    const uint32_t bracket[2] = { r->cut.magnitude, high.magnitude > MAGNITUDE_BITS ? high.magnitude : high.magnitude + 1 };
    int64_t found = 0;
    #pragma omp parallel for schedule(static) if (m->count > 64 * PIECE)
    for (int64_t begin = 0; begin < m->count; begin += PIECE) {
        uint32_t converted[PIECE], inside[PIECE + BRACKET_SLACK];
        int64_t n = m->count - begin < PIECE ? m->count - begin : PIECE;
        const uint32_t *x = m->elements ? elements_magnitudes(m->elements, begin, n, converted) : m->bits + begin;
        size_t below = 0;
        if (r->kernels->bracket_f32(x, (size_t)n, bracket, inside, &below) == 0)
            continue;
        for (int64_t i = 0; i < n; i++) {
            uint32_t magnitude = x[i] & MAGNITUDE_BITS;
            if (!cut_takes(high, magnitude, begin + i) || cut_takes(r->cut, magnitude, begin + i))
                continue;
            int64_t at;
            #pragma omp atomic capture
            at = found++;
            list[at] = (Next) { begin + i, magnitude };
        }
    }
    qsort(list, (size_t)found, sizeof *list, by_order);
    return found;
}

static Err find_room_cut(const Replace *r, int64_t room, Cut *high)
{
    bool known = false;
    if (r->selection)
        TRY(select_further(r->selection, r->rank + room, high, &known));
    if (known)
        return OK;
    Magnitudes each = *r->from;
    each.cost = NULL;                  /* by number, not by cost */
    int64_t taken;
    return select_first(&(Candidates) { .n = 1, .count = &each.count, .only = &each }, r->rank + room, r->kernels, high, &taken, NULL);
}

Err replace_find(const Replace *r, Replacements *found)
{
    int64_t rest = r->from->count - r->rank, room = r->room < rest ? r->room : rest;
    *found = (Replacements) { .position = block_new((size_t)(room + 1) * sizeof *found->position) };
    Next *next = block_new((size_t)(room + 1) * sizeof *next);
    Cut high;
    Err err = found->position && next ? find_room_cut(r, room, &high)
                                      : err_set(ERR_NOMEM, "out of memory for %lld candidates next to the threshold", (long long)room);
    int64_t n = err == OK ? find_between(r, high, next) : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = next[i].position, cost = r->from->cost ? r->from->cost[at] : 1;
        if (r->must_stay(r->user, at))
            continue;
        if (found->cost + cost > r->budget)
            break;
        found->cost += cost;
        found->position[found->n++] = at;
    }
    block_free(next);
    return err;
}
