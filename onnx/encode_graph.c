/* Attributes, nodes and graphs that passes made or changed. Fields that the IR does not know (doc strings, metadata, unknown ones) are taken from
 * the source where there is one; objects inside that were not edited come out as they stood. */
#include "onnx/encode.h"
#include "onnx/names.h"
#include "onnx/schema.h"
#include <string.h>

/* Copies the fields of source whose number `owned` does not list (ends with 0). */
static Err copy_others(Encoder *x, Span source, const uint8_t *owned)
{
    Wire w = wire_of(source, x->m->source.at);
    for (Field f; source.at && wire_next(&w, &f);) {
        const uint8_t *o = owned;
        while (*o && *o != f.number) o++;
        if (!*o) TRY(rope_add(&x->rope, f.whole));
    }
    return w.err;
}

static Err encode_float(Encoder *x, uint32_t number, float value)
{
    uint8_t bytes[VARINT_MAX + sizeof value];
    size_t n = varint_put(bytes, WIRE_TAG(number, WIRE_FIXED32));
    memcpy(bytes + n, &value, sizeof value);
    return rope_copy(&x->rope, bytes, n + sizeof value);
}

static Err encode_tensor_in(Encoder *x, uint32_t number, Message kind, Constant *c)
{
    return c->source.at ? encode_child(x, number, kind, c->source) : encode_constant(x, number, c);
}

static Err encode_body(Encoder *x, uint32_t number, const Graph *g)
{
    return g->source.at ? encode_child(x, number, IN_GRAPH, g->source) : encode_graph(x, number, g);
}

static Err encode_list(Encoder *x, const Attr *a)
{
    for (int i = 0; i < a->n; i++) {
        switch (a->kind) {
        case ATTR_FS: TRY(encode_float(x, ATTR_FLOATS, a->fs[i])); break;
        case ATTR_IS: TRY(rope_varint(&x->rope, ATTR_INTS, (uint64_t)a->is[i])); break;
        case ATTR_SS: TRY(rope_bytes(&x->rope, ATTR_STRINGS, a->ss[i])); break;
        case ATTR_TS: TRY(encode_tensor_in(x, ATTR_TENSORS, IN_TENSOR, a->ts[i])); break;
        case ATTR_SPARSES: TRY(encode_tensor_in(x, ATTR_SPARSE_TENSORS, IN_SPARSE, a->ts[i])); break;
        case ATTR_GS: TRY(encode_body(x, ATTR_GRAPHS, a->gs[i])); break;
        default: break;
        }
    }
    return OK;
}

static Err encode_value(Encoder *x, const Attr *a)
{
    if (a->reference) return rope_text(&x->rope, ATTR_REFERENCE, a->reference);
    switch (a->kind) {
    case ATTR_F: return encode_float(x, ATTR_FLOAT, a->f);
    case ATTR_I: return rope_varint(&x->rope, ATTR_INT, (uint64_t)a->i);
    case ATTR_S: return rope_bytes(&x->rope, ATTR_STRING, a->s);
    case ATTR_T: return encode_tensor_in(x, ATTR_TENSOR, IN_TENSOR, a->t);
    case ATTR_SPARSE: return encode_tensor_in(x, ATTR_SPARSE_TENSOR, IN_SPARSE, a->t);
    case ATTR_G: return encode_body(x, ATTR_GRAPH, a->g);
    default: return encode_list(x, a);
    }
}

Err encode_attr(Encoder *x, const Attr *a)
{
    static const uint8_t owned[] = { ATTR_NAME, ATTR_FLOAT, ATTR_INT, ATTR_STRING, ATTR_TENSOR, ATTR_GRAPH, ATTR_FLOATS, ATTR_INTS, ATTR_STRINGS,
                                     ATTR_TENSORS, ATTR_GRAPHS, ATTR_TYPE_FIELD, ATTR_REFERENCE, ATTR_SPARSE_TENSOR, ATTR_SPARSE_TENSORS, 0 };
    RopeMark mark;
    TRY(rope_open(&x->rope, NODE_ATTRIBUTE, &mark));
    TRY(rope_text(&x->rope, ATTR_NAME, a->name));
    TRY(encode_value(x, a));
    TRY(rope_varint(&x->rope, ATTR_TYPE_FIELD, (uint64_t)a->kind));
    TRY(copy_others(x, a->source, owned));
    return rope_close(&x->rope, &mark);
}

static Err encode_names(Encoder *x, uint32_t number, Value *const *list, int n)
{
    for (int i = 0; i < n; i++) TRY(rope_text(&x->rope, number, list[i] ? list[i]->name : ""));
    return OK;
}

Err encode_node(Encoder *x, uint32_t number, const Node *n)
{
    static const uint8_t owned[] = { NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN, 0 };
    RopeMark mark;
    TRY(rope_open(&x->rope, number, &mark));
    TRY(encode_names(x, NODE_INPUT, n->in, n->n_in));
    TRY(encode_names(x, NODE_OUTPUT, n->out, n->n_out));
    if (*n->name) TRY(rope_text(&x->rope, NODE_NAME, n->name));
    TRY(rope_text(&x->rope, NODE_OP_TYPE, n->op_type));
    for (int i = 0; i < n->n_attr; i++) {
        const Attr *a = &n->attr[i];
        if (a->source.at && !a->edited) TRY(encode_child(x, NODE_ATTRIBUTE, IN_ATTR, a->source));
        else TRY(encode_attr(x, a));
    }
    if (*n->domain) TRY(rope_text(&x->rope, NODE_DOMAIN, n->domain));
    TRY(copy_others(x, n->source, owned));
    return rope_close(&x->rope, &mark);
}

static Err encode_dim(Encoder *x, int64_t d)
{
    RopeMark mark;
    TRY(rope_open(&x->rope, SHAPE_DIM, &mark));
    if (dim_is_symbol(d)) TRY(rope_text(&x->rope, DIM_PARAM, x->m->symbol[d - SYMBOL_BASE]));
    else TRY(rope_varint(&x->rope, DIM_VALUE, (uint64_t)d));
    return rope_close(&x->rope, &mark);
}

static Err encode_shape(Encoder *x, const Shape *s)
{
    RopeMark mark;
    TRY(rope_open(&x->rope, TENSOR_TYPE_SHAPE, &mark));
    for (int i = 0; i < s->rank; i++) TRY(encode_dim(x, s->dim[i]));
    return rope_close(&x->rope, &mark);
}

static Err encode_type(Encoder *x, const Fact *fact)
{
    RopeMark type, tensor;
    TRY(rope_open(&x->rope, VALUE_TYPE, &type));
    TRY(rope_open(&x->rope, TYPE_TENSOR, &tensor));
    TRY(rope_varint(&x->rope, TENSOR_TYPE_ELEMENT, (uint64_t)fact->dtype));
    if (fact->shape.rank >= 0) TRY(encode_shape(x, &fact->shape));
    TRY(rope_close(&x->rope, &tensor));
    return rope_close(&x->rope, &type);
}

/* The name that a ValueInfoProto of the source states. */
static Err info_name(Encoder *x, Span info, Span *name)
{
    Wire w = wire_of(info, x->m->source.at);
    *name = (Span){0};
    for (Field f; wire_next(&w, &f);)
        if (f.tag == WIRE_TAG(VALUE_NAME, WIRE_BYTES)) *name = f.bytes;
    return w.err;
}

/* An input or output of a graph: as the source has it, or new from what is stated. */
static Err encode_info(Encoder *x, const Graph *g, uint32_t number, const Value *v)
{
    Wire w = wire_of(g->source, x->m->source.at);
    for (Field f; g->source.at && wire_next(&w, &f);) {
        Span name;
        if (f.tag != WIRE_TAG(number, WIRE_BYTES)) continue;
        TRY(info_name(x, f.bytes, &name));
        if (span_equals(name, v->name)) return rope_add(&x->rope, f.whole);
    }
    RopeMark mark;
    TRY(rope_open(&x->rope, number, &mark));
    TRY(rope_text(&x->rope, VALUE_NAME, v->name));
    if (v->stated.is_tensor && v->stated.dtype) TRY(encode_type(x, &v->stated));
    return rope_close(&x->rope, &mark);
}

static Err encode_ports(Encoder *x, const Graph *g)
{
    if (g->domain) {
        TRY(encode_names(x, FUNCTION_INPUT, g->in, g->n_in));
        return encode_names(x, FUNCTION_OUTPUT, g->out, g->n_out);
    }
    for (int i = 0; i < g->n_in; i++) TRY(encode_info(x, g, GRAPH_INPUT, g->in[i]));
    for (int i = 0; i < g->n_out; i++) TRY(encode_info(x, g, GRAPH_OUTPUT, g->out[i]));
    return OK;
}

static Err encode_initializers(Encoder *x, const Graph *g)
{
    for (int i = 0; i < g->n_value; i++) {
        Constant *c = g->value[i]->constant;
        if (!c || g->value[i]->producer) continue;
        bool sparse = c->storage == STORED_SPARSE;
        TRY(encode_tensor_in(x, sparse ? GRAPH_SPARSE_INITIALIZER : GRAPH_INITIALIZER, sparse ? IN_SPARSE : IN_TENSOR, c));
    }
    return OK;
}

static Err encode_nodes(Encoder *x, const Graph *g)
{
    uint32_t number = g->domain ? FUNCTION_NODE : GRAPH_NODE;
    for (int i = 0; i < g->n_node; i++) {
        const Node *n = g->node[i];
        if (n->source.at && !n->edited) TRY(encode_child(x, number, IN_NODE, n->source));
        else TRY(encode_node(x, number, n));
    }
    return OK;
}

/* What the source states about values that the graph still has. */
static Err encode_value_infos(Encoder *x, const Graph *g)
{
    uint32_t number = g->domain ? FUNCTION_VALUE_INFO : GRAPH_VALUE_INFO;
    Wire w = wire_of(g->source, x->m->source.at);
    for (Field f; g->source.at && wire_next(&w, &f);) {
        Span name;
        if (f.tag != WIRE_TAG(number, WIRE_BYTES)) continue;
        TRY(info_name(x, f.bytes, &name));
        const char *text = arena_strndup(x->arena, (const char *)name.at, name.size);
        if (!text) return err_set(ERR_NOMEM, "out of memory while encoding the model");
        if (names_get(g->names, text)) TRY(rope_add(&x->rope, f.whole));
    }
    return w.err;
}

Err encode_graph(Encoder *x, uint32_t number, const Graph *g)
{
    static const uint8_t of_graph[] = { GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO, 0 };
    static const uint8_t of_function[] = { FUNCTION_INPUT, FUNCTION_OUTPUT, FUNCTION_NODE, FUNCTION_VALUE_INFO, 0 };
    RopeMark mark;
    TRY(rope_open(&x->rope, number, &mark));
    TRY(encode_nodes(x, g));
    if (!g->source.at && *g->name) TRY(rope_text(&x->rope, GRAPH_NAME, g->name));
    TRY(encode_initializers(x, g));
    TRY(encode_ports(x, g));
    TRY(encode_value_infos(x, g));
    TRY(copy_others(x, g->source, g->domain ? of_function : of_graph));
    return rope_close(&x->rope, &mark);
}
