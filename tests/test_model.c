/* The IR that loading gives: names, attributes, facts, constants, bodies, functions; refresh; edits. */
#include "onnx/model.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* Conv -> LeakyRelu becomes Conv -> Mul by a new initializer; the Conv comes out as it stood. */
static void replace_relu(Model *m)
{
    Graph *g = m->graph;
    static float element[] = { 3 };
    Value *scale, *in[2], *out = g->node[1]->out[0];
    Node *mul;
    Tensor t = { .dtype = DT_F32, .shape = shape_of(1, (int64_t[]){ 1 }), .bytes = 4, .data = element };
    assert_int_equal(graph_add_constant(g, "scale", &t, &scale), OK);
    assert_int_equal(graph_add_constant(g, "scale", &t, &scale), ERR_ARG);
    in[0] = g->node[0]->out[0];
    in[1] = scale;
    const Node *relu = g->node[1];
    Value *z;
    out->name = "old";
    assert_int_equal(model_refresh(m), OK);
    assert_int_equal(graph_add_value(g, "z", &z), OK);
    g->out[0] = z;
    assert_int_equal(graph_add_node(g, 1, &(Node){ .op_type = "Mul", .domain = "", .name = "mul", .n_in = 2, .in = in, .n_out = 1, .out = &z }, &mul), OK);
    graph_remove_node(g, relu);
    assert_int_equal(model_refresh(m), OK);
    assert_ptr_equal(mul->out[0]->producer, mul);
    assert_int_equal(scale->n_user, 1);
}

static void test_structure(void **state)
{
    (void)state;
    Bytes bytes = small_conv();
    Model *m = parse(bytes), *again = NULL;
    uint8_t *saved;
    size_t size;
    SaveOptions o = {0};
    Span conv = m->graph->node[0]->source;
    replace_relu(m);
    assert_int_equal(model_serialize(m, &o, &saved, &size), OK);
    assert_non_null(memmem(saved, size, conv.at, conv.size));
    if (model_parse(saved, size, &again)) fail_msg("%s", err_text());
    const Node *mul = again->graph->node[1];
    assert_int_equal(again->graph->n_node, 2);
    assert_string_equal(mul->op_type, "Mul");
    assert_string_equal(mul->in[1]->name, "scale");
    assert_int_equal(constant_fetch(again, mul->in[1]->constant), OK);
    assert_true(*(float *)mul->in[1]->constant->tensor.data == 3.0f);
    assert_int_equal(again->graph->out[0]->stated.shape.rank, 4);
    assert_string_equal(model_property(again, "author"), "nobody");
    model_free(again);
    block_free(saved);
    model_free(m);
    bytes_free(bytes);
}

static void test_metadata(void **state)
{
    (void)state;
    Bytes bytes = small_conv();
    Model *m = parse(bytes), *again = NULL;
    uint8_t *saved;
    size_t size;
    SaveOptions o = {0};
    assert_int_equal(model_set_property(m, "author", "somebody"), OK);
    assert_int_equal(model_set_property(m, "tool", "oneshot"), OK);
    m->producer_name = "oneshot";
    m->producer_version = "1";
    assert_int_equal(model_serialize(m, &o, &saved, &size), OK);
    if (model_parse(saved, size, &again)) fail_msg("%s", err_text());
    assert_int_equal(again->n_property, 2);
    assert_string_equal(model_property(again, "author"), "somebody");
    assert_string_equal(model_property(again, "tool"), "oneshot");
    assert_string_equal(again->producer_name, "oneshot");
    assert_string_equal(again->producer_version, "1");
    assert_memory_equal(again->graph->source.at, m->graph->source.at, m->graph->source.size);
    model_free(again);
    block_free(saved);
    model_free(m);
    bytes_free(bytes);
}

static int entries(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

/* Runs in a child whose files may not grow beyond 100 bytes, as on a full disk. */
static int save_without_room(const char *input, const char *output)
{
    Model *m;
    SaveOptions o = {0};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 100, 100 });
    if (model_load(input, &m)) return 1;
    Err err = model_save(m, output, &o);
    model_free(m);
    return err == ERR_IO && strstr(err_text(), "cannot write") ? 0 : 2;
}

static void test_atomic(void **state)
{
    (void)state;
    const char *input = test_path("input.onnx"), *output = test_path("output.onnx");
    Bytes bytes = small_conv();
    SaveOptions o = {0};
    Model *m = NULL;
    write_file(input, bytes.at, bytes.size);
    write_file(output, "old", 3);
    int before = entries(test_folder());
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) _exit(save_without_room(input, output));
    int status = -1;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    Bytes old = read_file(output);
    assert_int_equal(old.size, 3);
    bytes_free(old);
    assert_int_equal(entries(test_folder()), before);
    assert_int_equal(model_load(input, &m), OK);
    assert_int_equal(model_save(m, input, &o), ERR_ARG);
    assert_int_equal(model_save(m, test_path("absent/m.onnx"), &o), ERR_IO);
    assert_int_equal(model_save(m, "/dev/null", &o), ERR_IO);
    assert_int_equal(model_save(m, test_folder(), &o), ERR_IO);
    assert_int_equal(model_save(m, output, &o), OK);
    o.force = true;
    assert_int_equal(model_save(m, input, &o), OK);
    assert_true(files_equal(input, output));
    assert_int_equal(entries(test_folder()), before);
    model_free(m);
    bytes_free(bytes);
}

static void test_digest(void **state)
{
    (void)state;
    char hex[65];
    Model m = { .source = { (const uint8_t *)"abc", 3 } };
    assert_int_equal(model_sha256_source(&m, hex), OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");     /* FIPS 180-4 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph), cmocka_unit_test(test_attributes), cmocka_unit_test(test_facts), cmocka_unit_test(test_fetch),
        cmocka_unit_test(test_structure), cmocka_unit_test(test_metadata), cmocka_unit_test(test_atomic), cmocka_unit_test(test_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
