/* Derived fields: who produces a value, who reads it, the order of nodes. */
#include "onnx/model.h"
#include "onnx/names.h"
#include <string.h>

static Err out_of_memory(void)
{
    return err_set(ERR_NOMEM, "out of memory for the graph's derived fields");
}

static Err reset_values(Graph *g)
{
    Names *names = g->names;
    names_clear(names);
    for (int i = 0; i < g->n_value; i++) {
        Value *v = g->value[i];
        v->producer = NULL;
        v->user = NULL;
        v->n_user = 0;
        v->is_input = v->is_output = false;
        if (!*v->name) continue;
        if (names_get(names, v->name)) return err_set(ERR_FORMAT, "the name '%s' is defined twice", v->name);
        TRY(names_put(g->model->arena, names, v->name, v));
    }
    for (int i = 0; i < g->n_in; i++) g->in[i]->is_input = true;
    return OK;
}

static Err set_producer(Node *n, Value *v)
{
    if (v->graph != n->graph) return err_set(ERR_FORMAT, "a node of graph '%s' writes '%s' of another graph", n->graph->name, v->name);
    if (v->producer) return err_set(ERR_FORMAT, "the name '%s' is defined twice: by two nodes", v->name);
    if (v->is_input) return err_set(ERR_FORMAT, "the name '%s' is defined twice: by a node and as an input", v->name);
    v->producer = n;
    return OK;
}

static Err set_producers(Graph *g, void *user)
{
    (void)user;
    TRY(reset_values(g));
    for (int i = 0; i < g->n_node; i++) {
        Node *n = g->node[i];
        n->index = i;
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k]) TRY(set_producer(n, n->out[k]));
    }
    return OK;
}

static bool sees(const Graph *g, const Value *v)
{
    while (g && g != v->graph) g = g->outer;
    return g != NULL;
}

static Err check_use(const Graph *g, const Value *v, const char *what)
{
    bool defined = v->producer || v->constant || v->is_input;
    if (defined && sees(g, v)) return OK;
    return err_set(ERR_FORMAT, "%s '%s' in graph '%s' is defined nowhere", what, v->name, g->name);
}

static Err count_users(Graph *g, void *user)
{
    (void)user;
    for (int i = 0; i < g->n_node; i++) {
        for (int k = 0; k < g->node[i]->n_in; k++) {
            Value *v = g->node[i]->in[k];
            if (!v) continue;
            TRY(check_use(g, v, "input"));
            v->n_user++;
        }
    }
    for (int i = 0; i < g->n_out; i++) {
        TRY(check_use(g, g->out[i], "output"));
        g->out[i]->is_output = true;
    }
    return OK;
}

static Err allocate_users(Graph *g, void *user)
{
    (void)user;
    size_t total = 0;
    for (int i = 0; i < g->n_value; i++) total += (size_t)g->value[i]->n_user;
    Node **list = arena_array(g->model->arena, total, sizeof *list);
    if (!list) return out_of_memory();
    for (int i = 0; i < g->n_value; i++) {
        g->value[i]->user = list;
        list += g->value[i]->n_user;
        g->value[i]->n_user = 0;
    }
    return OK;
}

static Err fill_users(Graph *g, void *user)
{
    (void)user;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_in; k++)
            if (g->node[i]->in[k]) g->node[i]->in[k]->user[g->node[i]->in[k]->n_user++] = g->node[i];
    return OK;
}

/* The node of v's graph that reads v when n does: n itself, or the node whose body n is in. */
static Node *reader_in_graph_of(const Value *v, Node *n)
{
    while (n->graph != v->graph) n = n->graph->owner;
    return n;
}

/* Order of one graph. An edge (from, to): `to` reads what `from` produces, itself or in its bodies. */
typedef struct Edge { int from, to; } Edge;
typedef struct Order { Graph *graph; Edge *edge; size_t n_edge; bool sorted; } Order;

static void add_edge(Order *o, const Value *v, Node *reader)
{
    int from = v->producer->index, to = reader_in_graph_of(v, reader)->index;
    if (from >= to) o->sorted = false;
    if (o->edge) o->edge[o->n_edge] = (Edge){ from, to };
    o->n_edge++;
}

/* Edges of o->graph that nodes and outputs of g make. */
static Err add_edges(Graph *g, void *user)
{
    Order *o = user;
    for (int i = 0; i < g->n_node; i++) {
        for (int k = 0; k < g->node[i]->n_in; k++) {
            const Value *v = g->node[i]->in[k];
            if (v && v->producer && v->graph == o->graph) add_edge(o, v, g->node[i]);
        }
    }
    for (int i = 0; i < g->n_out; i++) {
        const Value *v = g->out[i];
        if (g != o->graph && v->producer && v->graph == o->graph) add_edge(o, v, g->owner);
    }
    return OK;
}

typedef struct Search {
    const int *first, *from;       /* node i reads what nodes from[first[i]] .. from[first[i+1]-1] produce */
    int *next, *stack;             /* next[i]: edge of node i to follow; the nodes being visited */
    bool *open, *done;
    Node **sorted; int n_sorted;
} Search;

/* Depth-first: a node follows once everything it reads from does. */
static Err visit_node(const Graph *g, Search *s, int start)
{
    int depth = 0;
    if (s->done[start]) return OK;
    s->stack[depth++] = start;
    s->open[start] = true;
    while (depth > 0) {
        int i = s->stack[depth - 1];
        if (s->next[i] == s->first[i + 1]) {
            s->done[i] = true;
            s->sorted[s->n_sorted++] = g->node[i];
            depth--;
            continue;
        }
        int from = s->from[s->next[i]++];
        if (s->done[from]) continue;
        if (s->open[from])
            return err_set(ERR_FORMAT, "the nodes of graph '%s' form a cycle through node '%s' (%s)", g->name, g->node[from]->name, g->node[from]->op_type);
        s->open[from] = true;
        s->stack[depth++] = from;
    }
    return OK;
}

static Err group_edges(Arena *arena, const Order *o, int **first, int **from)
{
    size_t n = (size_t)o->graph->n_node;
    int *start = arena_array(arena, n + 2, sizeof *start), *list = arena_array(arena, o->n_edge, sizeof *list);
    if (!start || !list) return out_of_memory();
    for (size_t e = 0; e < o->n_edge; e++) start[o->edge[e].to + 2]++;
    for (size_t i = 2; i < n + 2; i++) start[i] += start[i - 1];
    for (size_t e = 0; e < o->n_edge; e++) list[start[o->edge[e].to + 1]++] = o->edge[e].from;
    *first = start;
    *from = list;
    return OK;
}

static Err sort_nodes(Arena *scratch, const Order *o)
{
    Graph *g = o->graph;
    size_t n = (size_t)g->n_node;
    int *first = NULL, *from = NULL;
    TRY(group_edges(scratch, o, &first, &from));
    Search s = { .first = first, .from = from, .next = arena_array(scratch, n, sizeof(int)), .stack = arena_array(scratch, n, sizeof(int)),
                 .open = arena_array(scratch, n, sizeof(bool)), .done = arena_array(scratch, n, sizeof(bool)),
                 .sorted = arena_array(scratch, n, sizeof(Node *)) };
    if (!s.next || !s.stack || !s.open || !s.done || !s.sorted) return out_of_memory();
    memcpy(s.next, first, n * sizeof(int));
    for (int i = 0; i < g->n_node; i++) TRY(visit_node(g, &s, i));
    for (int i = 0; i < g->n_node; i++) {
        g->node[i] = s.sorted[i];
        g->node[i]->index = i;
    }
    return OK;
}

static Err subtree(Graph *g, Err (*visit)(Graph *, void *), void *user);

static Err bodies(const Node *n, Err (*visit)(Graph *, void *), void *user)
{
    for (int k = 0; k < n->n_attr; k++) {
        const Attr *a = &n->attr[k];
        if (a->reference) continue;
        if (a->kind == ATTR_G) TRY(subtree(a->g, visit, user));
        for (int j = 0; a->kind == ATTR_GS && j < a->n; j++) TRY(subtree(a->gs[j], visit, user));
    }
    return OK;
}

static Err subtree(Graph *g, Err (*visit)(Graph *, void *), void *user)
{
    TRY(visit(g, user));
    for (int i = 0; i < g->n_node; i++) TRY(bodies(g->node[i], visit, user));
    return OK;
}

static Err order_nodes(Graph *g, void *user)
{
    (void)user;
    Order o = { .graph = g, .sorted = true };
    TRY(subtree(g, add_edges, &o));
    if (o.sorted) return OK;
    Arena *scratch = arena_new();
    if (!scratch) return out_of_memory();
    o.edge = arena_array(scratch, o.n_edge, sizeof *o.edge);
    o.n_edge = 0;
    Err err = o.edge ? subtree(g, add_edges, &o) : out_of_memory();
    if (!err) err = sort_nodes(scratch, &o);
    arena_free(scratch);
    return err;
}

Err model_refresh(Model *m)
{
    TRY(model_each_graph(m, set_producers, NULL));
    TRY(model_each_graph(m, count_users, NULL));
    TRY(model_each_graph(m, allocate_users, NULL));
    TRY(model_each_graph(m, fill_users, NULL));
    return model_each_graph(m, order_nodes, NULL);
}
