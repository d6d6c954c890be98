/* AttributeProto -> Attr: numbers are copied and decoded, strings point into the file, tensors and bodies are loaded. */
#include "onnx/load.h"
#include <string.h>

/* The fields that hold a kind's value, in the order of AttrKind. */
typedef struct KindRow { uint32_t number; WireType type; } KindRow;
static const KindRow kind_row[] = {
    [ATTR_F] = {ATTR_FLOAT, WIRE_FIXED32},   [ATTR_I] = {ATTR_INT, WIRE_VARINT},      [ATTR_S] = {ATTR_STRING, WIRE_BYTES},
    [ATTR_T] = {ATTR_TENSOR, WIRE_BYTES},    [ATTR_G] = {ATTR_GRAPH, WIRE_BYTES},     [ATTR_FS] = {ATTR_FLOATS, WIRE_FIXED32},
    [ATTR_IS] = {ATTR_INTS, WIRE_VARINT},    [ATTR_SS] = {ATTR_STRINGS, WIRE_BYTES},  [ATTR_TS] = {ATTR_TENSORS, WIRE_BYTES},
    [ATTR_GS] = {ATTR_GRAPHS, WIRE_BYTES},   [ATTR_SPARSE] = {ATTR_SPARSE_TENSOR, WIRE_BYTES},
    [ATTR_SPARSES] = {ATTR_SPARSE_TENSORS, WIRE_BYTES}, [ATTR_TYPE] = {ATTR_TYPE_PROTO, WIRE_BYTES},
    [ATTR_TYPES] = {ATTR_TYPE_PROTOS, WIRE_BYTES},
};
enum { KINDS = sizeof kind_row / sizeof *kind_row };

/* Files of the first IR versions have no type field: then the field that is there tells. */
static AttrKind kind_of_field(uint32_t number)
{
    for (int k = 1; k < KINDS; k++)
        if (kind_row[k].number == number) return (AttrKind)k;
    return ATTR_NONE;
}

static Err load_head(Loader *l, Attr *a)
{
    Wire w = wire_of(a->source, l->file);
    uint64_t type = 0;
    AttrKind found = ATTR_NONE;
    for (Field f; wire_next(&w, &f);) {
        switch (f.tag) {
        case WIRE_TAG(ATTR_NAME, WIRE_BYTES): TRY(load_string(l, f.bytes, &a->name)); break;
        case WIRE_TAG(ATTR_TYPE_FIELD, WIRE_VARINT): type = f.value; break;
        case WIRE_TAG(ATTR_REFERENCE, WIRE_BYTES): if (f.bytes.size > 0) TRY(load_string(l, f.bytes, &a->reference)); break;
        default: if (kind_of_field(f.number)) found = kind_of_field(f.number);
        }
    }
    a->kind = type > 0 && type < KINDS ? (AttrKind)type : type == 0 ? found : ATTR_NONE;
    return w.err;
}

static Err load_numbers(Loader *l, Attr *a)
{
    const KindRow *row = &kind_row[a->kind];
    size_t n, size = a->kind == ATTR_FS ? sizeof(float) : sizeof(int64_t);
    TRY(numbers_count(a->source, row->number, row->type, l->file, &n));
    if (n > INT32_MAX) return err_set(ERR_UNSUPPORTED, "it has more than 2^31 elements");
    uint8_t *element = arena_array(l->arena, n, size);
    if (!element) return load_out_of_memory();
    Numbers numbers = numbers_of(a->source, row->number, row->type, l->file);
    size_t i = 0;
    for (uint64_t v; i < n && numbers_next(&numbers, &v); i++) memcpy(element + i * size, &v, size);
    a->n = (int)i;
    if (a->kind == ATTR_FS) a->fs = (const float *)element;
    else a->is = (const int64_t *)element;
    return numbers.err;
}

static Err count_fields(Loader *l, Attr *a)
{
    Wire w = wire_of(a->source, l->file);
    a->n = 0;
    for (Field f; wire_next(&w, &f);) a->n += f.tag == WIRE_TAG(kind_row[a->kind].number, WIRE_BYTES);
    return w.err;
}

/* The plural kinds whose elements are fields of their own. */
static Err load_list(Loader *l, Node *node, Attr *a)
{
    TRY(count_fields(l, a));
    size_t n = (size_t)a->n;
    Span *string = a->kind == ATTR_SS ? arena_array(l->arena, n, sizeof *string) : NULL;
    Graph **graph = a->kind == ATTR_GS ? arena_array(l->arena, n, sizeof(Graph *)) : NULL;
    Constant **tensor = a->kind == ATTR_TS || a->kind == ATTR_SPARSES ? arena_array(l->arena, n, sizeof(Constant *)) : NULL;
    if (!string && !graph && !tensor) return load_out_of_memory();
    Wire w = wire_of(a->source, l->file);
    size_t i = 0;
    for (Field f; wire_next(&w, &f);) {
        if (f.tag != WIRE_TAG(kind_row[a->kind].number, WIRE_BYTES)) continue;
        if (string) string[i] = f.bytes;
        else if (graph) TRY(load_graph(l, f.bytes, node->graph, node, &graph[i]));
        else TRY((a->kind == ATTR_TS ? load_constant : load_sparse)(l, f.bytes, &tensor[i]));
        i++;
    }
    if (string) a->ss = string;
    else if (graph) a->gs = graph;
    else a->ts = tensor;
    return w.err;
}

static Err load_single(Loader *l, Node *node, Attr *a)
{
    const KindRow *row = &kind_row[a->kind];
    Wire w = wire_of(a->source, l->file);
    Field last = {0};
    for (Field f; wire_next(&w, &f);)
        if (f.tag == WIRE_TAG(row->number, row->type)) last = f;
    TRY(w.err);
    switch (a->kind) {
    case ATTR_F: memcpy(&a->f, &last.value, sizeof a->f); return OK;
    case ATTR_I: a->i = (int64_t)last.value; return OK;
    case ATTR_S: a->s = last.bytes; return OK;
    case ATTR_T: return last.bytes.at ? load_constant(l, last.bytes, &a->t) : OK;
    case ATTR_SPARSE: return last.bytes.at ? load_sparse(l, last.bytes, &a->t) : OK;
    case ATTR_G: return last.bytes.at ? load_graph(l, last.bytes, node->graph, node, &a->g) : OK;
    default: return OK;
    }
}

static Err load_value(Loader *l, Node *node, Attr *a)
{
    if (a->reference) return OK;
    switch (a->kind) {
    case ATTR_FS: case ATTR_IS: return load_numbers(l, a);
    case ATTR_SS: case ATTR_TS: case ATTR_GS: case ATTR_SPARSES: return load_list(l, node, a);
    case ATTR_NONE: case ATTR_TYPE: case ATTR_TYPES: return OK;
    default: return load_single(l, node, a);
    }
}

static bool has_empty(const Attr *a)
{
    return !a->reference && (a->kind == ATTR_T || a->kind == ATTR_SPARSE || a->kind == ATTR_G) && !a->t;
}

Err load_attr(Loader *l, Span source, Node *node, Attr *a)
{
    TRY(load_nested(l));
    *a = (Attr){ .name = "", .source = source };
    TRY(load_head(l, a));
    Err err = load_value(l, node, a);
    if (!err && has_empty(a)) err = err_set(ERR_FORMAT, "it has a type but no value");
    if (err) return err_in(err, "attribute '%s'", a->name);
    l->depth--;
    return OK;
}

static Constant *attribute_constant(Loader *l, const Attr *a, DType dtype, Shape shape, size_t bytes)
{
    Constant *c = arena_alloc(l->arena, sizeof *c);
    if (c)
        *c = (Constant){ .name = "", .tensor = { .dtype = dtype, .shape = shape, .bytes = bytes }, .storage = STORED_TYPED, .source = a->source,
                         .in_attribute = true, .length = -1, .nonzeros = -1 };
    return c;
}

Err load_constant_node(Loader *l, const Node *n, Constant **out)
{
    *out = NULL;
    if (strcmp(n->op_type, "Constant") != 0 || *n->domain || n->n_attr != 1 || n->attr->reference) return OK;
    const Attr *a = n->attr;
    int64_t count = a->n;
    switch (a->kind) {
    case ATTR_T: case ATTR_SPARSE: *out = a->t; return OK;
    case ATTR_F: *out = attribute_constant(l, a, DT_F32, shape_of(0, NULL), sizeof(float)); break;
    case ATTR_I: *out = attribute_constant(l, a, DT_I64, shape_of(0, NULL), sizeof(int64_t)); break;
    case ATTR_S: *out = attribute_constant(l, a, DT_STRING, shape_of(0, NULL), sizeof(Span)); break;
    case ATTR_FS: *out = attribute_constant(l, a, DT_F32, shape_of(1, &count), (size_t)count * sizeof(float)); break;
    case ATTR_IS: *out = attribute_constant(l, a, DT_I64, shape_of(1, &count), (size_t)count * sizeof(int64_t)); break;
    case ATTR_SS: *out = attribute_constant(l, a, DT_STRING, shape_of(1, &count), (size_t)count * sizeof(Span)); break;
    default: return OK;
    }
    return *out ? OK : load_out_of_memory();
}
