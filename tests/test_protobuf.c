/* Our reader against protobuf-c: the same names, attributes, shapes and elements in every model at hand. */
#include "onnx/model.h"
#include "tests/cmocka.h"
#include "tests/seeds.h"
#include <onnx.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char where[512];            /* the model being compared */
static int compared;               /* constants whose elements were held against each other */

static void demand(bool holds, const char *what, const char *name)
{
    if (!holds) fail_msg("%s: %s of '%s' differs", where, what, name);
}

static const char *text(const char *s)
{
    return s ? s : "";
}

static bool same_domain(const char *ours, const char *theirs)
{
    return strcmp(ours, strcmp(text(theirs), "ai.onnx") == 0 ? "" : text(theirs)) == 0;
}

static const char *name_of(const Value *v)
{
    return v ? v->name : "";
}

/* Entries of a typed field, each of which is `unit` bytes of the tensor. */
static bool same_entries(const uint8_t *data, size_t bytes, const void *entries, size_t n, size_t entry)
{
    size_t unit = n ? bytes / n : 0;
    if (n * unit != bytes) return false;
    for (size_t i = 0; i < n; i++)
        if (memcmp(data + i * unit, (const uint8_t *)entries + i * entry, unit) != 0) return false;
    return true;
}

static bool same_strings(const Span *s, size_t n, const ProtobufCBinaryData *theirs, size_t n_theirs)
{
    if (n != n_theirs) return false;
    for (size_t i = 0; i < n; i++)
        if (s[i].size != theirs[i].len || (s[i].size > 0 && memcmp(s[i].at, theirs[i].data, s[i].size) != 0)) return false;
    return true;
}

static bool same_elements(const Constant *c, const Onnx__TensorProto *t)
{
    const Tensor *x = &c->tensor;
    if (t->has_raw_data) return t->raw_data.len == x->bytes && (x->bytes == 0 || memcmp(x->data, t->raw_data.data, x->bytes) == 0);
    if (x->dtype == DT_STRING) return same_strings(x->data, x->bytes / sizeof(Span), t->string_data, t->n_string_data);
    if (t->n_float_data) return same_entries(x->data, x->bytes, t->float_data, t->n_float_data, sizeof(float));
    if (t->n_double_data) return same_entries(x->data, x->bytes, t->double_data, t->n_double_data, sizeof(double));
    if (t->n_int64_data) return same_entries(x->data, x->bytes, t->int64_data, t->n_int64_data, sizeof(int64_t));
    if (t->n_uint64_data) return same_entries(x->data, x->bytes, t->uint64_data, t->n_uint64_data, sizeof(uint64_t));
    return same_entries(x->data, x->bytes, t->int32_data, t->n_int32_data, sizeof(int32_t));
}

static void compare_tensor(Model *m, Constant *c, const Onnx__TensorProto *t)
{
    demand(strcmp(c->name, text(t->name)) == 0, "the name", text(t->name));
    demand((int)c->tensor.dtype == t->data_type, "the type", c->name);
    demand(c->tensor.shape.rank == (t->n_dims <= MAX_RANK ? (int)t->n_dims : -1), "the rank", c->name);
    for (int i = 0; i < c->tensor.shape.rank; i++) demand(c->tensor.shape.dim[i] == t->dims[i], "a dimension", c->name);
    demand((c->storage == STORED_EXTERNAL) == (t->data_location == 1), "the location", c->name);
    if (c->storage == STORED_EXTERNAL) return;
    demand(constant_fetch(m, c) == OK, err_text(), c->name);
    demand(same_elements(c, t), "an element", c->name);
    demand(constant_release(m, c) == OK, err_text(), c->name);
    compared++;
}

static void compare_sparse(Model *m, Constant *c, const Onnx__SparseTensorProto *s)
{
    compare_tensor(m, c->values, s->values);
    compare_tensor(m, c->indices, s->indices);
    demand(c->tensor.shape.rank == (int)s->n_dims, "the rank", c->name);
    for (int i = 0; i < c->tensor.shape.rank; i++) demand(c->tensor.shape.dim[i] == s->dims[i], "a dimension", c->name);
}

static void compare_graph(const Graph *g, const Onnx__GraphProto *p);

static void compare_attr(Model *m, const Attr *a, const Onnx__AttributeProto *p)
{
    demand(strcmp(a->name, text(p->name)) == 0, "the name of an attribute", text(p->name));
    demand(strcmp(text(a->reference), text(p->ref_attr_name)) == 0, "the reference", a->name);
    if (a->reference) return;
    demand((int)a->kind == p->type || p->type == 0, "the kind", a->name);
    switch (a->kind) {
    case ATTR_F: demand(memcmp(&a->f, &p->f, sizeof a->f) == 0, "the value", a->name); break;
    case ATTR_I: demand(a->i == p->i, "the value", a->name); break;
    case ATTR_S: demand(same_strings(&a->s, 1, &p->s, 1), "the value", a->name); break;
    case ATTR_T: compare_tensor(m, a->t, p->t); break;
    case ATTR_G: compare_graph(a->g, p->g); break;
    case ATTR_SPARSE: compare_sparse(m, a->t, p->sparse_tensor); break;
    case ATTR_FS: demand(a->n == (int)p->n_floats && memcmp(a->fs, p->floats, p->n_floats * sizeof(float)) == 0, "a value", a->name); break;
    case ATTR_IS: demand(a->n == (int)p->n_ints && (!a->n || memcmp(a->is, p->ints, p->n_ints * sizeof(int64_t)) == 0), "a value", a->name); break;
    case ATTR_SS: demand(same_strings(a->ss, (size_t)a->n, p->strings, p->n_strings), "a value", a->name); break;
    case ATTR_TS:
        demand(a->n == (int)p->n_tensors, "the number of tensors", a->name);
        for (int i = 0; i < a->n; i++) compare_tensor(m, a->ts[i], p->tensors[i]);
        break;
    case ATTR_GS:
        demand(a->n == (int)p->n_graphs, "the number of graphs", a->name);
        for (int i = 0; i < a->n; i++) compare_graph(a->gs[i], p->graphs[i]);
        break;
    default: break;
    }
}

static const Node *node_at(const Graph *g, const uint8_t *at)
{
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i]->source.at == at) return g->node[i];
    return NULL;
}

static int by_source(const void *a, const void *b)
{
    const Node *x = *(Node *const *)a, *y = *(Node *const *)b;
    return x->source.at < y->source.at ? -1 : 1;
}

static void compare_nodes(const Graph *g, size_t n, Onnx__NodeProto **proto)
{
    demand(g->n_node == (int)n, "the number of nodes", g->name);
    Node **node = malloc((n + 1) * sizeof(Node *));    /* in the file's order */
    assert_non_null(node);
    if (n > 0) memcpy(node, g->node, n * sizeof(Node *));
    qsort(node, n, sizeof(Node *), by_source);
    for (size_t i = 0; i < n; i++) {
        const Onnx__NodeProto *p = proto[i];
        const Node *x = node[i];
        assert_ptr_equal(node_at(g, x->source.at), x);
        demand(strcmp(x->op_type, text(p->op_type)) == 0 && same_domain(x->domain, p->domain), "the operator", text(p->name));
        demand(strcmp(x->name, text(p->name)) == 0, "the name", text(p->name));
        demand(x->n_in == (int)p->n_input && x->n_out == (int)p->n_output && x->n_attr == (int)p->n_attribute, "a count", x->name);
        for (int k = 0; k < x->n_in; k++) demand(strcmp(name_of(x->in[k]), p->input[k]) == 0, "an input", x->name);
        for (int k = 0; k < x->n_out; k++) demand(strcmp(name_of(x->out[k]), p->output[k]) == 0, "an output", x->name);
        for (int k = 0; k < x->n_attr; k++) compare_attr(g->model, &x->attr[k], p->attribute[k]);
    }
    free(node);
}

static const Value *value_named(const Graph *g, const char *name)
{
    for (int i = 0; i < g->n_value; i++)
        if (strcmp(g->value[i]->name, name) == 0) return g->value[i];
    return NULL;
}

static void compare_type(const Graph *g, const Value *v, const Onnx__ValueInfoProto *p)
{
    demand(strcmp(v->name, text(p->name)) == 0, "the name", text(p->name));
    if (!p->type || !p->type->tensor_type || !p->type->tensor_type->shape) return;
    const Onnx__TensorShapeProto *s = p->type->tensor_type->shape;
    demand((int)v->stated.dtype == p->type->tensor_type->elem_type, "the type", v->name);
    demand(v->stated.shape.rank == (s->n_dim <= MAX_RANK ? (int)s->n_dim : -1), "the rank", v->name);
    for (int i = 0; i < v->stated.shape.rank; i++) {
        int64_t d = v->stated.shape.dim[i];
        if (s->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && s->dim[i]->dim_value >= 0)
            demand(d == s->dim[i]->dim_value, "a dimension", v->name);
        else if (s->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM && *s->dim[i]->dim_param)
            demand(dim_is_symbol(d) && strcmp(g->model->symbol[d - SYMBOL_BASE], s->dim[i]->dim_param) == 0, "a symbol", v->name);
        else
            demand(dim_is_symbol(d), "an unknown dimension", v->name);
    }
}

static void compare_graph(const Graph *g, const Onnx__GraphProto *p)
{
    demand(strcmp(g->name, text(p->name)) == 0, "the name", text(p->name));
    demand(g->n_in == (int)p->n_input && g->n_out == (int)p->n_output, "the number of inputs or outputs", g->name);
    for (int i = 0; i < g->n_in; i++) compare_type(g, g->in[i], p->input[i]);
    for (int i = 0; i < g->n_out; i++) demand(strcmp(g->out[i]->name, p->output[i]->name) == 0, "an output", g->name);
    for (size_t i = 0; i < p->n_initializer; i++) {
        const Value *v = value_named(g, text(p->initializer[i]->name));
        demand(v && v->constant, "an initializer", text(p->initializer[i]->name));
        compare_tensor(g->model, v->constant, p->initializer[i]);
    }
    for (size_t i = 0; i < p->n_sparse_initializer; i++) {
        const Value *v = value_named(g, text(p->sparse_initializer[i]->values->name));
        demand(v && v->constant, "an initializer", text(p->sparse_initializer[i]->values->name));
        compare_sparse(g->model, v->constant, p->sparse_initializer[i]);
    }
    compare_nodes(g, p->n_node, p->node);
}

static void compare_model(const Model *m, const Onnx__ModelProto *p)
{
    demand(m->ir_version == p->ir_version, "the IR version", "model");
    demand(strcmp(m->producer_name, text(p->producer_name)) == 0, "the producer", "model");
    demand(strcmp(m->producer_version, text(p->producer_version)) == 0, "the producer's version", "model");
    demand(m->n_opset == (int)p->n_opset_import && m->n_property == (int)p->n_metadata_props && m->n_function == (int)p->n_functions, "a count", "model");
    for (int i = 0; i < m->n_opset; i++)
        demand(same_domain(m->opset[i].domain, p->opset_import[i]->domain) && m->opset[i].version == p->opset_import[i]->version, "an opset", "model");
    for (int i = 0; i < m->n_property; i++)
        demand(strcmp(m->property[i].key, text(p->metadata_props[i]->key)) == 0 && strcmp(m->property[i].value, text(p->metadata_props[i]->value)) == 0,
               "a property", m->property[i].key);
    compare_graph(m->graph, p->graph);
    for (int i = 0; i < m->n_function; i++) {
        const Onnx__FunctionProto *f = p->functions[i];
        demand(strcmp(m->function[i]->name, text(f->name)) == 0 && m->function[i]->n_in == (int)f->n_input, "the head of a function", text(f->name));
        compare_nodes(m->function[i], f->n_node, f->node);
    }
}

static void compare_bytes(Bytes bytes, Model *m)
{
    Onnx__ModelProto *p = onnx__model_proto__unpack(NULL, bytes.size, bytes.at);
    if (!p) fail_msg("%s: protobuf-c cannot read it", where);
    compare_model(m, p);
    onnx__model_proto__free_unpacked(p, NULL);
}

static void compare_file(const char *path, void *user)
{
    (void)user;
    Model *m;
    snprintf(where, sizeof where, "%s", path);
    if (model_load(path, &m)) fail_msg("%s", err_text());
    Bytes bytes = read_file(path);
    compare_bytes(bytes, m);
    bytes_free(bytes);
    model_free(m);
}

static void test_seeds(void **state)
{
    (void)state;
    for (int i = 0; i < seed_count(); i++) {
        Model *m;
        if (strcmp(seed_name(i), "groups") == 0) continue;             /* protobuf-c knows none */
        snprintf(where, sizeof where, "%s", seed_name(i));
        Bytes bytes = seed_model(i);
        if (model_parse(bytes.at, bytes.size, &m)) fail_msg("%s", err_text());
        compare_bytes(bytes, m);
        model_free(m);
        bytes_free(bytes);
    }
    assert_true(compared > 20);
}

static void run(const char *variable)
{
    int n = each_model(getenv(variable), compare_file, NULL);
    print_message("%d models, %d tensors so far\n", n, compared);
    if (n == 0) skip();
}

static void test_real_models(void **state)
{
    (void)state;
    run("ONESHOT_MODELS");
}

static void test_node_tests(void **state)
{
    (void)state;
    run("ONESHOT_NODE_TESTS");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_seeds), cmocka_unit_test(test_real_models), cmocka_unit_test(test_node_tests) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
