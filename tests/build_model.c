#include "tests/build_model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Build { Pb model, graph, node, functions; bool open; };

void pb_raw(Pb *p, const void *bytes, size_t size)
{
    if (p->size + size > p->capacity) {
        p->capacity = 2 * (p->size + size) + 64;
        p->at = realloc(p->at, p->capacity);
        if (!p->at) abort();
    }
    if (size > 0) memcpy(p->at + p->size, bytes, size);
    p->size += size;
}

static void put_varint(Pb *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) pb_raw(p, &(uint8_t){ (uint8_t)(v | 0x80) }, 1);
    pb_raw(p, &(uint8_t){ (uint8_t)v }, 1);
}

void pb_varint(Pb *p, uint32_t field, uint64_t value)
{
    put_varint(p, (uint64_t)field << 3);
    put_varint(p, value);
}

void pb_float(Pb *p, uint32_t field, float value)
{
    put_varint(p, (uint64_t)field << 3 | 5);
    pb_raw(p, &value, sizeof value);
}

void pb_bytes(Pb *p, uint32_t field, const void *bytes, size_t size)
{
    put_varint(p, (uint64_t)field << 3 | 2);
    put_varint(p, size);
    pb_raw(p, bytes, size);
}

void pb_text(Pb *p, uint32_t field, const char *text)
{
    pb_bytes(p, field, text, strlen(text));
}

void pb_free(Pb *p)
{
    free(p->at);
    *p = (Pb){0};
}

void pb_child(Pb *p, uint32_t field, Pb *child)
{
    pb_bytes(p, field, child->at, child->size);
    pb_free(child);
}

/* Calls add for each part of a list; an empty list has none. */
static void each(const char *list, char separator, void (*add)(Pb *, const char *part, uint32_t field), Pb *p, uint32_t field)
{
    while (list && *list) {
        char part[256];
        size_t n = 0;
        while (list[n] && list[n] != separator) n++;
        snprintf(part, sizeof part, "%.*s", (int)n, list);
        add(p, part, field);
        list += list[n] ? n + 1 : n;
    }
}

static void add_text(Pb *p, const char *part, uint32_t field)
{
    pb_text(p, field, part);
}

static void add_int(Pb *p, const char *part, uint32_t field)
{
    pb_varint(p, field, (uint64_t)strtoll(part, NULL, 10));
}

static void add_float(Pb *p, const char *part, uint32_t field)
{
    pb_float(p, field, strtof(part, NULL));
}

static void add_dim(Pb *p, const char *part, uint32_t field)
{
    Pb dim = {0};
    char *end;
    long long d = strtoll(part, &end, 10);
    if (*part && !*end) pb_varint(&dim, 1, (uint64_t)d);
    else if (strcmp(part, "?") != 0) pb_text(&dim, 2, part);
    pb_child(p, field, &dim);
}

static void value_info(Pb *graph, uint32_t field, const char *name, DType t, const char *dims)
{
    Pb info = {0}, type = {0}, tensor = {0}, shape = {0};
    pb_varint(&tensor, 1, (uint64_t)t);
    each(dims, ',', add_dim, &shape, 1);
    if (dims) pb_child(&tensor, 2, &shape);
    pb_child(&type, 1, &tensor);
    pb_text(&info, 1, name);
    pb_child(&info, 2, &type);
    pb_child(graph, field, &info);
}

Build *build_new(void)
{
    Build *b = calloc(1, sizeof *b);
    if (!b) abort();
    return b;
}

void build_input(Build *b, const char *name, DType t, const char *dims)
{
    value_info(&b->graph, 11, name, t, dims);
}

void build_output(Build *b, const char *name, DType t, const char *dims)
{
    value_info(&b->graph, 12, name, t, dims);
}

void build_value_info(Build *b, const char *name, DType t, const char *dims)
{
    value_info(&b->graph, 13, name, t, dims);
}

Pb tensor_head(const char *name, DType t, const char *dims)
{
    Pb p = {0};
    each(dims, ',', add_int, &p, 1);
    pb_varint(&p, 2, (uint64_t)t);
    if (name) pb_text(&p, 8, name);
    return p;
}

static int64_t product(const char *dims)
{
    int64_t n = 1;
    while (dims && *dims) {
        char *end;
        n *= strtoll(dims, &end, 10);
        dims = *end ? end + 1 : end;
    }
    return n;
}

static uint16_t to_bfloat(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)(bits >> 16);
}

/* A whole number from 1 to 2048, which float16 holds exactly. */
static uint16_t to_half(uint32_t n)
{
    int exponent = 31 - __builtin_clz(n);
    if (exponent > 10) return 0x7bff;
    uint32_t bits = (uint32_t)(exponent + 15) << 10 | ((n << (10 - exponent)) & 0x3ff);
    return (uint16_t)bits;
}

/* Element i of the ramp 1, 2, 3 ... */
static void ramp(DType t, int64_t i, uint8_t *at)
{
    int64_t whole = i + 1;
    float single = (float)whole;
    double real = (double)whole;
    uint16_t half = to_half((uint32_t)whole);
    uint16_t bfloat = to_bfloat(single);
    switch (t) {
    case DT_F32: memcpy(at, &single, 4); break;
    case DT_F64: memcpy(at, &real, 8); break;
    case DT_F16: memcpy(at, &half, 2); break;
    case DT_BF16: memcpy(at, &bfloat, 2); break;
    default: memcpy(at, &whole, (size_t)dtype_bits(t) / 8);
    }
}

Pb tensor_raw(const char *name, DType t, const char *dims, const void *data)
{
    Pb p = tensor_head(name, t, dims);
    int64_t n = product(dims);
    size_t bits = (size_t)dtype_bits(t), bytes = ((size_t)n * bits + 7) / 8;
    uint8_t *made = calloc(bytes + 1, 1);
    if (!made) abort();
    for (int64_t i = 0; bits >= 8 && i < n; i++) ramp(t, i, made + (size_t)i * bits / 8);
    pb_bytes(&p, 9, data ? data : made, bytes);
    free(made);
    return p;
}

Pb sparse_raw(const char *name, DType t, const char *dims, int n, const int64_t *position, const void *values)
{
    Pb sparse = {0};
    char count[16];
    snprintf(count, sizeof count, "%d", n);
    Pb v = tensor_raw(name, t, count, values), i = tensor_raw(NULL, DT_I64, count, position);
    pb_child(&sparse, 1, &v);
    pb_child(&sparse, 2, &i);
    each(dims, ',', add_int, &sparse, 3);
    return sparse;
}

void build_init(Build *b, const char *name, DType t, const char *dims, const void *data)
{
    Pb p = tensor_raw(name, t, dims, data);
    build_init_proto(b, &p);
}

void build_init_proto(Build *b, Pb *tensor)
{
    pb_child(&b->graph, 5, tensor);
}

void build_sparse_init_proto(Build *b, Pb *sparse)
{
    pb_child(&b->graph, 15, sparse);
}

/* How the kinds of the attribute notation are stored; the order of the types is AttributeProto.AttributeType. */
typedef struct Kind { const char *name; uint32_t field; int type; void (*add)(Pb *, const char *, uint32_t); bool list; } Kind;
static const Kind kinds[] = {
    { "f", 2, 1, add_float, false }, { "i", 3, 2, add_int, false }, { "s", 4, 3, add_text, false }, { "fs", 7, 6, add_float, true },
    { "is", 8, 7, add_int, true },   { "ss", 9, 8, add_text, true }, { "ref", 21, 2, add_text, false },
};

static void add_attribute(Pb *node, const char *text, uint32_t field)
{
    char name[128], kind[8];
    int used = 0;
    Pb attr = {0};
    if (sscanf(text, "%127[^:]:%7[^=]=%n", name, kind, &used) != 2 || used == 0) abort();
    pb_text(&attr, 1, name);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const Kind *k = &kinds[i];
        if (strcmp(k->name, kind) != 0) continue;
        if (k->list) each(text + used, ',', k->add, &attr, k->field);
        else k->add(&attr, text + used, k->field);
        pb_varint(&attr, 20, (uint64_t)k->type);
    }
    pb_child(node, field, &attr);
}

static void close_node(Build *b)
{
    if (b->open) pb_child(&b->graph, 1, &b->node);
    b->open = false;
}

void build_node(Build *b, const char *op_type, const char *in, const char *out, const char *attributes)
{
    close_node(b);
    b->open = true;
    each(in, ',', add_text, &b->node, 1);
    each(out, ',', add_text, &b->node, 2);
    pb_text(&b->node, 4, op_type);
    each(attributes, ' ', add_attribute, &b->node, 5);
}

void build_node_name(Build *b, const char *name)
{
    pb_text(&b->node, 3, name);
}

void build_node_domain(Build *b, const char *domain)
{
    pb_text(&b->node, 7, domain);
}

static void attr_message(Build *b, const char *name, uint32_t field, int type, Pb *value)
{
    Pb attr = {0};
    pb_text(&attr, 1, name);
    pb_child(&attr, field, value);
    pb_varint(&attr, 20, (uint64_t)type);
    pb_child(&b->node, 5, &attr);
}

void build_attr_tensor(Build *b, const char *name, Pb *tensor)
{
    attr_message(b, name, 5, 4, tensor);
}

void build_attr_sparse(Build *b, const char *name, Pb *sparse)
{
    attr_message(b, name, 22, 11, sparse);
}

void build_attr_graph(Build *b, const char *name, Build *body)
{
    close_node(body);
    pb_text(&body->graph, 2, name);
    attr_message(b, name, 6, 5, &body->graph);
    pb_free(&body->model);
    pb_free(&body->functions);
    free(body);
}

Build *build_loop_body(void)
{
    Build *b = build_new();
    build_input(b, "i", DT_I64, "");
    build_input(b, "go", DT_BOOL, "");
    return b;
}

Build *build_branch(const char *op_type, const char *in, const char *out, const char *dims)
{
    Build *b = build_new();
    build_node(b, op_type, in, out, "");
    build_output(b, out, DT_F32, dims);
    return b;
}

void build_opset(Build *b, const char *domain, int64_t version)
{
    Pb opset = {0};
    if (*domain) pb_text(&opset, 1, domain);
    pb_varint(&opset, 2, (uint64_t)version);
    pb_child(&b->model, 8, &opset);
}

void build_property(Build *b, const char *key, const char *value)
{
    Pb entry = {0};
    pb_text(&entry, 1, key);
    pb_text(&entry, 2, value);
    pb_child(&b->model, 14, &entry);
}

/* Copies the nodes of a GraphProto written by this file to a FunctionProto. */
static void copy_nodes(Pb *function, const Pb *graph)
{
    for (size_t at = 0; at < graph->size;) {
        uint8_t tag = graph->at[at++];
        uint64_t size = 0;
        for (unsigned shift = 0;; shift += 7) {
            uint8_t byte = graph->at[at++];
            size |= (uint64_t)(byte & 0x7f) << shift;
            if (byte < 0x80) break;
        }
        if (tag == (1 << 3 | 2)) pb_bytes(function, 7, graph->at + at, (size_t)size);
        at += (size_t)size;
    }
}

void build_function(Build *b, const BuildFunction *head, Build *body)
{
    Pb f = {0}, import = {0};
    close_node(body);
    pb_text(&f, 1, head->name);
    each(head->in, ',', add_text, &f, 4);
    each(head->out, ',', add_text, &f, 5);
    each(head->attributes, ',', add_text, &f, 6);
    copy_nodes(&f, &body->graph);
    pb_varint(&import, 2, (uint64_t)head->opset);
    pb_child(&f, 9, &import);
    pb_text(&f, 10, head->domain);
    pb_child(&b->functions, 25, &f);
    pb_free(&body->graph);
    pb_free(&body->model);
    free(body);
}

Pb *build_graph_fields(Build *b)
{
    close_node(b);
    return &b->graph;
}

Pb *build_model_fields(Build *b)
{
    return &b->model;
}

Bytes build_finish(Build *b, int64_t ir_version, int64_t opset)
{
    Pb p = {0}, graph_name = {0};
    close_node(b);
    pb_text(&graph_name, 2, "test");
    pb_raw(&b->graph, graph_name.at, graph_name.size);
    pb_free(&graph_name);
    pb_varint(&p, 1, (uint64_t)ir_version);
    pb_text(&p, 2, "test");
    pb_child(&p, 7, &b->graph);
    build_opset(b, "", opset);
    pb_raw(&p, b->model.at, b->model.size);
    pb_raw(&p, b->functions.at, b->functions.size);
    pb_free(&b->model);
    pb_free(&b->functions);
    free(b);
    return (Bytes){ p.at, p.size };
}
