/* Layers by name: the user's globs and regular expressions against the names of weights and of the nodes that use them. */
#pragma once
#include "engine/weights.h"

/* True where text is the name, a glob that fits it (fnmatch: * ? [...]), or "re:" and a POSIX extended regular expression that is found in it; the name is
 * that of the weight or of any of its nodes. ERR_ARG for a regular expression that does not parse. */
Err name_matches(const char *text, const Weight *w, bool *matches);
/* ERR_ARG, with the closest names, when text matches none of the weights. A model without weights is no mistake of the user's: OK. */
Err name_check(const char *text, const Weight *weight, int n);
