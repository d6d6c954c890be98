/* Samples: what NumPy's files are read as, and the sentence for everything that is wrong with one. */
#include "recipes/samples.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/npz.h"
#include <stdlib.h>
#include <string.h>

static const char FLOATS[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
static const float SIX[6] = { 1, -2, 3, 4, 5, 6.5f };

/* arrays ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct NpyCase { const char *header; size_t bytes; const char *error; } NpyCase;
static const NpyCase NPY[] = {
    { FLOATS, 24, NULL },
    { "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}", 24, NULL },
    { "{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }", 24, NULL },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 8, NULL },
    { "{'descr': '|i1', 'fortran_order': False, 'shape': (0, 7), }", 0, NULL },
    { FLOATS, 23, "it holds 23 bytes of elements where its shape asks for 24" },
    { FLOATS, 25, "it holds 25 bytes of elements where its shape asks for 24" },
    { "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24, "it is in Fortran order; save it with numpy.ascontiguousarray" },
    { "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", 24, "it is big-endian ('>f4'); save it with a.astype(a.dtype.newbyteorder('<'))" },
    { "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", 24, "it holds Python objects ('|O'), which are never unpacked" },
    { "{'descr': '<U4', 'fortran_order': False, 'shape': (2, 3), }", 96, "its type '<U4' is not read" },
    { "{'descr': '|b1', 'fortran_order': False, 'shape': (4,), }", 4, "element 2 of it is the bool 128" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 24, "?" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999, 9), }", 24, "?" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,6), }", 24, "its header is not" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3), }", 24, "its header is not" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (6), }", 24, "its header is not" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': 6, }", 24, "its header is not" },
    { "{'descr': '<f4', 'fortran_order': 0, 'shape': (6,), }", 24, "its header is not" },
    { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }", 24, "its header is not" },
    { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", 24, "its header is not" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': '' }", 24, "its header is not" },
    { "{'descr': '<f4', 'fortran_order': False, }", 24, "its header is not" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), } + __import__('os')", 24, "its header is not" },
    { "__import__('os').system('true')", 24, "its header is not" },
};

static void expect(Err e, const char *error, const char *what)
{
    if (!error) { if (e != OK) fail_msg("%s: %s", what, err_text()); return; }
    if (e == OK) fail_msg("%s: was read", what);
    if (*error != '?' && !strstr(err_text(), error)) fail_msg("%s: '%s' is not '%s'", what, err_text(), error);
}

static void test_npy(void **state)
{
    (void)state;
    uint8_t elements[128] = { [2] = 128 };
    for (size_t i = 0; i < sizeof NPY / sizeof *NPY; i++) {
        Bytes b = npy_bytes(NPY[i].header, elements, NPY[i].bytes);
        Tensor t;
        expect(npy_parse((Span){ b.at, b.size }, &t), NPY[i].error, NPY[i].header);
        bytes_free(b);
    }
}

static void test_npy_elements(void **state)
{
    (void)state;
    Bytes b = npy_bytes(FLOATS, SIX, sizeof SIX);
    Tensor t;
    assert_int_equal(npy_parse((Span){ b.at, b.size }, &t), OK);
    assert_int_equal(t.dtype, DT_F32);
    assert_true(shape_equal(&t.shape, &(Shape){ 2, { 2, 3 } }));
    assert_memory_equal(t.data, SIX, sizeof SIX);
    for (size_t n = 0; n < b.size; n++) assert_true(npy_parse((Span){ b.at, n }, &t) != OK);       /* cut anywhere */
    b.at[6] = 4;
    expect(npy_parse((Span){ b.at, b.size }, &t), "it has the NumPy format version 4", "version");
    b.at[6] = 1;
    b.at[12 + sizeof FLOATS] = 0;
    expect(npy_parse((Span){ b.at, b.size }, &t), "its header is not", "a NUL in the padding");
    bytes_free(b);
}

/* zip ------------------------------------------------------------------------------------------------------------------------------- */

static Err parse(Bytes zip, size_t limit, Array **list, int *n)
{
    Arena *arena = arena_new();
    assert_non_null(arena);
    Array *found;
    Err e = npz_parse(arena, (Span){ zip.at, zip.size }, limit, &found, n);
    if (list) *list = found;
    arena_free(arena);
    return e;
}

static void expect_zip(const Entry *entry, int n, const char *error, const char *what)
{
    Bytes zip = zip_bytes(entry, n);
    int found;
    expect(parse(zip, 1 << 20, NULL, &found), error, what);
    bytes_free(zip);
}

static void test_zip(void **state)
{
    (void)state;
    Bytes a = npy_bytes(FLOATS, SIX, sizeof SIX);
    Entry both[2] = { { .name = "x.npy", .content = a }, { .name = "y.npy", .content = a, .deflated = true } };
    expect_zip(both, 2, NULL, "stored and deflated");
    expect_zip(both, 0, NULL, "an empty archive");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .crc = 7 } }, 1, "a member does not fit its checksum", "crc");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .flags = 1 } }, 1, "it is encrypted", "encrypted");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .method = 12 } }, 1, "a member is packed by method 12", "bzip2");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .size = 8 } }, 1, "a member does not fit its checksum", "size");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .deflated = true, .size = 8 } }, 1, "its compressed data is damaged", "unpacks to more");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .deflated = true, .size = 900 } }, 1, "its compressed data is damaged", "unpacks to less");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .deflated = true, .size = 1000000 } }, 1, "a member claims 1000000 bytes, which", "absurd size");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .deflated = true, .packed = 20 } }, 1, "its compressed data is damaged", "truncated");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .packed = 100000 } }, 1, "a member of it is cut off", "cut off");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .packed = UINT32_MAX } }, 1, "a member of it needs zip64", "zip64");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .local_name = "z.npy" } }, 1, "a member says something else", "two names");
    expect_zip((Entry[]){ { .name = "x.npy", .content = a, .local_offset = 3 } }, 1, "it leads to no member", "offset");
    expect_zip((Entry[]){ both[0], both[0] }, 2, "it holds two arrays named 'x'", "one name twice");
    Entry again = both[0];
    again.local_offset = (uint32_t)(30 + 5 + a.size);
    expect_zip((Entry[]){ both[0], both[0], again }, 3, "?", "one member twice");
    Bytes noise = { (unsigned char[]){ "no array" }, 8 };
    expect_zip((Entry[]){ { .name = "x.npy", .content = noise } }, 1, "array 'x': it is no NumPy array", "no array");
    bytes_free(a);
}

/* The whole file is one packed member, which the directory lists many times: each time it would unpack to as much. */
static void test_overlap(void **state)
{
    (void)state;
    Bytes a = npy_bytes(FLOATS, SIX, sizeof SIX);
    Entry twice[2] = { { .name = "x.npy", .content = a }, { .name = "x.npy", .content = a } };
    Bytes zip = zip_bytes(twice, 2);
    uint8_t *second = zip.at + zip.size - 22 - 51;      /* of the directory */
    memset(second + 42, 0, 4);
    int n;
    expect(parse(zip, 1 << 20, NULL, &n), "members overlap or are out of order", "overlap");
    bytes_free(zip);
    bytes_free(a);
}

static void test_bomb(void **state)
{
    (void)state;
    size_t size = 8 << 20;
    uint8_t *zeros = calloc(size, 1);
    assert_non_null(zeros);
    Bytes a = npy_bytes("{'descr': '|u1', 'fortran_order': False, 'shape': (8388608,), }", zeros, size);
    Bytes zip = zip_bytes(&(Entry){ .name = "x.npy", .content = a, .deflated = true }, 1);
    int n;
    assert_in_range(zip.size, 1, 1 << 14);
    expect(parse(zip, 1 << 20, NULL, &n), "it unpacks to more than the limit", "bomb");
    expect(parse(zip, 9 << 20, NULL, &n), NULL, "bomb within the limit");
    bytes_free(zip);
    bytes_free(a);
    free(zeros);
}

/* A file cut anywhere is refused; one with any byte changed is refused or read, but never more than that. */
static void test_damage(void **state)
{
    (void)state;
    Bytes a = npy_bytes(FLOATS, SIX, sizeof SIX);
    Bytes zip = zip_bytes((Entry[]){ { .name = "x.npy", .content = a }, { .name = "y.npy", .content = a, .deflated = true } }, 2);
    int n;
    for (size_t k = 0; k < zip.size; k++) {
        Bytes cut = { malloc(k + !k), k };
        memcpy(cut.at, zip.at, k);
        if (parse(cut, 1 << 20, NULL, &n) == OK) fail_msg("cut at %zu: was read", k);
        bytes_free(cut);
        for (int bit = 0; bit < 8; bit++) {
            zip.at[k] ^= (uint8_t)(1 << bit);
            (void)!parse(zip, 1 << 20, NULL, &n);
            zip.at[k] ^= (uint8_t)(1 << bit);
        }
    }
    bytes_free(zip);
    bytes_free(a);
}

/* samples --------------------------------------------------------------------------------------------------------------------------- */

static Bytes two_inputs(void)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "batch,2,3");
    build_input(b, "y", DT_F32, "batch,2,3");
    build_node(b, "Add", "x,y", "z", "");
    build_output(b, "z", DT_F32, "batch,2,3");
    return build_finish(b, 8, 17);
}

/* Reads entries as a sample of the model above; of the tensors only the types and shapes outlive it. */
static Err read_sample(const Entry *entry, int n, Tensor in[2])
{
    const Value **input;
    int n_input;
    Model *m;
    const char *path = test_path("sample.npz");
    Bytes zip = zip_bytes(entry, n), model = two_inputs();
    write_file(path, zip.at, zip.size);
    assert_int_equal(model_parse(model.at, model.size, &m), OK);
    assert_int_equal(plan_inputs(m, &input, &n_input), OK);
    Arena *arena = arena_new();
    Err e = sample_read(arena, path, input, n_input, in);
    arena_free(arena);
    model_free(m);
    bytes_free(model);
    bytes_free(zip);
    return e;
}

static void test_sample(void **state)
{
    (void)state;
    Tensor in[2];
    Bytes a = npy_bytes(FLOATS, SIX, sizeof SIX), half = npy_bytes("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 6), }", SIX, sizeof SIX);
    Bytes batch = npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }", SIX, sizeof SIX);
    Bytes other = npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 2), }", SIX, sizeof SIX);
    expect(read_sample((Entry[]){ { .name = "y.npy", .content = a }, { .name = "x.npy", .content = batch }, { .name = "label.npy", .content = half } }, 3, in), NULL,
           "by name, with and without batch");
    assert_true(shape_equal(&in[0].shape, &(Shape){ 3, { 1, 2, 3 } }) && shape_equal(&in[1].shape, &in[0].shape));
    expect(read_sample((Entry[]){ { .name = "arr_1.npy", .content = a }, { .name = "arr_0.npy", .content = a } }, 2, in), NULL, "by position");
    expect(read_sample((Entry[]){ { .name = "x.npy", .content = a } }, 1, in), "the model's inputs are 'x', 'y'", "one missing");
    expect(read_sample((Entry[]){ { .name = "x.npy", .content = half }, { .name = "y.npy", .content = a } }, 2, in), "takes float32, the sample holds float16", "type");
    expect(read_sample((Entry[]){ { .name = "x.npy", .content = other }, { .name = "y.npy", .content = a } }, 2, in), "takes batchx2x3, the sample holds 1x3x2", "shape");
    bytes_free(a); bytes_free(half); bytes_free(batch); bytes_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy), cmocka_unit_test(test_npy_elements), cmocka_unit_test(test_zip), cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_bomb), cmocka_unit_test(test_damage), cmocka_unit_test(test_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
