#include "engine/calls.h"
#include <stdlib.h>
#include <string.h>

typedef struct Function { Graph *graph; Node **call; int n_call, capacity; } Function;
struct Calls { Arena *arena; Function *function; int n; };

static int order(const void *a, const void *b)
{
    const Graph *f = ((const Function *)a)->graph, *g = ((const Function *)b)->graph;
    int by_name = strcmp(f->name, g->name);
    return by_name ? by_name : strcmp(f->domain, g->domain);
}

static Function *find(const Calls *c, const char *name, const char *domain)
{
    Graph like = { .name = name, .domain = domain };
    return c->n ? bsearch(&(Function){ .graph = &like }, c->function, (size_t)c->n, sizeof *c->function, order) : NULL;
}

static Err add_call(Arena *arena, Function *f, Node *n)
{
    if (f->n_call == f->capacity) {
        int capacity = 2 * f->capacity + 4;
        Node **call = arena_array(arena, (size_t)capacity, sizeof *call);
        if (!call) return err_set(ERR_NOMEM, "out of memory");
        if (f->n_call) memcpy(call, f->call, (size_t)f->n_call * sizeof *call);
        f->call = call;
        f->capacity = capacity;
    }
    f->call[f->n_call++] = n;
    return OK;
}

static Err list_calls(Graph *g, void *user)
{
    Calls *c = user;
    for (int i = 0; i < g->n_node; i++) {
        Function *f = find(c, g->node[i]->op_type, g->node[i]->domain);
        if (f) TRY(add_call(c->arena, f, g->node[i]));
    }
    return OK;
}

Err calls_new(Model *m, Arena *arena, Calls **out)
{
    Calls *c = arena_alloc(arena, sizeof *c);
    if (!c) return err_set(ERR_NOMEM, "out of memory");
    *c = (Calls){ .arena = arena, .n = m->n_function };
    c->function = arena_array(arena, (size_t)m->n_function, sizeof *c->function);
    if (!c->function) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < c->n; i++) c->function[i] = (Function){ .graph = m->function[i] };
    qsort(c->function, (size_t)c->n, sizeof *c->function, order);
    if (c->n) TRY(model_each_graph(m, list_calls, c));
    *out = c;
    return OK;
}

Graph *calls_function(const Calls *c, const Node *n)
{
    const Function *f = find(c, n->op_type, n->domain);
    return f ? f->graph : NULL;
}

Node **calls_of(const Calls *c, const Graph *g, int *n)
{
    const Function *f = find(c, g->name, g->domain);
    *n = f ? f->n_call : 0;
    return f ? f->call : NULL;
}
