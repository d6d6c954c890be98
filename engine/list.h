/* Values that are no tensors: sequences, optionals and maps, as lists of values. They are known only while a plan runs: every step that reads or makes one is late. */
#pragma once
#include "engine/plan.h"

typedef enum ListKind { LIST_SEQUENCE, LIST_OPTIONAL, LIST_MAP } ListKind;

struct List {
    ListKind kind;
    int64_t  n;                /* optional: 0 or 1; map: 2, a tensor of keys and one of values */
    Buffer **item;             /* tensors or lists; never changed once they are in a list, so that lists may share them */
};

/* A list with room for n items. */
Err list_new(Plan *plan, ListKind kind, int64_t n, List **out);
/* Makes output i of the step this list. */
Err step_list(Step *s, int i, List *list);
/* A copy of a value that outlives the step that made it; taken from plan->now. Lists inside are copied too. */
Err value_copy(Plan *plan, const Buffer *from, Buffer **out);
/* Makes output i a copy of a value. */
Err step_value(Plan *plan, Step *s, int i, const Buffer *from);
/* The list that input i is; ERR_SHAPE when it is something else. */
Err list_of(const Step *s, int i, ListKind kind, List **out);
