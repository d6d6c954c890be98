/* Local functions: a call becomes a copy of the function's nodes, so that the plan sees only operators. */
#include <string.h>
#include "engine/plan_internal.h"

typedef struct Expansion {
    Arena *arena;
    const Node *call;              /* whose attributes replace references */
    const Value **from; Value **to; int n, room;
} Expansion;

static Err full(void) { return err_set(ERR_NOMEM, "Out of memory while expanding a function."); }

static Err copy_put(Expansion *x, const Value *v, Value *copy)
{
    if (x->n == x->room) {
        int room = x->room ? 2 * x->room : 64;
        const Value **from = arena_array(x->arena, (size_t)room, sizeof *from);
        Value **to = arena_array(x->arena, (size_t)room, sizeof *to);
        if (!from || !to) return full();
        if (x->n) memcpy(from, x->from, (size_t)x->n * sizeof *from);
        if (x->n) memcpy(to, x->to, (size_t)x->n * sizeof *to);
        x->from = from; x->to = to; x->room = room;
    }
    x->from[x->n] = v;
    x->to[x->n++] = copy;
    return OK;
}

/* The copy of a value, made on first sight. Constants are shared: the copy points to the same Constant. */
static Err copy_value(Expansion *x, const Value *v, Value **out)
{
    *out = NULL;
    if (!v) return OK;
    for (int i = x->n - 1; i >= 0; i--) {
        if (x->from[i] != v) continue;
        *out = x->to[i];
        return OK;
    }
    Value *copy = arena_alloc(x->arena, sizeof *copy);
    if (!copy) return full();
    *copy = *v;
    *out = copy;
    return copy_put(x, v, copy);
}

static Err copy_list(Expansion *x, Value *const *v, int n, Value ***out)
{
    Value **list = arena_array(x->arena, (size_t)n + 1, sizeof *list);
    if (!list) return full();
    for (int i = 0; i < n; i++) TRY(copy_value(x, v[i], &list[i]));
    *out = list;
    return OK;
}

static Err copy_graph(Expansion *x, const Graph *g, Graph **out);

/* Attributes of the copy: references looked up in the call (left out where the call does not set them), bodies copied. */
static Err copy_attrs(Expansion *x, const Node *n, Node *copy)
{
    Attr *list = arena_array(x->arena, (size_t)n->n_attr + 1, sizeof *list);
    if (!list) return full();
    copy->attr = list;
    copy->n_attr = 0;
    for (int i = 0; i < n->n_attr; i++) {
        Attr a = n->attr[i];
        if (a.reference) {
            const Attr *given = node_attr(x->call, a.reference);
            if (!given) continue;
            const char *name = a.name;
            a = *given;
            a.name = name;
        } else if (a.kind == ATTR_G) {
            TRY(copy_graph(x, a.g, &a.g));
        } else if (a.kind == ATTR_GS) {
            Graph **bodies = arena_array(x->arena, (size_t)a.n + 1, sizeof *bodies);
            if (!bodies) return full();
            for (int k = 0; k < a.n; k++) TRY(copy_graph(x, a.gs[k], &bodies[k]));
            a.gs = bodies;
        }
        list[copy->n_attr++] = a;
    }
    return OK;
}

static Err copy_graph(Expansion *x, const Graph *g, Graph **out)
{
    Graph *copy = arena_alloc(x->arena, sizeof *copy);
    if (!copy) return full();
    *copy = *g;
    TRY(copy_list(x, g->in, g->n_in, &copy->in));
    copy->node = arena_array(x->arena, (size_t)g->n_node + 1, sizeof *copy->node);
    if (!copy->node) return full();
    for (int i = 0; i < g->n_node; i++) {
        Node *n = arena_alloc(x->arena, sizeof *n);
        if (!n) return full();
        *n = *g->node[i];
        TRY(copy_list(x, n->in, n->n_in, &n->in));
        TRY(copy_list(x, n->out, n->n_out, &n->out));
        TRY(copy_attrs(x, g->node[i], n));
        copy->node[i] = n;
    }
    TRY(copy_list(x, g->out, g->n_out, &copy->out));
    *out = copy;
    return OK;
}

Err function_expand(Arena *arena, const Graph *function, const Node *call, Graph **out)
{
    Expansion x = { .arena = arena, .call = call };
    for (int i = 0; i < function->n_in; i++)           /* inputs that the call leaves out are left out by the nodes as well */
        if (i >= call->n_in || !call->in[i]) TRY(copy_put(&x, function->in[i], NULL));
    return copy_graph(&x, function, out);
}
