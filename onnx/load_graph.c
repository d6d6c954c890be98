/* GraphProto and FunctionProto -> Graph. Three passes over the message: first everything that defines a name, then what the file states about
 * names, then the nodes' inputs and attributes. So nodes may stand in any order, and bodies see all names of the graphs around them. */
#include "onnx/load.h"
#include <string.h>

/* Where graphs and functions differ: field numbers, and inputs that are plain names. 0: functions have none. */
typedef struct Layout { uint32_t node, input, output, value_info, initializer, sparse; bool names_only; } Layout;
static const Layout graph_layout = { GRAPH_NODE, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO, GRAPH_INITIALIZER, GRAPH_SPARSE_INITIALIZER, false };
static const Layout function_layout = { FUNCTION_NODE, FUNCTION_INPUT, FUNCTION_OUTPUT, FUNCTION_VALUE_INFO, 0, 0, true };

static Err value_new(Loader *l, Graph *g, const char *name, Value **out)
{
    Value **list = arena_grow(l->arena, g->value, g->n_value, sizeof *list);
    if (list) g->value = list;
    Value *v = arena_alloc(l->arena, sizeof *v);
    if (!list || !v) return load_out_of_memory();
    Fact unknown = { .is_tensor = true, .shape = { .rank = -1 } };
    *v = (Value){ .name = name, .stated = unknown, .fact = unknown, .graph = g };
    list[g->n_value++] = v;
    *out = v;
    return *name ? names_put(l->arena, g->names, name, v) : OK;
}

static Value *value_find(const Graph *g, const char *name)
{
    for (; g; g = g->outer) {
        Value *v = names_get(g->names, name);
        if (v) return v;
    }
    return NULL;
}

/* The name of a ValueInfoProto, or of a function's input or output. */
static Err value_name(Loader *l, const Layout *layout, Span info, const char **name)
{
    *name = "";
    if (layout->names_only) return load_string(l, info, name);
    Wire w = wire_of(info, l->file);
    for (Field f; wire_next(&w, &f);)
        if (f.tag == WIRE_TAG(VALUE_NAME, WIRE_BYTES)) TRY(load_string(l, f.bytes, name));
    return w.err;
}

static Err define_input(Loader *l, Graph *g, const Layout *layout, Span info)
{
    const char *name;
    TRY(value_name(l, layout, info, &name));
    Value *v = names_get(g->names, name);
    if (v && v->is_input) return err_set(ERR_FORMAT, "two inputs are named '%s'", name);
    if (!v) TRY(value_new(l, g, name, &v));
    v->is_input = true;
    Value **list = arena_grow(l->arena, g->in, g->n_in, sizeof *list);
    if (!list) return load_out_of_memory();
    g->in = list;
    list[g->n_in++] = v;
    return OK;
}

/* A name that two initializers have belongs to the last one, as in ONNX Runtime. */
static Err define_initializer(Loader *l, Graph *g, Constant *c)
{
    Value *v = names_get(g->names, c->name);
    if (!v) TRY(value_new(l, g, c->name, &v));
    v->constant = c;
    return OK;
}

static Err define_output(Loader *l, Node *n, const char *name, Value **out)
{
    Value *v = names_get(n->graph->names, name);
    if (v && v->producer) return err_set(ERR_FORMAT, "output '%s' is also the output of another node", name);
    if (v) return err_set(ERR_FORMAT, "output '%s' is also an input or initializer of the graph", name);
    TRY(value_new(l, n->graph, name, &v));
    v->producer = n;
    *out = v;
    return OK;
}

static Err node_head(Loader *l, Node *n)
{
    Wire w = wire_of(n->source, l->file);
    for (Field f; wire_next(&w, &f);) {
        switch (f.tag) {
        case WIRE_TAG(NODE_INPUT, WIRE_BYTES): n->n_in++; break;
        case WIRE_TAG(NODE_OUTPUT, WIRE_BYTES): n->n_out++; break;
        case WIRE_TAG(NODE_ATTRIBUTE, WIRE_BYTES): n->n_attr++; break;
        case WIRE_TAG(NODE_NAME, WIRE_BYTES): TRY(load_string(l, f.bytes, &n->name)); break;
        case WIRE_TAG(NODE_OP_TYPE, WIRE_BYTES): TRY(load_string(l, f.bytes, &n->op_type)); break;
        case WIRE_TAG(NODE_DOMAIN, WIRE_BYTES): TRY(load_string(l, f.bytes, &n->domain)); break;
        default: break;
        }
    }
    if (strcmp(n->domain, "ai.onnx") == 0) n->domain = "";
    n->in = arena_array(l->arena, (size_t)n->n_in, sizeof(Value *));
    n->out = arena_array(l->arena, (size_t)n->n_out, sizeof(Value *));
    n->attr = arena_array(l->arena, (size_t)n->n_attr, sizeof *n->attr);
    return w.err ? w.err : n->in && n->out && n->attr ? OK : load_out_of_memory();
}

static Err node_outputs(Loader *l, Node *n)
{
    Wire w = wire_of(n->source, l->file);
    int i = 0;
    for (Field f; wire_next(&w, &f);) {
        if (f.tag != WIRE_TAG(NODE_OUTPUT, WIRE_BYTES)) continue;
        const char *name;
        TRY(load_string(l, f.bytes, &name));
        if (*name) TRY(define_output(l, n, name, &n->out[i]));
        i++;
    }
    return w.err;
}

static Err node_error(const Node *n, Err err)
{
    if (*n->name) return err_in(err, "node '%s' (%s)", n->name, n->op_type);
    const char *output = n->n_out > 0 && n->out && n->out[0] ? n->out[0]->name : "";
    return err_in(err, "node %s (output '%s')", n->op_type, output);
}

static Err define_node(Loader *l, Graph *g, Span source)
{
    Node **list = arena_grow(l->arena, g->node, g->n_node, sizeof *list);
    if (list) g->node = list;
    Node *n = arena_alloc(l->arena, sizeof *n);
    if (!list || !n) return load_out_of_memory();
    *n = (Node){ .op_type = "", .domain = "", .name = "", .graph = g, .source = source };
    list[g->n_node++] = n;
    TRY(node_head(l, n));
    Err err = node_outputs(l, n);
    return err ? node_error(n, err) : OK;
}

/* First pass. Inputs come before nodes so that a clash is reported as one of the node. */
static Err define_names(Loader *l, Graph *g, const Layout *layout)
{
    Constant *c;
    Wire w = wire_of(g->source, l->file);
    for (Field f; wire_next(&w, &f);) {
        if (f.type != WIRE_BYTES) continue;
        if (f.number == layout->input) TRY(define_input(l, g, layout, f.bytes));
        if (f.number == layout->initializer) {
            TRY(load_constant(l, f.bytes, &c));
            TRY(define_initializer(l, g, c));
        }
        if (f.number == layout->sparse) {
            TRY(load_sparse(l, f.bytes, &c));
            TRY(define_initializer(l, g, c));
        }
    }
    TRY(w.err);
    w = wire_of(g->source, l->file);
    for (Field f; wire_next(&w, &f);)
        if (f.tag == WIRE_TAG(layout->node, WIRE_BYTES)) TRY(define_node(l, g, f.bytes));
    return w.err;
}

static Err load_dim(Loader *l, Span dim, const Value *v, int axis, int64_t *d)
{
    Wire w = wire_of(dim, l->file);
    Span param = {0};
    bool known = false;
    for (Field f; wire_next(&w, &f);) {
        if (f.tag == WIRE_TAG(DIM_PARAM, WIRE_BYTES)) param = f.bytes;
        if (f.tag != WIRE_TAG(DIM_VALUE, WIRE_VARINT)) continue;
        *d = (int64_t)f.value;
        known = *d >= 0;           /* exporters write -1 for unknown */
    }
    TRY(w.err);
    if (known) return OK;
    const char *name;
    if (param.size > 0) TRY(load_string(l, param, &name));
    else name = arena_printf(l->arena, "%s:%d", v->name, axis);
    return name ? model_symbol(l->m, name, d) : load_out_of_memory();
}

static Err load_shape(Loader *l, Span shape, const Value *v, Shape *out)
{
    Wire w = wire_of(shape, l->file);
    int rank = 0;
    for (Field f; wire_next(&w, &f);) {
        if (f.tag != WIRE_TAG(SHAPE_DIM, WIRE_BYTES)) continue;
        if (rank < MAX_RANK) TRY(load_dim(l, f.bytes, v, rank, &out->dim[rank]));
        rank++;
    }
    out->rank = rank <= MAX_RANK ? rank : -1;
    return w.err;
}

static Err load_tensor_type(Loader *l, Span type, const Value *v, Fact *fact)
{
    Wire w = wire_of(type, l->file);
    for (Field f; wire_next(&w, &f);) {
        if (f.tag == WIRE_TAG(TENSOR_TYPE_ELEMENT, WIRE_VARINT)) fact->dtype = f.value < DT_COUNT ? (DType)f.value : DT_NONE;
        if (f.tag == WIRE_TAG(TENSOR_TYPE_SHAPE, WIRE_BYTES)) TRY(load_shape(l, f.bytes, v, &fact->shape));
    }
    return w.err;
}

static Err load_type(Loader *l, Span type, Value *v)
{
    Wire w = wire_of(type, l->file);
    for (Field f; wire_next(&w, &f);) {
        switch (f.tag) {
        case WIRE_TAG(TYPE_TENSOR, WIRE_BYTES): TRY(load_tensor_type(l, f.bytes, v, &v->stated)); break;
        case WIRE_TAG(TYPE_SEQUENCE, WIRE_BYTES): case WIRE_TAG(TYPE_MAP, WIRE_BYTES): case WIRE_TAG(TYPE_OPAQUE, WIRE_BYTES):
        case WIRE_TAG(TYPE_SPARSE, WIRE_BYTES): case WIRE_TAG(TYPE_OPTIONAL, WIRE_BYTES): v->stated.is_tensor = false; break;
        default: break;
        }
    }
    return w.err;
}

/* What a ValueInfoProto says of a name, unless something was said before. A name that the graph does not define is ignored. */
static Err state(Loader *l, Graph *g, Span info)
{
    const char *name;
    TRY(value_name(l, &graph_layout, info, &name));
    Value *v = names_get(g->names, name);
    if (!v || !v->stated.is_tensor || v->stated.dtype || v->stated.shape.rank >= 0) return OK;
    Wire w = wire_of(info, l->file);
    for (Field f; wire_next(&w, &f);)
        if (f.tag == WIRE_TAG(VALUE_TYPE, WIRE_BYTES)) TRY(load_type(l, f.bytes, v));
    return w.err;
}

/* Second pass. */
static Err state_facts(Loader *l, Graph *g, const Layout *layout)
{
    uint32_t order[] = { layout->input, layout->output, layout->value_info };
    for (int i = layout->names_only ? 2 : 0; i < 3; i++) {
        Wire w = wire_of(g->source, l->file);
        for (Field f; wire_next(&w, &f);)
            if (f.tag == WIRE_TAG(order[i], WIRE_BYTES)) TRY(state(l, g, f.bytes));
        TRY(w.err);
    }
    return OK;
}

static Err resolve_output(Loader *l, Graph *g, const Layout *layout, Span info)
{
    const char *name;
    TRY(value_name(l, layout, info, &name));
    Value *v = value_find(g, name);
    if (!v) return err_set(ERR_FORMAT, "output '%s' is defined nowhere", name);
    Value **list = arena_grow(l->arena, g->out, g->n_out, sizeof *list);
    if (!list) return load_out_of_memory();
    g->out = list;
    list[g->n_out++] = v;
    return OK;
}

static Err resolve_node(Loader *l, Node *n)
{
    TRY(load_nested(l));
    Wire w = wire_of(n->source, l->file);
    int in = 0, attr = 0;
    for (Field f; wire_next(&w, &f);) {
        if (f.tag == WIRE_TAG(NODE_ATTRIBUTE, WIRE_BYTES)) TRY(load_attr(l, f.bytes, n, &n->attr[attr++]));
        if (f.tag != WIRE_TAG(NODE_INPUT, WIRE_BYTES)) continue;
        const char *name;
        TRY(load_string(l, f.bytes, &name));
        n->in[in] = *name ? value_find(n->graph, name) : NULL;
        if (*name && !n->in[in]) return err_set(ERR_FORMAT, "input '%s' is defined nowhere", name);
        in++;
    }
    TRY(w.err);
    Constant *c;
    TRY(load_constant_node(l, n, &c));
    if (n->n_out == 1 && n->out[0]) n->out[0]->constant = c;
    l->depth--;
    return OK;
}

/* Third pass. */
static Err resolve_names(Loader *l, Graph *g, const Layout *layout)
{
    Wire w = wire_of(g->source, l->file);
    for (Field f; wire_next(&w, &f);)
        if (f.tag == WIRE_TAG(layout->output, WIRE_BYTES)) TRY(resolve_output(l, g, layout, f.bytes));
    TRY(w.err);
    for (int i = 0; i < g->n_node; i++) {
        Err err = resolve_node(l, g->node[i]);
        if (err) return node_error(g->node[i], err);
    }
    return OK;
}

static void facts_from_constants(Graph *g)
{
    for (int i = 0; i < g->n_value; i++) {
        Value *v = g->value[i];
        if (v->constant && v->stated.is_tensor && !v->stated.dtype && v->stated.shape.rank < 0) {
            v->stated.dtype = v->constant->tensor.dtype < DT_COUNT ? v->constant->tensor.dtype : DT_NONE;
            v->stated.shape = v->constant->tensor.shape;
        }
        v->fact = v->stated;
    }
}

static Err fill_graph(Loader *l, Graph *g, const Layout *layout)
{
    TRY(load_nested(l));
    TRY(define_names(l, g, layout));
    TRY(state_facts(l, g, layout));
    TRY(resolve_names(l, g, layout));
    facts_from_constants(g);
    l->depth--;
    return OK;
}

static Err graph_new(Loader *l, Span source, Graph **out)
{
    Graph *g = arena_alloc(l->arena, sizeof *g);
    Names *names = arena_alloc(l->arena, sizeof *names);
    if (!g || !names) return load_out_of_memory();
    *g = (Graph){ .name = "", .model = l->m, .source = source, .names = names };
    *out = g;
    return OK;
}

Err load_graph(Loader *l, Span source, Graph *outer, Node *owner, Graph **out)
{
    Graph *g;
    TRY(graph_new(l, source, &g));
    g->outer = outer;
    g->owner = owner;
    g->opset = outer ? outer->opset : l->m->opset;
    g->n_opset = outer ? outer->n_opset : l->m->n_opset;
    Wire w = wire_of(source, l->file);
    for (Field f; wire_next(&w, &f);)
        if (f.tag == WIRE_TAG(GRAPH_NAME, WIRE_BYTES)) TRY(load_string(l, f.bytes, &g->name));
    TRY(w.err);
    TRY(fill_graph(l, g, &graph_layout));
    *out = g;
    return OK;
}

static Err add_attr_name(Loader *l, Graph *g, const char *name)
{
    const char **list = arena_grow(l->arena, g->attr_name, g->n_attr_name, sizeof *list);
    if (!list) return load_out_of_memory();
    g->attr_name = list;
    list[g->n_attr_name++] = name;
    return OK;
}

/* The name of a default attribute (FunctionProto.attribute_proto); its value stays in the file. */
static Err default_attr_name(Loader *l, Graph *g, Span attr)
{
    const char *name = "";
    Wire w = wire_of(attr, l->file);
    for (Field f; wire_next(&w, &f);)
        if (f.tag == WIRE_TAG(ATTR_NAME, WIRE_BYTES)) TRY(load_string(l, f.bytes, &name));
    return w.err ? w.err : add_attr_name(l, g, name);
}

static Err function_head(Loader *l, Graph *g)
{
    g->domain = "";
    Wire w = wire_of(g->source, l->file);
    for (Field f; wire_next(&w, &f);) {
        const char *name;
        switch (f.tag) {
        case WIRE_TAG(FUNCTION_NAME, WIRE_BYTES): TRY(load_string(l, f.bytes, &g->name)); break;
        case WIRE_TAG(FUNCTION_DOMAIN, WIRE_BYTES): TRY(load_string(l, f.bytes, &g->domain)); break;
        case WIRE_TAG(FUNCTION_ATTRIBUTE, WIRE_BYTES):
            TRY(load_string(l, f.bytes, &name));
            TRY(add_attr_name(l, g, name));
            break;
        case WIRE_TAG(FUNCTION_DEFAULT, WIRE_BYTES): TRY(default_attr_name(l, g, f.bytes)); break;
        default: break;
        }
    }
    return w.err;
}

Err load_function(Loader *l, Span source, Graph **out)
{
    Graph *g;
    OpsetImport *opset;
    TRY(graph_new(l, source, &g));
    TRY(function_head(l, g));
    TRY(load_opsets(l, source, FUNCTION_OPSET, &opset, &g->n_opset));
    g->opset = opset;
    TRY(fill_graph(l, g, &function_layout));
    *out = g;
    return OK;
}
