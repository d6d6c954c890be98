/* Files that are damaged, made to harm, or no model at all: each is refused with its sentence, at once and without a trace. */
#include "onnx/format.h"
#include "onnx/model.h"
#include "tests/cmocka.h"
#include "tests/seeds.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void expect(Err err, Err code, const char *message)
{
    if (err != code || !strstr(err_text(), message)) fail_msg("expected %d '%s', got %d '%s'", code, message, err, err ? err_text() : "");
}

static void refused(Bytes bytes, Err code, const char *message)
{
    Model *m;
    expect(model_parse(bytes.at, bytes.size, &m), code, message);
    bytes_free(bytes);
}

static void file_refused(const char *path, Err code, const char *message)
{
    Model *m;
    expect(model_load(path, &m), code, message);
}

static Bytes copy(const void *bytes, size_t size)
{
    Bytes b = { malloc(size + 1), size };
    assert_non_null(b.at);
    memcpy(b.at, bytes, size);
    return b;
}

static void test_no_model(void **state)
{
    (void)state;
    file_refused(test_path("absent.onnx"), ERR_IO, "No such file");
    file_refused(test_folder(), ERR_FORMAT, "this is a folder");
    file_refused("/dev/zero", ERR_FORMAT, "no regular file");
    assert_int_equal(mkfifo(test_path("fifo"), 0666), 0);
    file_refused(test_path("fifo"), ERR_FORMAT, "no regular file but a pipe");
    write_file(test_path("empty.onnx"), "", 0);
    file_refused(test_path("empty.onnx"), ERR_FORMAT, "the file is empty");
    const char text[] = "This is a text file, which happens to be named like a model.\n";
    write_file(test_path("text.onnx"), text, sizeof text - 1);
    file_refused(test_path("text.onnx"), ERR_FORMAT, "this is no protobuf field");
    unsigned char noise[4096];
    uint32_t r = 1;
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (unsigned char)((r = r * 1664525u + 1013904223u) >> 24);
    write_file(test_path("noise.onnx"), noise, sizeof noise);
    file_refused(test_path("noise.onnx"), ERR_FORMAT, "byte ");
    refused(copy("\x08\x08", 2), ERR_FORMAT, "it holds no graph");
}

#define OTHER(text, format) { text, sizeof text - 1, format },

static void test_other_formats(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t size; ModelFormat format; } others[] = {
        OTHER("PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0archive/data.pkl", FORMAT_TORCH)
        OTHER("PK\3\4 config.json metadata.json", FORMAT_KERAS)
        OTHER("PK\3\4 other", FORMAT_ZIP)
        OTHER("\x80\x02}q\x01.", FORMAT_TORCH)
        OTHER("\x40\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\"}}", FORMAT_SAFETENSORS)
        OTHER("\x1c\0\0\0TFL3\0\0", FORMAT_TFLITE)
        OTHER("\x89HDF\r\n\x1a\n\0", FORMAT_HDF5)
        OTHER("GGUF\3\0\0\0", FORMAT_GGUF)
        OTHER("\x18\0\0\0ORTM", FORMAT_ORT)
        OTHER("\x93NUMPY\1\0", FORMAT_NUMPY)
        OTHER("<?xml version=\"1.0\"?>", FORMAT_XML)
        OTHER("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", FORMAT_LFS)
        OTHER("\n <!doctype HTML><html></html>", FORMAT_HTML)
        OTHER("<html>", FORMAT_HTML)
        OTHER("\x1f\x8b\x08\x08", FORMAT_COMPRESSED)
        OTHER("\xfd" "7zXZ\0", FORMAT_COMPRESSED)
        OTHER("\x28\xb5\x2f\xfd\4", FORMAT_COMPRESSED)
        OTHER("BZh91AY&SY", FORMAT_COMPRESSED)
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ModelFormat format;
        const char *path = test_path("other.onnx");
        write_file(path, others[i].bytes, others[i].size);
        assert_int_equal(model_format_of(path, &format), OK);
        assert_int_equal(format, others[i].format);
        file_refused(path, ERR_UNSUPPORTED, format_name(format));
    }
    ModelFormat format;
    assert_int_equal(model_format_of(test_folder(), &format), OK);
    assert_int_equal(format, FORMAT_FOLDER);
    write_file(test_path("saved_model.pb"), "x", 1);
    assert_int_equal(model_format_of(test_folder(), &format), OK);
    assert_int_equal(format, FORMAT_SAVED_MODEL);
    expect(model_format_of(test_path("absent"), &format), ERR_IO, "cannot open it");
}

/* depth messages of the given field within each other. */
static Pb nested(int depth, const uint32_t *fields, int n)
{
    Pb *at = calloc((size_t)depth + 1, sizeof *at);
    assert_non_null(at);
    for (int i = depth - 1; i >= 0; i--) pb_child(&at[i], fields[i % n], &at[i + 1]);
    Pb outer = at[0];
    free(at);
    return outer;
}

static void test_nesting(void **state)
{
    (void)state;
    Pb rest = nested(300, (const uint32_t[]){ 1, 5, 6 }, 3), model = {0};
    pb_child(&model, 7, &rest);
    refused((Bytes){ model.at, model.size }, ERR_FORMAT, "nested more than 100 deep");
    size_t size = 100000;
    unsigned char *groups = malloc(size);
    assert_non_null(groups);
    memset(groups, 0x0b, size);                                                    /* groups that open and never end */
    refused((Bytes){ groups, size }, ERR_FORMAT, "groups are nested more than 100 deep");
}

/* A chain of lengths that nests 100,000 messages deep without the file being larger: 5-byte padded varints all claiming the rest of the file. */
static void test_deep_lengths(void **state)
{
    (void)state;
    enum { DEPTH = 100000, STEP = 6 };
    static const unsigned char tags[] = { 0x0a, 0x2a, 0x32 };                     /* node, attribute, graph */
    size_t size = DEPTH * STEP;
    Bytes b = { malloc(size), size };
    assert_non_null(b.at);
    for (size_t i = 0; i < DEPTH; i++) {
        uint32_t rest = (uint32_t)(size - (i + 1) * STEP);
        b.at[i * STEP] = i == 0 ? 0x3a : tags[(i - 1) % 3];
        for (size_t k = 0; k < 5; k++) b.at[i * STEP + 1 + k] = (unsigned char)((rest >> 7 * k & 0x7f) | (k < 4 ? 0x80 : 0));
    }
    refused(b, ERR_FORMAT, "nested more than 100 deep");
}

static void test_cut_off(void **state)
{
    (void)state;
    for (int i = 0; i < seed_count(); i++) {
        Bytes whole = seed_model(i);
        Model *m;
        for (size_t size = 1; size < whole.size; size++) {
            unsigned char *part = malloc(size);                                    /* its own block: a read past the end is seen by ASan */
            assert_non_null(part);
            memcpy(part, whole.at, size);
            Err err = model_parse(part, size, &m);
            if (err == OK) model_free(m);                                          /* cut between two fields */
            else assert_int_equal(err, ERR_FORMAT);
            free(part);
        }
        bytes_free(whole);
    }
    refused(copy("\x08", 1), ERR_FORMAT, "byte 1: a number is cut off");
    refused(copy("\x08\x80\x80", 3), ERR_FORMAT, "a number is cut off");
    refused(copy("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12), ERR_FORMAT, "more than ten bytes");
    refused(copy("\x3a\x10\x0a", 3), ERR_FORMAT, "a length passes the end");
    refused(copy("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10), ERR_FORMAT, "a length passes the end");
}

static void test_bit_flips(void **state)
{
    (void)state;
    for (int i = 0; i < seed_count(); i++) {
        Bytes bytes = seed_model(i);
        for (size_t bit = 0; bit < bytes.size * 8; bit++) {
            Model *m;
            bytes.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
            if (model_parse(bytes.at, bytes.size, &m) == OK) model_free(m);
            bytes.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        bytes_free(bytes);
    }
}

static Bytes with_initializer(Pb tensor)
{
    Build *b = build_new();
    build_init_proto(b, &tensor);
    build_node(b, "Identity", "w", "y", "");
    build_output(b, "y", DT_F32, NULL);
    return build_finish(b, 8, 17);
}

static Pb with_raw(const char *dims, size_t bytes)
{
    Pb t = tensor_head("w", DT_F32, dims);
    static const char zeros[64];
    pb_bytes(&t, 9, zeros, bytes);
    return t;
}

static void test_tensors(void **state)
{
    (void)state;
    refused(with_initializer(with_raw("4", 12)), ERR_FORMAT, "tensor 'w': raw_data has 12 bytes, but the shape and the type (float32) ask for 16");
    refused(with_initializer(with_raw("4", 20)), ERR_FORMAT, "raw_data has 20 bytes");
    refused(with_initializer(with_raw("-1,4", 16)), ERR_FORMAT, "tensor 'w': dimension 0 is negative (-1)");
    refused(with_initializer(with_raw("4294967296,4294967296", 16)), ERR_FORMAT, "product of the dimensions");
    refused(with_initializer(with_raw("9223372036854775807,2", 16)), ERR_FORMAT, "product of the dimensions");
    refused(with_initializer(with_raw("16777216,16777216", 16)), ERR_FORMAT, "raw_data has 16 bytes");
    Pb run = tensor_head("w", DT_F32, "3"), segment = with_raw("1", 4), text = tensor_head("w", DT_STRING, "1"), part = {0};
    pb_bytes(&run, 4, "12345678", 8);
    refused(with_initializer(run), ERR_FORMAT, "its data has 8 bytes");
    pb_child(&segment, 3, &part);
    refused(with_initializer(segment), ERR_UNSUPPORTED, "tensor 'w': it is stored in segments");
    pb_bytes(&text, 9, "1234", 4);
    refused(with_initializer(text), ERR_FORMAT, "strings cannot be raw data");
}

/* What is wrong only with the elements is found when they are asked for. */
static void fetch_refused(Bytes bytes, Err code, const char *message)
{
    Model *m;
    if (model_parse(bytes.at, bytes.size, &m)) fail_msg("%s", err_text());
    m->memory_limit = 1 << 20;
    Constant *c = m->graph->node[0]->in[0]->constant;
    expect(constant_fetch(m, c), code, message);
    assert_null(c->tensor.data);
    model_free(m);
    bytes_free(bytes);
}

static void test_elements(void **state)
{
    (void)state;
    Pb few = tensor_head("w", DT_I64, "3"), many = tensor_head("w", DT_I8, "1"), huge = tensor_head("w", DT_I64, "1000000000");
    pb_varint(&few, 7, 1);
    pb_varint(&many, 5, 1);
    pb_varint(&many, 5, 1);
    fetch_refused(with_initializer(few), ERR_FORMAT, "tensor 'w' has another number of elements than its shape");
    fetch_refused(with_initializer(many), ERR_FORMAT, "tensor 'w' has another number of elements");
    fetch_refused(with_initializer(huge), ERR_NOMEM, "tensor 'w' needs 8000000000 bytes of memory, the limit is");
    Pb odd = tensor_head("w", (DType)99, "2");
    pb_bytes(&odd, 9, "abc", 3);
    fetch_refused(with_initializer(odd), ERR_UNSUPPORTED, "tensor 'w' has the unknown element type 99");
    Pb cut = tensor_head("w", DT_I64, "3");
    pb_bytes(&cut, 7, "\x01\x02\x83", 3);
    fetch_refused(with_initializer(cut), ERR_FORMAT, "a number is cut off");
}

static Bytes with_sparse(Pb sparse)
{
    Build *b = build_new();
    build_sparse_init_proto(b, &sparse);
    build_node(b, "Identity", "w", "y", "");
    build_output(b, "y", DT_F32, NULL);
    return build_finish(b, 8, 17);
}

static Pb sparse_of(const char *dims, const char *values, DType index, const char *index_dims, const void *indices)
{
    Pb s = {0}, v = tensor_raw("w", DT_F32, values, NULL), i = tensor_raw(NULL, index, index_dims, indices);
    pb_child(&s, 1, &v);
    pb_child(&s, 2, &i);
    for (const char *d = dims; *d; d += strcspn(d, ","), d += *d == ',') pb_varint(&s, 3, strtoull(d, NULL, 10));
    return s;
}

static void test_sparse(void **state)
{
    (void)state;
    const int64_t out[] = { 1, 8 }, negative[] = { -1, 2 }, twice[] = { 3, 3 }, falling[] = { 5, 2 }, coordinates[] = { 0, 1, 2, 0 };
    fetch_refused(with_sparse(sparse_of("2,4", "2", DT_I64, "2", out)), ERR_FORMAT, "sparse tensor 'w': index 1 is out of range");
    fetch_refused(with_sparse(sparse_of("2,4", "2", DT_I64, "2", negative)), ERR_FORMAT, "index 0 is out of range");
    fetch_refused(with_sparse(sparse_of("2,4", "2", DT_I64, "2", twice)), ERR_FORMAT, "index 1 is not in ascending order");
    fetch_refused(with_sparse(sparse_of("2,4", "2", DT_I64, "2", falling)), ERR_FORMAT, "index 1 is not in ascending order");
    fetch_refused(with_sparse(sparse_of("2,4", "2", DT_I64, "2,2", coordinates)), ERR_FORMAT, "index 1 is out of range");
    fetch_refused(with_sparse(sparse_of("1000000,1000000", "2", DT_I64, "2", out)), ERR_NOMEM, "needs 4000000000000 bytes");
    refused(with_sparse(sparse_of("2,4", "2", DT_I64, "3", NULL)), ERR_FORMAT, "sparse tensor 'w': its indices have another shape");
    refused(with_sparse(sparse_of("2,4", "2", DT_F32, "2", NULL)), ERR_FORMAT, "its indices are float32");
    refused(with_sparse(sparse_of("2,4", "2,1", DT_I64, "2", NULL)), ERR_FORMAT, "its values have rank 2");
    refused(with_sparse(sparse_of("4294967296,4294967296", "2", DT_I64, "2", out)), ERR_FORMAT, "product of the dimensions");
    refused(with_sparse((Pb){0}), ERR_FORMAT, "it has no values");
}

static Bytes two_nodes(const char *in, const char *out, const char *in2, const char *out2)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1");
    build_init(b, "w", DT_F32, "1", NULL);
    build_node(b, "Neg", in, out, "");
    build_node_name(b, "first");
    build_node(b, "Abs", in2, out2, "");
    build_node_name(b, "second");
    build_output(b, "y", DT_F32, "1");
    return build_finish(b, 8, 17);
}

static void test_graphs(void **state)
{
    (void)state;
    refused(two_nodes("y", "z", "z", "y"), ERR_FORMAT, "form a cycle");
    refused(two_nodes("y", "y", "x", "z"), ERR_FORMAT, "form a cycle");
    refused(two_nodes("x", "y", "x", "y"), ERR_FORMAT, "node 'second' (Abs): output 'y' is also the output of another node");
    refused(two_nodes("x", "x", "x", "y"), ERR_FORMAT, "node 'first' (Neg): output 'x' is also an input or initializer");
    refused(two_nodes("x", "w", "x", "y"), ERR_FORMAT, "output 'w' is also an input or initializer");
    refused(two_nodes("nowhere", "z", "x", "y"), ERR_FORMAT, "node 'first' (Neg): input 'nowhere' is defined nowhere");
    refused(two_nodes("x", "z", "x", "u"), ERR_FORMAT, "output 'y' is defined nowhere");
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1");
    build_input(b, "x", DT_F32, "2");
    refused(build_finish(b, 8, 17), ERR_FORMAT, "two inputs are named 'x'");
    b = build_new();
    pb_bytes(build_graph_fields(b), 2, "a\0b", 3);
    refused(build_finish(b, 8, 17), ERR_FORMAT, "a name contains a NUL byte");
    b = build_new();
    pb_text(build_model_fields(b), 7, "");
    refused(build_finish(b, 8, 17), ERR_FORMAT, "the file holds two graphs");
}

/* A body sees the names around it; what it reads belongs into the order of the graph around it; a cycle through a body is one. */
static void test_cycle_through_body(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1");
    build_input(b, "cond", DT_BOOL, "");
    build_node(b, "If", "cond", "y", "");
    build_attr_graph(b, "then_branch", build_branch("Neg", "later", "a", "1"));
    build_attr_graph(b, "else_branch", build_branch("Neg", "x", "b", "1"));
    build_node(b, "Abs", "y", "later", "");
    build_output(b, "y", DT_F32, "1");
    refused(build_finish(b, 8, 17), ERR_FORMAT, "form a cycle");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_model), cmocka_unit_test(test_other_formats), cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_deep_lengths), cmocka_unit_test(test_cut_off), cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_tensors),  cmocka_unit_test(test_elements),      cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_graphs),   cmocka_unit_test(test_cycle_through_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
