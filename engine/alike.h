/* Rows of W that share their zeros, wherever they stand, are packed together: any order of rows is free, and the sparse kernel shares the loads of up to four. */
#pragma once
#include "engine/multiply.h"
#include "engine/plan.h"

size_t rows_order_bytes(int rows);             /* of memory for rows_order */
/* The numbers of all rows in order[], those that share most of their zeros one after the other; returns how many do with another one. They are found by their smallest
 * hashes, which two sets have in common as often as places (Broder 1997, On the resemblance and containment of documents); only the first columns are looked at. */
int rows_order(const Weights *w, int k, void *memory, uint16_t *order);

/* Gives a sparse product its order, if there is enough to gain: then m->packed.bytes changes. ERR_NOMEM. */
Err rows_alike(Plan *plan, Multiply *m);
