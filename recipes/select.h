/* Exact selection: the k smallest of many magnitudes, which may lie in several tensors that are not in memory together.
 *
 * The order is total: by magnitude, then by part, then by position. So "the first k" is one set, whatever the number of threads, and inside each part it is
 * all that comes before one Cut. Nothing is sorted: a sample gives a bracket that holds the threshold almost surely, one pass counts what is below it and
 * collects what is inside (a few percent), and the collected ones are finished exactly (Floyd and Rivest, CACM 18(3), 1975). Where the bracket
 * missed, or for candidates of different cost, three passes of a radix histogram find the threshold instead. */
#pragma once
#include "recipes/elements.h"

/* The candidates before a cut: those with a smaller magnitude, and of those with this magnitude the ones at a lower position. */
typedef struct Cut { uint32_t magnitude; int64_t position; } Cut;
static inline bool cut_takes(Cut c, uint32_t magnitude, int64_t position)
{
    return magnitude < c.magnitude || (magnitude == c.magnitude && position < c.position);
}

/* One part: either the elements of a weight, or scores in memory (signs are ignored) with the cost of each. */
typedef struct Magnitudes {
    int64_t count;
    const Elements *elements;          /* NULL: */
    const uint32_t *bits;
    const uint32_t *cost;              /* NULL: 1 each */
} Magnitudes;

/* All parts, opened one at a time and several times over. open and close may be NULL when there is one part, `only`. */
typedef struct Candidates {
    int n;
    const int64_t *count;              /* of each part */
    bool costs;                        /* parts have costs */
    const Magnitudes *only;
    Err (*open)(void *user, int i, Magnitudes *m);
    Err (*close)(void *user, int i);
    void *user;
} Candidates;

/* Takes candidates in order as long as their costs sum to k at most; the first that does not fit ends it. cut[i] and taken[i] (costs) for each part.
 * Scratch: an eighth of the candidates and 64 KiB for each thread. kept may be NULL; else it holds that scratch for select_further until select_free, also after
 * an error. ERR_NOMEM, errors of open and close. */
typedef struct Selection Selection;
Err  select_first(const Candidates *from, int64_t k, const Kernels *kernels, Cut *cut, int64_t *taken, Selection **kept);
/* The cut for another, nearby k, if what was collected tells it; otherwise *known is false. One part without costs. */
Err  select_further(Selection *s, int64_t k, Cut *cut, bool *known);
/* After select_further knew a cut: false when none of the n candidates from begin on has a magnitude from low to high, both between the two cuts. */
bool select_has(const Selection *s, int64_t begin, int64_t n, uint32_t low, uint32_t high);
void select_free(Selection *s);            /* NULL is allowed */
