/* Which candidates go instead of those that must stay. */
#pragma once
#include "recipes/select.h"

typedef struct Replace {
    const Magnitudes *from;
    const Kernels *kernels;
    Cut cut; int64_t rank;             /* candidates before the cut, whose number is rank, are decided */
    int64_t budget;                    /* what the ones behind it may cost together */
    int64_t few, enough;               /* how many candidates behind the cut suffice as a rule, and always: so many are looked at, then so many */
    Selection *selection;              /* that gave the cut; NULL: none is kept */
    bool (*must_stay)(const void *user, int64_t at);
    const void *user;
} Replace;

typedef struct Replacements { int64_t *position, n, cost; } Replacements;

/* The candidates behind the cut, in order and without those that must stay, as long as they fit into the budget; the first that does not fit ends it.
 * Give position to block_free, also after an error. ERR_NOMEM. */
Err replace_find(const Replace *r, Replacements *found);
