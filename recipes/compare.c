#include "recipes/compare.h"
#include "recipes/report_table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Everything of one model in one list, sorted by key; things with equal keys keep the model's order. */
typedef struct Item { const char *key; int order; void *thing; } Item;
typedef struct List { Arena *arena; Model *model; Item *item; int n, room; bool nodes; } List;

static Err no_memory(void)
{
    return err_set(ERR_NOMEM, "not enough memory to compare the models");
}

static const char *node_label(Arena *arena, const Node *n)
{
    if (n->name && *n->name) return n->name;
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i]) return arena_printf(arena, "-> %s", n->out[i]->name);
    return arena_printf(arena, "a %s without outputs", n->op_type);
}

/* What stands before the names of a graph: "" for the main one. NULL: out of memory. */
static const char *graph_path(Arena *arena, const Graph *g)
{
    if (g->domain) return arena_printf(arena, "function %s.%s: ", g->domain, g->name);
    if (!g->outer) return "";
    const char *outer = graph_path(arena, g->outer), *owner = node_label(arena, g->owner), *attr = "";
    for (int i = 0; i < g->owner->n_attr; i++) {
        const Attr *a = &g->owner->attr[i];
        if (a->kind == ATTR_G && a->g == g) attr = a->name;
    }
    if (!outer || !owner) return NULL;
    return arena_printf(arena, "%s%s.%s: ", outer, owner, *attr ? attr : g->name);
}

static Err list_add(List *l, const char *path, const char *name, void *thing)
{
    if (l->n == l->room) {
        int room = l->room ? 2 * l->room : 64;
        Item *larger = arena_array(l->arena, (size_t)room, sizeof *larger);
        if (!larger) return no_memory();
        if (l->n) memcpy(larger, l->item, (size_t)l->n * sizeof *larger);
        l->item = larger;
        l->room = room;
    }
    const char *key = path && name && *path ? arena_printf(l->arena, "%s%s", path, name) : name;
    if (!path || !key) return no_memory();
    l->item[l->n] = (Item){ key, l->n, thing };
    l->n++;
    return OK;
}

static Err list_graph(Graph *g, void *user)
{
    List *l = user;
    const char *path = graph_path(l->arena, g);
    for (int i = 0; l->nodes && i < g->n_node; i++) TRY(list_add(l, path, node_label(l->arena, g->node[i]), g->node[i]));
    for (int i = 0; !l->nodes && i < g->n_value; i++)
        if (g->value[i]->constant) TRY(list_add(l, path, g->value[i]->name, g->value[i]->constant));
    return OK;
}

static int by_key(const void *a, const void *b)
{
    const Item *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static Err list_model(Arena *arena, Model *m, bool nodes, List *l)
{
    *l = (List){ .arena = arena, .model = m, .nodes = nodes };
    TRY(model_each_graph(m, list_graph, l));
    if (l->n) qsort(l->item, (size_t)l->n, sizeof *l->item, by_key);
    return OK;
}

/* ---- Tensors ---- */

static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31;
    double fraction = h & 1023, v = exponent == 31 ? (fraction != 0 ? NAN : INFINITY) : exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return h >> 15 ? -v : v;
}

static double bfloat_value(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* Element i as a number; NaN for types that are not numbers here. */
static double element_value(DType t, const void *data, int64_t i)
{
    switch (t) {
    case DT_F32:  return (double)((const float *)data)[i];
    case DT_F64:  return ((const double *)data)[i];
    case DT_F16:  return half_value(((const uint16_t *)data)[i]);
    case DT_BF16: return bfloat_value(((const uint16_t *)data)[i]);
    case DT_I8:   return ((const int8_t *)data)[i];
    case DT_U8: case DT_BOOL: return ((const uint8_t *)data)[i];
    case DT_I16:  return ((const int16_t *)data)[i];
    case DT_U16:  return ((const uint16_t *)data)[i];
    case DT_I32:  return ((const int32_t *)data)[i];
    case DT_U32:  return ((const uint32_t *)data)[i];
    case DT_I64:  return (double)((const int64_t *)data)[i];
    case DT_U64:  return (double)((const uint64_t *)data)[i];
    case DT_I4: case DT_I2: case DT_U4: case DT_U2: break;
    default:      return NAN;
    }
    int bits = dtype_bits(t), per_byte = 8 / bits, v = ((const uint8_t *)data)[i / per_byte] >> (int)(i % per_byte) * bits & ((1 << bits) - 1);
    return (t == DT_I4 || t == DT_I2) && v >> (bits - 1) ? v - (1 << bits) : v;
}

static bool same_bits(const void *a, const void *b, int64_t i, int bits)
{
    if (bits < 8) {
        int per_byte = 8 / bits, shift = (int)(i % per_byte) * bits, mask = (1 << bits) - 1;
        return ((((const uint8_t *)a)[i / per_byte] ^ ((const uint8_t *)b)[i / per_byte]) >> shift & mask) == 0;
    }
    size_t size = (size_t)bits / 8;
    return memcmp((const char *)a + (size_t)i * size, (const char *)b + (size_t)i * size, size) == 0;
}

static void compare_elements(TensorDifference *d)
{
    const Tensor *a = &d->a->tensor, *b = &d->b->tensor;
    if (memcmp(a->data, b->data, a->bytes) == 0) return;
    int bits = dtype_bits(a->dtype);
    for (int64_t i = 0; i < d->elements; i++) {
        if (same_bits(a->data, b->data, i, bits)) continue;
        double x = element_value(a->dtype, a->data, i), y = element_value(b->dtype, b->data, i), change = fabs(x - y);
        d->changed++;
        d->newly_zero += y == 0 && x != 0;
        d->no_longer_zero += x == 0 && y != 0;
        if (!(change <= d->max_change)) d->max_change = change;        /* a NaN stays */
    }
}

static void compare_strings(TensorDifference *d)
{
    const Span *a = d->a->tensor.data, *b = d->b->tensor.data;
    for (int64_t i = 0; i < d->elements; i++) d->changed += a[i].size != b[i].size || (a[i].size && memcmp(a[i].at, b[i].at, a[i].size) != 0);
    d->max_change = NAN;
}

static Err compare_data(Model *ma, Model *mb, Constant *a, Constant *b, TensorDifference *d)
{
    d->reshaped = a->tensor.dtype != b->tensor.dtype || !shape_equal(&a->tensor.shape, &b->tensor.shape);
    if (d->reshaped || shape_count(&a->tensor.shape, &d->elements) != OK) return OK;
    Err e = constant_fetch(ma, a);
    if (e == OK) e = constant_fetch(mb, b);
    if (e != OK) return e;
    if (a->tensor.dtype == DT_STRING) compare_strings(d);
    else compare_elements(d);
    TRY(constant_release(ma, a));
    return constant_release(mb, b);
}

static Err tensors_compare(Arena *arena, Model *ma, Model *mb, Comparison *c)
{
    List a, b;
    TRY(list_model(arena, ma, false, &a));
    TRY(list_model(arena, mb, false, &b));
    c->tensor = arena_array(arena, (size_t)a.n + (size_t)b.n, sizeof *c->tensor);
    if (!c->tensor) return no_memory();
    for (int i = 0, j = 0; i < a.n || j < b.n;) {
        int order = i == a.n ? 1 : j == b.n ? -1 : strcmp(a.item[i].key, b.item[j].key);
        TensorDifference d = { .name = order > 0 ? b.item[j].key : a.item[i].key, .kind = order < 0 ? ONLY_A : order > 0 ? ONLY_B : CHANGED };
        Constant *x = order <= 0 ? a.item[i++].thing : NULL, *y = order >= 0 ? b.item[j++].thing : NULL;
        d.a = x;
        d.b = y;
        if (x && y) {
            TRY(compare_data(ma, mb, x, y, &d));
            c->stored_otherwise += x->storage != y->storage;
            if (!d.reshaped && !d.changed) {
                c->same_tensors++;
                continue;
            }
        }
        c->tensor[c->n_tensor++] = d;
    }
    return OK;
}

/* ---- Nodes ---- */

static bool same_values(Value *const *a, int n, Value *const *b, int m)
{
    for (int i = 0; i < n || i < m; i++) {
        const char *x = i < n && a[i] ? a[i]->name : "", *y = i < m && b[i] ? b[i]->name : "";
        if (strcmp(x, y) != 0) return false;
    }
    return true;
}

/* Bodies and the tensors of Constant nodes are compared on their own. */
static bool compared_elsewhere(const Node *n, const Attr *a)
{
    return a->kind == ATTR_G || a->kind == ATTR_GS || (strcmp(n->op_type, "Constant") == 0 && !*n->domain);
}

static bool same_attributes(const Node *a, const Node *b)
{
    if (a->n_attr != b->n_attr) return false;
    for (int i = 0; i < a->n_attr; i++) {
        const Attr *x = &a->attr[i], *y = node_attr(b, x->name);
        if (!y || x->kind != y->kind) return false;
        if (compared_elsewhere(a, x)) continue;
        if (x->source.size != y->source.size || memcmp(x->source.at, y->source.at, x->source.size) != 0) return false;
    }
    return true;
}

/* "" when nothing differs; NULL when out of memory. */
static const char *node_changes(Arena *arena, const Node *a, const Node *b)
{
    Text t = { .arena = arena };
    if (strcmp(a->op_type, b->op_type) != 0 || strcmp(a->domain, b->domain) != 0) text_add(&t, ", operator");
    if (!same_values(a->in, a->n_in, b->in, b->n_in)) text_add(&t, ", inputs");
    if (!same_values(a->out, a->n_out, b->out, b->n_out)) text_add(&t, ", outputs");
    if (!same_attributes(a, b)) text_add(&t, ", attributes");
    if (t.failed) return NULL;
    return t.length ? text_done(&t) + 2 : "";
}

static Err nodes_compare(Arena *arena, Model *ma, Model *mb, Comparison *c)
{
    List a, b;
    TRY(list_model(arena, ma, true, &a));
    TRY(list_model(arena, mb, true, &b));
    c->node = arena_array(arena, (size_t)a.n + (size_t)b.n, sizeof *c->node);
    if (!c->node) return no_memory();
    for (int i = 0, j = 0; i < a.n || j < b.n;) {
        int order = i == a.n ? 1 : j == b.n ? -1 : strcmp(a.item[i].key, b.item[j].key);
        const char *name = order > 0 ? b.item[j].key : a.item[i].key, *what = NULL;
        const Node *x = order <= 0 ? a.item[i++].thing : NULL, *y = order >= 0 ? b.item[j++].thing : NULL;
        if (x && y) {
            what = node_changes(arena, x, y);
            if (!what) return no_memory();
            if (!*what) {
                c->same_nodes++;
                continue;
            }
        }
        c->node[c->n_node++] = (NodeDifference){ name, (y ? y : x)->op_type, order < 0 ? ONLY_A : order > 0 ? ONLY_B : CHANGED, what };
    }
    return OK;
}

/* ---- Metadata, opsets, inputs and outputs ---- */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static Err fact_add(Comparison *c, const char *what, const char *a, const char *b)
{
    if (!what) return no_memory();
    if (!same_text(a, b)) c->fact[c->n_fact++] = (FactDifference){ what, a, b };
    return OK;
}

static const char *number_text(Arena *arena, int64_t n)
{
    return n ? arena_printf(arena, "%lld", (long long)n) : NULL;
}

static Err opsets_compare(Arena *arena, Model *a, Model *b, Comparison *c)
{
    for (int side = 0; side < 2; side++) {
        const Model *m = side ? b : a;
        for (int i = 0; i < m->n_opset; i++) {
            const char *domain = m->opset[i].domain;
            int64_t x = graph_opset(a->graph, domain), y = graph_opset(b->graph, domain);
            if (side && x) continue;                       /* compared from the other side */
            TRY(fact_add(c, arena_printf(arena, "opset %s", *domain ? domain : "ai.onnx"), number_text(arena, x), number_text(arena, y)));
        }
    }
    return OK;
}

static Err properties_compare(Arena *arena, Model *a, Model *b, Comparison *c)
{
    for (int side = 0; side < 2; side++) {
        const Model *m = side ? b : a;
        for (int i = 0; i < m->n_property; i++) {
            const char *key = m->property[i].key, *x = model_property(a, key), *y = model_property(b, key);
            if (side && x) continue;
            TRY(fact_add(c, arena_printf(arena, "metadata %s", key), x, y));
        }
    }
    return OK;
}

static const char *value_text(Arena *arena, const Model *m, Value *const *value, int n, int i)
{
    if (i >= n) return NULL;
    const Fact *f = &value[i]->stated;
    const char *shape = shape_shown(arena, &f->shape, m->symbol);
    return arena_printf(arena, "%s %s %s", value[i]->name, f->is_tensor ? dtype_name(f->dtype) : "no tensor", shape ? shape : "?");
}

static Err values_compare(Arena *arena, Model *a, Model *b, Comparison *c)
{
    const Graph *x = a->graph, *y = b->graph;
    for (int i = 0; i < x->n_in || i < y->n_in; i++)
        TRY(fact_add(c, arena_printf(arena, "input %d", i), value_text(arena, a, x->in, x->n_in, i), value_text(arena, b, y->in, y->n_in, i)));
    for (int i = 0; i < x->n_out || i < y->n_out; i++)
        TRY(fact_add(c, arena_printf(arena, "output %d", i), value_text(arena, a, x->out, x->n_out, i), value_text(arena, b, y->out, y->n_out, i)));
    return OK;
}

static Err facts_compare(Arena *arena, Model *a, Model *b, Comparison *c)
{
    enum { FIXED = 4 };
    int64_t room = FIXED + (int64_t)a->n_opset + b->n_opset + a->n_property + b->n_property + a->graph->n_in + b->graph->n_in + a->graph->n_out + b->graph->n_out;
    c->fact = arena_array(arena, (size_t)room, sizeof *c->fact);
    if (!c->fact) return no_memory();
    TRY(fact_add(c, "IR version", number_text(arena, a->ir_version), number_text(arena, b->ir_version)));
    TRY(fact_add(c, "graph name", a->graph->name, b->graph->name));
    TRY(fact_add(c, "producer name", a->producer_name, b->producer_name));
    TRY(fact_add(c, "producer version", a->producer_version, b->producer_version));
    TRY(opsets_compare(arena, a, b, c));
    TRY(properties_compare(arena, a, b, c));
    return values_compare(arena, a, b, c);
}

Err models_compare(Arena *arena, Model *a, Model *b, Comparison **out)
{
    Comparison *c = arena_alloc(arena, sizeof *c);
    if (!c) return no_memory();
    TRY(tensors_compare(arena, a, b, c));
    TRY(nodes_compare(arena, a, b, c));
    TRY(facts_compare(arena, a, b, c));
    *out = c;
    return OK;
}
