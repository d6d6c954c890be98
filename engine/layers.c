/* Two walks over the graph, forward for "first" and backward for "last"; bodies are walked where their node stands, functions at each call. */
#include "engine/layers.h"
#include "engine/calls.h"
#include "engine/pointers.h"
#include <string.h>

enum { SMALL = 1024, MAX_NESTED = 64 };

/* Bits for values; nothing: made of constants alone. */
enum { FROM_INPUT = 1, FROM_PRODUCT = 2, TO_PRODUCT = 4 };
/* Bits for products. */
enum { PRODUCT = 1, WEIGHS_MEAN = 2, SEEN_FIRST = 4, SEEN_LATER = 8, SEEN_LAST = 16, SEEN_EARLIER = 32 };

struct Layers { Calls *calls; Pointers *value, *product; int64_t budget; int depth; };

static int get(const Pointers *p, const void *key)
{
    const int *bits = key ? pointers_find(p, key) : NULL;
    return bits ? *bits : 0;
}

static Err set(Pointers *p, const void *key, int bits)
{
    int *number;
    if (!key || !bits) return OK;
    TRY(pointers_add(p, key, &number));
    *number |= bits;
    return OK;
}

static bool is_type(const Node *n, const char *type) { return !strcmp(n->op_type, type) && !*n->domain; }
static bool asks_shape(const Node *n) { return is_type(n, "Shape") || is_type(n, "Size"); }

static const Node *producer_of_moved(const Value *v)
{
    for (int i = 0; v && v->producer && i < MAX_NESTED; i++) {
        if (!v->producer->op || !v->producer->op->passes_weight) return v->producer;
        v = v->producer->n_in ? v->producer->in[0] : NULL;
    }
    return NULL;
}

static bool weighs_mean(const Weight *w, const Node *n)
{
    const Node *before = w->elements < SMALL && n->n_in ? producer_of_moved(n->in[0]) : NULL;
    return before && is_type(before, "Softmax");
}

static bool is_embedding(const Node *n)
{
    if (!is_type(n, "Gather") || n->n_in != 2 || !n->in[0]) return false;
    const Value *table = n->in[0];
    for (int i = 0; !table->constant && table->producer && i < MAX_NESTED; i++) {
        if (!table->producer->op || !table->producer->op->passes_weight || !table->producer->in[0]) return false;
        table = table->producer->in[0];
    }
    DType t = n->in[0]->fact.dtype;
    return table->constant && n->in[0]->fact.shape.rank >= 2 && (dtype_is_float(t) || dtype_is_small_int(t));
}

static Graph *body_at(const Node *n, int *i)
{
    for (; *i < n->n_attr; ++*i)
        if (n->attr[*i].kind == ATTR_G) return n->attr[(*i)++].g;
    return NULL;
}

/* ---- forward ---- */

static Err forward(Layers *l, Graph *g);

/* Values pass into the graph inside n and out of it. A Loop's body gives its condition first. */
static Err forward_inside(Layers *l, const Node *n, Graph *inner)
{
    if (l->depth >= MAX_NESTED) return OK;
    for (int i = 0; i < inner->n_in && i < n->n_in; i++)
        if (!is_type(n, "If")) TRY(set(l->value, inner->in[i], get(l->value, n->in[i])));
    l->depth++;
    TRY(forward(l, inner));
    l->depth--;
    int more = is_type(n, "Loop") ? 1 : 0;
    for (int i = 0; i < n->n_out && i + more < inner->n_out; i++) TRY(set(l->value, n->out[i], get(l->value, inner->out[i + more])));
    return OK;
}

static Err forward_node(Layers *l, const Node *n)
{
    Graph *function = calls_function(l->calls, n);
    if (function) return forward_inside(l, n, function);
    bool nested = false;
    for (int i = 0; i < n->n_attr;) {
        Graph *body = body_at(n, &i);
        if (body) TRY(forward_inside(l, n, body));
        nested |= body != NULL;
    }
    if (nested || asks_shape(n)) return OK;
    int bits = 0, *product = pointers_find(l->product, n);
    for (int i = 0; i < n->n_in; i++) bits |= get(l->value, n->in[i]);
    if (product && !(*product & WEIGHS_MEAN)) {
        *product |= bits & FROM_PRODUCT ? SEEN_LATER : bits & FROM_INPUT ? SEEN_FIRST : 0;
        bits = FROM_PRODUCT;
    } else if (bits && is_embedding(n)) {
        bits = FROM_PRODUCT;
    }
    for (int i = 0; i < n->n_out; i++) TRY(set(l->value, n->out[i], bits));
    return OK;
}

static Err forward(Layers *l, Graph *g)
{
    for (int i = 0; i < g->n_node && l->budget > 0; i++, l->budget--) TRY(forward_node(l, g->node[i]));
    return OK;
}

/* ---- backward ---- */

static Err backward(Layers *l, Graph *g);

static Err backward_inside(Layers *l, const Node *n, Graph *inner)
{
    if (l->depth >= MAX_NESTED) return OK;
    int more = is_type(n, "Loop") ? 1 : 0;
    for (int i = 0; i < n->n_out && i + more < inner->n_out; i++) TRY(set(l->value, inner->out[i + more], get(l->value, n->out[i]) & TO_PRODUCT));
    l->depth++;
    TRY(backward(l, inner));
    l->depth--;
    for (int i = 0; i < inner->n_in && i < n->n_in; i++)
        if (!is_type(n, "If")) TRY(set(l->value, n->in[i], get(l->value, inner->in[i]) & TO_PRODUCT));
    return OK;
}

static Err backward_node(Layers *l, const Node *n)
{
    Graph *function = calls_function(l->calls, n);
    if (function) return backward_inside(l, n, function);
    bool nested = false;
    for (int i = 0; i < n->n_attr;) {
        Graph *body = body_at(n, &i);
        if (body) TRY(backward_inside(l, n, body));
        nested |= body != NULL;
    }
    if (nested || asks_shape(n)) return OK;
    int bits = 0, *product = pointers_find(l->product, n);
    for (int i = 0; i < n->n_out; i++) bits |= get(l->value, n->out[i]) & TO_PRODUCT;
    if (product && !(*product & WEIGHS_MEAN)) {
        *product |= bits ? SEEN_EARLIER : SEEN_LAST;
        bits = TO_PRODUCT;
    }
    for (int i = 0; i < n->n_in; i++) TRY(set(l->value, n->in[i], bits));
    return OK;
}

static Err backward(Layers *l, Graph *g)
{
    for (int i = g->n_node - 1; i >= 0 && l->budget > 0; i--, l->budget--) TRY(backward_node(l, g->node[i]));
    return OK;
}

static Err count_nodes(Graph *g, void *user)
{
    *(int64_t *)user += g->n_node;
    return OK;
}

Err layers_find(Model *m, Arena *scratch, const Weight *weight, int n, Layers **out)
{
    Layers *l = arena_alloc(scratch, sizeof *l);
    if (!l) return err_set(ERR_NOMEM, "out of memory");
    TRY(calls_new(m, scratch, &l->calls));
    TRY(pointers_new(scratch, &l->value));
    TRY(pointers_new(scratch, &l->product));
    for (int i = 0; i < n; i++)
        for (int k = 0; k < weight[i].n_use; k++) {
            const Node *node = weight[i].use[k].node;
            TRY(set(l->product, node, PRODUCT | (weighs_mean(&weight[i], node) ? WEIGHS_MEAN : 0)));
        }
    for (int i = 0; i < m->graph->n_in; i++)
        if (!m->graph->in[i]->constant) TRY(set(l->value, m->graph->in[i], FROM_INPUT));
    int64_t nodes = 0;
    TRY(model_each_graph(m, count_nodes, &nodes));
    l->budget = 16 * nodes + 1000;
    TRY(forward(l, m->graph));
    l->budget = 16 * nodes + 1000;
    TRY(backward(l, m->graph));
    *out = l;
    return OK;
}

int layers_of(const Layers *l, const Node *product)
{
    int bits = get(l->product, product), is = 0;
    if ((bits & SEEN_FIRST) && !(bits & SEEN_LATER)) is |= LAYER_FIRST;
    if ((bits & SEEN_LAST) && !(bits & SEEN_EARLIER)) is |= LAYER_LAST;
    return is;
}
