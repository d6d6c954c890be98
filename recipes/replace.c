#include "recipes/replace.h"
#include <stdlib.h>

enum { PIECE = 512, STRETCH = 1 << 13 };       /* elements that are looked through one by one, or skipped together, by what is between the cuts */

typedef struct Next { int64_t position; uint32_t magnitude; } Next;

static int by_order(const void *a, const void *b)
{
    const Next *x = a, *y = b;
    if (x->magnitude != y->magnitude)
        return x->magnitude < y->magnitude ? -1 : 1;
    return x->position < y->position ? -1 : 1;
}

/* Those of n <= PIECE candidates that are between the cuts; *found counts them all. */
static void look_through(const Replace *r, int64_t begin, int64_t n, Cut high, Next *list, int64_t *found)
{
    uint32_t converted[PIECE], inside[PIECE + BRACKET_SLACK];
    const uint32_t bracket[2] = { r->cut.magnitude, high.magnitude > MAGNITUDE_BITS ? high.magnitude : high.magnitude + 1 };
    const Magnitudes *m = r->from;
    const uint32_t *x = m->elements ? elements_magnitudes(m->elements, begin, n, converted) : m->bits + begin;
    size_t below = 0;
    if (r->kernels->bracket_f32(x, (size_t)n, bracket, inside, &below) == 0)
        return;
    for (int64_t i = 0; i < n; i++) {
        uint32_t magnitude = x[i] & MAGNITUDE_BITS;
        if (!cut_takes(high, magnitude, begin + i) || cut_takes(r->cut, magnitude, begin + i))
            continue;
        int64_t at;
        #pragma omp atomic capture
        at = (*found)++;
        list[at] = (Next) { begin + i, magnitude };
    }
}

/* The candidates between two cuts, in order. known: the selection can tell where there are none. */
static int64_t find_between(const Replace *r, Cut high, bool known, Next *list)
{
    int64_t found = 0, count = r->from->count;
    #pragma omp parallel for schedule(dynamic) if (count > 16 * STRETCH)
    for (int64_t begin = 0; begin < count; begin += STRETCH) {
        int64_t end = begin + STRETCH < count ? begin + STRETCH : count;
        if (known && !select_has(r->selection, begin, end - begin, r->cut.magnitude, high.magnitude))
            continue;
        for (int64_t at = begin; at < end; at += PIECE)
            look_through(r, at, end - at < PIECE ? end - at : PIECE, high, list, &found);
    }
    qsort(list, (size_t)found, sizeof *list, by_order);
    return found;
}

static Err find_cut(const Replace *r, int64_t room, Cut *high, bool *known)
{
    *known = false;
    if (r->selection)
        TRY(select_further(r->selection, r->rank + room, high, known));
    if (*known)
        return OK;
    Magnitudes each = *r->from;
    each.cost = NULL;                  /* by number, not by cost */
    int64_t taken;
    return select_first(&(Candidates) { .n = 1, .count = &each.count, .only = &each }, r->rank + room, r->kernels, high, &taken, NULL);
}

/* Looks at the next `room` candidates. *done: no later one can be taken. */
static Err look(const Replace *r, int64_t room, Next *next, Replacements *found, bool *done)
{
    Cut high;
    bool known;
    TRY(find_cut(r, room, &high, &known));
    int64_t n = find_between(r, high, known, next);
    found->n = found->cost = 0;
    *done = r->budget == 0;
    for (int64_t i = 0; i < n && !*done; i++) {
        int64_t at = next[i].position, cost = r->from->cost ? r->from->cost[at] : 1;
        if (r->must_stay(r->user, at))
            continue;
        *done = found->cost + cost >= r->budget;
        if (found->cost + cost > r->budget)
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
    for (int64_t room = r->few; !done && looked < rest && looked < r->enough; room = r->enough) {
        looked = room < rest ? room : rest;
        block_free(found->position);
        found->position = block_new((size_t)(looked + 1) * sizeof *found->position);
        Next *next = block_new((size_t)(looked + 1) * sizeof *next);
        Err err = found->position && next ? look(r, looked, next, found, &done)
                                          : err_set(ERR_NOMEM, "out of memory for %lld candidates next to the threshold", (long long)looked);
        block_free(next);
        if (err != OK)
            return err;
    }
    return OK;
}
