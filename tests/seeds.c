#include "tests/seeds.h"

static Bytes conv(void)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "batch,3,8,?");
    build_init(b, "w", DT_F32, "4,3,3,3", NULL);
    build_init(b, "half", DT_F16, "4", NULL);
    build_init(b, "brain", DT_BF16, "4", NULL);
    build_node(b, "Conv", "x,w", "y", "pads:is=1,1,1,1 group:i=1 auto_pad:s=NOTSET");
    build_node_name(b, "conv");
    build_node(b, "LeakyRelu", "y", "z", "alpha:f=0.25");
    build_value_info(b, "y", DT_F32, "batch,4,8,8");
    build_output(b, "z", DT_F32, NULL);
    build_property(b, "author", "nobody");
    build_property(b, "licence", "none");
    return build_finish(b, 8, 17);
}

/* One typed field with n varints, packed or one by one. */
static void typed(Build *b, const char *name, DType t, uint32_t field, int n, bool packed)
{
    char dims[16] = { (char)('0' + n), 0 };
    Pb p = tensor_head(name, t, dims), run = {0};
    for (int i = 0; i < n; i++) {
        if (!packed) pb_varint(&p, field, (uint64_t)(i - 1));
        uint8_t byte = (uint8_t)(i + 1);
        pb_raw(&run, &byte, 1);
    }
    if (packed) pb_bytes(&p, field, run.at, run.size);
    pb_free(&run);
    build_init_proto(b, &p);
}

static Bytes typed_data(void)
{
    Build *b = build_new();
    typed(b, "i64", DT_I64, 7, 3, true);
    typed(b, "i64_single", DT_I64, 7, 3, false);
    typed(b, "i8", DT_I8, 5, 3, false);
    typed(b, "u16", DT_U16, 5, 3, true);
    typed(b, "f16", DT_F16, 5, 3, true);
    typed(b, "f8", DT_F8E4M3FN, 5, 3, true);
    typed(b, "u64", DT_U64, 11, 3, true);
    Pb f = tensor_head("f32", DT_F32, "2"), s = tensor_head("f32_single", DT_F32, "2"), d = tensor_head("f64", DT_F64, "1");
    pb_bytes(&f, 4, (float[]){ 1, 2 }, 8);
    pb_float(&s, 4, 3);
    pb_float(&s, 4, 4);
    pb_bytes(&d, 10, (double[]){ 5 }, 8);
    build_init_proto(b, &f);
    build_init_proto(b, &s);
    build_init_proto(b, &d);
    Pb text = tensor_head("text", DT_STRING, "2"), four = tensor_head("i4", DT_I4, "3");
    pb_text(&text, 6, "one");
    pb_text(&text, 6, "");
    pb_varint(&four, 5, 0x21);
    pb_varint(&four, 5, 0x03);
    build_init_proto(b, &text);
    build_init_proto(b, &four);
    build_node(b, "Identity", "text", "out", "");
    build_output(b, "out", DT_STRING, "2");
    return build_finish(b, 10, 21);
}

static Bytes sparse(void)
{
    Build *b = build_new();
    Pb linear = sparse_raw("linear", DT_F32, "2,8", 3, (int64_t[]){ 1, 4, 15 }, NULL), rows = {0};
    build_sparse_init_proto(b, &linear);
    Pb values = tensor_raw("rows", DT_F64, "2", NULL), indices = tensor_raw(NULL, DT_I32, "2,2", (int32_t[]){ 0, 3, 1, 0 });
    pb_child(&rows, 1, &values);
    pb_child(&rows, 2, &indices);
    pb_varint(&rows, 3, 2);
    pb_varint(&rows, 3, 8);
    build_sparse_init_proto(b, &rows);
    float mostly_zero[256] = { [3] = 1, [200] = -2 };
    build_init(b, "dense", DT_F32, "256", mostly_zero);
    build_node(b, "Constant", "", "c", "");
    Pb attr = sparse_raw("", DT_I64, "10", 2, (int64_t[]){ 2, 9 }, NULL);
    build_attr_sparse(b, "sparse_value", &attr);
    build_node(b, "MatMul", "linear,x", "y", "");
    build_input(b, "x", DT_F32, "8,n");
    build_output(b, "y", DT_F32, "2,n");
    return build_finish(b, 8, 13);
}

static Bytes constants(void)
{
    Build *b = build_new();
    build_node(b, "Constant", "", "f", "value_float:f=1.5");
    build_node(b, "Constant", "", "fs", "value_floats:fs=1.5,2.5,3.5");
    build_node(b, "Constant", "", "i", "value_int:i=-3");
    build_node(b, "Constant", "", "is", "value_ints:is=-3,4");
    build_node(b, "Constant", "", "s", "value_string:s=text");
    build_node(b, "Constant", "", "ss", "value_strings:ss=a,b");
    build_node(b, "Constant", "", "t", "");
    Pb t = tensor_raw("inner", DT_F32, "2,2", NULL);
    build_attr_tensor(b, "value", &t);
    build_node(b, "Add", "f,fs", "y", "");
    build_output(b, "y", DT_F32, "3");
    return build_finish(b, 9, 19);
}

static Build *branch(const char *out, bool nested)
{
    Build *b = build_new();
    build_init(b, "inner_w", DT_F32, "2", NULL);
    if (nested) {
        build_node(b, "If", "cond", out, "");
        build_attr_graph(b, "then_branch", branch("deep_a", false));
        build_attr_graph(b, "else_branch", branch("deep_b", false));
    } else {
        build_node(b, "Add", "x,inner_w", out, "");
    }
    build_output(b, out, DT_F32, "2");
    return b;
}

static Bytes bodies(void)
{
    Build *b = build_new();
    build_input(b, "cond", DT_BOOL, "");
    build_input(b, "x", DT_F32, "2");
    build_node(b, "If", "cond", "y", "");
    build_attr_graph(b, "then_branch", branch("a", false));
    build_attr_graph(b, "else_branch", branch("b", true));
    build_output(b, "y", DT_F32, "2");
    return build_finish(b, 8, 16);
}

static Bytes functions(void)
{
    Build *b = build_new(), *body = build_new();
    build_node(body, "Constant", "", "two", "value_float:f=2");
    build_node(body, "Mul", "p,two", "q", "");
    build_node(body, "LeakyRelu", "q", "r", "alpha:ref=slope");
    build_function(b, &(BuildFunction){ "local", "Scaled", "p", "r", "slope", 18 }, body);
    build_opset(b, "local", 1);
    build_input(b, "x", DT_F32, "?,2");
    build_node(b, "Scaled", "x", "y", "slope:f=0.1");
    build_node_domain(b, "local");
    build_node(b, "Odd", "y,,x", "z,,u", "many:ss=a,b");
    build_node_domain(b, "com.example");
    build_output(b, "z", DT_F32, NULL);
    return build_finish(b, 8, 18);
}

/* Nodes out of order, initializers that are inputs too, unknown fields, more dimensions than the IR knows, packed dims. */
static Bytes odd(void)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1");
    build_input(b, "w", DT_F32, "1");
    build_init(b, "w", DT_F32, "1", NULL);
    build_init(b, "deep", DT_U8, "1,1,1,1,1,1,1,1,1,1,1,1,1,2", NULL);
    build_node(b, "Neg", "y", "z", "");
    build_node(b, "Add", "x,w", "y", "");
    build_output(b, "z", DT_F32, "1");
    build_value_info(b, "y", DT_F32, "1,1,1,1,1,1,1,1,1,1,1,1,1,2");
    Pb *g = build_graph_fields(b), packed = {0};
    pb_bytes(&packed, 1, (uint8_t[]){ 2, 1 }, 2);
    pb_varint(&packed, 2, DT_U8);
    pb_text(&packed, 8, "packed");
    pb_bytes(&packed, 9, "ab", 2);
    pb_child(g, 5, &packed);
    pb_text(g, 999, "unknown");
    pb_text(build_model_fields(b), 6, "a doc string");
    return build_finish(b, 3, 9);
}

/* Field 126 as a group that holds a number and group 127: an old encoding that readers must skip. */
static Bytes groups(void)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1");
    build_node(b, "Neg", "x", "y", "");
    build_output(b, "y", DT_F32, "1");
    pb_raw(build_model_fields(b), (uint8_t[]){ 0xf3, 0x07, 0x08, 0x01, 0xfb, 0x07, 0xfc, 0x07, 0xf4, 0x07 }, 10);
    return build_finish(b, 8, 17);
}

static const struct { const char *name; Bytes (*make)(void); } seeds[] = {
    { "conv", conv }, { "typed", typed_data }, { "sparse", sparse }, { "constants", constants },
    { "bodies", bodies }, { "functions", functions }, { "odd", odd }, { "groups", groups },
};

int seed_count(void)
{
    return (int)(sizeof seeds / sizeof *seeds);
}

const char *seed_name(int i)
{
    return seeds[i].name;
}

Bytes seed_model(int i)
{
    return seeds[i].make();
}
