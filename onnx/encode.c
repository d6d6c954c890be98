/* The walk along the source. It descends only where an edit lies, so its cost is that of the edits, not of the model. */
#include "onnx/encode.h"
#include "onnx/schema.h"
#include <string.h>

bool span_equals(Span s, const char *text)
{
    return s.size == strlen(text) && (s.size == 0 || memcmp(s.at, text, s.size) == 0);
}

/* The first edit at or after an address. */
static const Edit *first_edit(const Encoder *x, const uint8_t *at)
{
    int low = 0, high = x->n_edit;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (x->edit[middle].at < at) low = middle + 1;
        else high = middle;
    }
    return low < x->n_edit ? &x->edit[low] : NULL;
}

/* The kind of message that field `number` of a message holds; IN_MODEL: one that holds no edits. */
static Message child_kind(Message kind, uint32_t number)
{
    switch (kind) {
    case IN_MODEL: return number == MODEL_GRAPH ? IN_GRAPH : number == MODEL_FUNCTION ? IN_FUNCTION : IN_MODEL;
    case IN_GRAPH: return number == GRAPH_NODE ? IN_NODE : number == GRAPH_INITIALIZER ? IN_TENSOR : number == GRAPH_SPARSE_INITIALIZER ? IN_SPARSE : IN_MODEL;
    case IN_FUNCTION: return number == FUNCTION_NODE ? IN_NODE : IN_MODEL;
    case IN_NODE: return number == NODE_ATTRIBUTE ? IN_ATTR : IN_MODEL;
    case IN_ATTR:
        if (number == ATTR_TENSOR || number == ATTR_TENSORS) return IN_TENSOR;
        if (number == ATTR_SPARSE_TENSOR || number == ATTR_SPARSE_TENSORS) return IN_SPARSE;
        return number == ATTR_GRAPH || number == ATTR_GRAPHS ? IN_GRAPH : IN_MODEL;
    case IN_TENSOR: case IN_SPARSE: break;
    }
    return IN_MODEL;
}

static Err encode_edit(Encoder *x, uint32_t number, const Edit *e)
{
    switch (e->kind) {
    case EDIT_CONSTANT: return encode_constant(x, number, e->constant);
    case EDIT_ATTR: return encode_attr(x, e->attr);
    case EDIT_NODE: return encode_node(x, number, e->node);
    case EDIT_GRAPH: return encode_graph(x, number, e->graph);
    }
    return OK;
}

Err encode_child(Encoder *x, uint32_t number, Message kind, Span source)
{
    const Edit *e = first_edit(x, source.at);
    if (e && e->at == source.at) return encode_edit(x, number, e);
    if (!e || e->at > source.at + source.size) return rope_bytes(&x->rope, number, source);
    RopeMark mark;
    TRY(rope_open(&x->rope, number, &mark));
    Wire w = wire_of(source, x->m->source.at);
    for (Field f; wire_next(&w, &f);) {
        Message child = f.type == WIRE_BYTES ? child_kind(kind, f.number) : IN_MODEL;
        e = child == IN_MODEL ? NULL : first_edit(x, f.bytes.at);
        if (e && e->at <= f.bytes.at + f.bytes.size) TRY(encode_child(x, f.number, child, f.bytes));
        else TRY(rope_add(&x->rope, f.whole));
    }
    TRY(w.err);
    return rope_close(&x->rope, &mark);
}

/* The metadata entry that `entry` encodes, if the model still has it; *same: with the same value. */
static Err find_property(Encoder *x, Span entry, const Property **property, bool *same)
{
    Span key = {0}, value = {0};
    Wire w = wire_of(entry, x->m->source.at);
    for (Field f; wire_next(&w, &f);) {
        if (f.tag == WIRE_TAG(ENTRY_KEY, WIRE_BYTES)) key = f.bytes;
        if (f.tag == WIRE_TAG(ENTRY_VALUE, WIRE_BYTES)) value = f.bytes;
    }
    *property = NULL;
    for (int i = 0; i < x->m->n_property && !*property; i++)
        if (span_equals(key, x->m->property[i].key)) *property = &x->m->property[i];
    *same = *property && span_equals(value, (*property)->value);
    return w.err;
}

static Err encode_property(Encoder *x, const Property *p)
{
    RopeMark mark;
    TRY(rope_open(&x->rope, MODEL_PROPERTY, &mark));
    TRY(rope_text(&x->rope, ENTRY_KEY, p->key));
    TRY(rope_text(&x->rope, ENTRY_VALUE, p->value));
    return rope_close(&x->rope, &mark);
}

/* What the walk over the model's own fields has met. */
typedef struct Met { bool producer_name, producer_version, *property; } Met;

static Err encode_own_field(Encoder *x, const Field *f, Met *met)
{
    Model *m = x->m;
    const Property *p;
    bool same;
    switch (f->tag) {
    case WIRE_TAG(MODEL_PRODUCER_NAME, WIRE_BYTES):
        met->producer_name = true;
        return span_equals(f->bytes, m->producer_name) ? rope_add(&x->rope, f->whole) : rope_text(&x->rope, f->number, m->producer_name);
    case WIRE_TAG(MODEL_PRODUCER_VERSION, WIRE_BYTES):
        met->producer_version = true;
        return span_equals(f->bytes, m->producer_version) ? rope_add(&x->rope, f->whole) : rope_text(&x->rope, f->number, m->producer_version);
    case WIRE_TAG(MODEL_PROPERTY, WIRE_BYTES):
        TRY(find_property(x, f->bytes, &p, &same));
        if (!p) return OK;
        met->property[p - m->property] = true;
        return same ? rope_add(&x->rope, f->whole) : encode_property(x, p);
    default: return rope_add(&x->rope, f->whole);
    }
}

static Err encode_new_own_fields(Encoder *x, const Met *met)
{
    Model *m = x->m;
    if (!met->producer_name && *m->producer_name) TRY(rope_text(&x->rope, MODEL_PRODUCER_NAME, m->producer_name));
    if (!met->producer_version && *m->producer_version) TRY(rope_text(&x->rope, MODEL_PRODUCER_VERSION, m->producer_version));
    for (int i = 0; i < m->n_property; i++)
        if (!met->property[i]) TRY(encode_property(x, &m->property[i]));
    return OK;
}

Err encode_model(Encoder *x)
{
    Model *m = x->m;
    Met met = { .property = arena_array(x->arena, (size_t)m->n_property, sizeof(bool)) };
    if (!met.property) return err_set(ERR_NOMEM, "out of memory while encoding the model");
    Wire w = wire_of(m->source, m->source.at);
    for (Field f; wire_next(&w, &f);) {
        Message child = f.type == WIRE_BYTES ? child_kind(IN_MODEL, f.number) : IN_MODEL;
        const Edit *e = child == IN_MODEL ? NULL : first_edit(x, f.bytes.at);
        if (e && e->at <= f.bytes.at + f.bytes.size) TRY(encode_child(x, f.number, child, f.bytes));
        else if (m->edited) TRY(encode_own_field(x, &f, &met));
        else TRY(rope_add(&x->rope, f.whole));
    }
    TRY(w.err);
    return m->edited ? encode_new_own_fields(x, &met) : OK;
}
