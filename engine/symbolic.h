/* Sizes as polynomials: the algebra behind dim_arith.
 *
 * A value is a number or a symbol. A symbol is an atom (a name of the file, an unnamed size, floor(...), min(...), max(...)) or stands for a polynomial with
 * integer coefficients over atoms, and carries the polynomial's text as its name. Polynomials are kept in one canonical form, so that equal
 * expressions have equal text and thus the same symbol. */
#pragma once
#include "onnx/model.h"

typedef struct Symbolic Symbolic;

/* Knows the model's symbols as atoms. Memory from `scratch`; the names of new symbols go to the model. ERR_NOMEM. */
Err symbolic_new(Model *m, Arena *scratch, Symbolic **out);
/* As dim_arith of engine/infer.h, with `unknown` for what has no result. */
Err symbolic_arith(Symbolic *s, char op, int64_t a, int64_t b, int64_t unknown, int64_t *result);
/* The symbol of this name; size: it is never negative. `unknown` when the model's symbols are used up. ERR_NOMEM. */
Err symbolic_name(Symbolic *s, const char *name, bool size, int64_t unknown, int64_t *result);
/* Smallest value that a - b can have, sizes being >= 0; false when there is no bound. */
bool symbolic_bound(Symbolic *s, int64_t a, int64_t b, int64_t *bound);
