/* The IR that loading gives: names, attributes, facts, constants, bodies, functions; refresh; edits. */
#include "onnx/model.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include <stdlib.h>
#include <string.h>

static Bytes small_conv(void)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "batch,3,8,8");
    build_init(b, "w", DT_F32, "4,3,3,3", NULL);
    build_node(b, "Conv", "x,w", "y", "pads:is=1,1,1,1 group:i=1 auto_pad:s=NOTSET");
    build_node_name(b, "conv");
    build_node(b, "LeakyRelu", "y", "z", "alpha:f=0.25");
    build_output(b, "z", DT_F32, "batch,4,8,8");
    build_property(b, "author", "nobody");
    return build_finish(b, 8, 17);
}

static Model *parse(Bytes bytes)
{
    Model *m = NULL;
    Err err = model_parse(bytes.at, bytes.size, &m);
    if (err) fail_msg("%s", err_text());
    return m;
}

static void test_graph(void **state)
{
    (void)state;
    Bytes bytes = small_conv();
    Model *m = parse(bytes);
    Graph *g = m->graph;
    assert_int_equal(g->n_node, 2);
    assert_int_equal(graph_opset(g, ""), 17);
    assert_int_equal(graph_opset(g, "ai.onnx.ml"), 0);
    const Node *conv = g->node[0];
    assert_string_equal(conv->op_type, "Conv");
    assert_string_equal(conv->name, "conv");
    assert_ptr_equal(conv->in[0], g->in[0]);
    assert_ptr_equal(conv->out[0], g->node[1]->in[0]);
    assert_ptr_equal(conv->out[0]->producer, conv);
    assert_int_equal(conv->out[0]->n_user, 1);
    assert_ptr_equal(conv->out[0]->user[0], g->node[1]);
    assert_true(g->out[0]->is_output && g->in[0]->is_input && !g->out[0]->is_input);
    assert_string_equal(model_property(m, "author"), "nobody");
    assert_null(model_property(m, "absent"));
    model_free(m);
    bytes_free(bytes);
}

static void test_attributes(void **state)
{
    (void)state;
    Bytes bytes = small_conv();
    Model *m = parse(bytes);
    const Node *conv = m->graph->node[0], *relu = m->graph->node[1];
    const int64_t *pads;
    assert_int_equal(attr_is(conv, "pads", &pads), 4);
    assert_int_equal(pads[3], 1);
    assert_int_equal(attr_i(conv, "group", 7), 1);
    assert_int_equal(attr_i(conv, "absent", 7), 7);
    assert_true(attr_s_is(conv, "auto_pad", "NOTSET", false));
    assert_false(attr_s_is(conv, "auto_pad", "VALID", true));
    assert_true(attr_f(relu, "alpha", 0) == 0.25f);
    assert_null(node_attr(relu, "absent"));
    model_free(m);
    bytes_free(bytes);
}

static void test_facts(void **state)
{
    (void)state;
    Bytes bytes = small_conv();
    Model *m = parse(bytes);
    char text[64];
    const Value *x = m->graph->in[0], *z = m->graph->out[0], *w = m->graph->node[0]->in[1];
    assert_int_equal(x->stated.shape.dim[0], z->stated.shape.dim[0]);
    assert_true(dim_is_symbol(x->stated.shape.dim[0]));
    shape_text(&x->stated.shape, m->symbol, text, sizeof text);
    assert_string_equal(text, "batchx3x8x8");
    assert_int_equal(w->stated.shape.rank, 4);
    assert_int_equal(w->constant->tensor.bytes, 4 * 27 * 4);
    assert_int_equal(m->graph->node[0]->out[0]->stated.shape.rank, -1);
    model_free(m);
    bytes_free(bytes);
}

static void test_fetch(void **state)
{
    (void)state;
    Bytes bytes = small_conv();
    Model *m = parse(bytes);
    Constant *w = m->graph->node[0]->in[1]->constant;
    assert_int_equal(constant_fetch(m, w), OK);
    assert_int_equal((uintptr_t)w->tensor.data % 64, 0);
    assert_true(((float *)w->tensor.data)[107] == 108.0f);
    assert_int_equal(constant_release(m, w), OK);
    assert_null(w->tensor.data);
    model_free(m);
    bytes_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph), cmocka_unit_test(test_attributes), cmocka_unit_test(test_facts), cmocka_unit_test(test_fetch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
