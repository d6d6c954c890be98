/* Which local function a node calls. */
#pragma once
#include "onnx/model.h"

typedef struct Calls Calls;

Err    calls_new(Model *m, Arena *arena, Calls **out);             /* ERR_NOMEM */
Graph *calls_function(const Calls *c, const Node *n);              /* NULL: n is no call */
/* The nodes that call the function g; *n is their number. */
Node **calls_of(const Calls *c, const Graph *g, int *n);
