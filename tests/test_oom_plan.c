/* Memory that runs out while a plan is built or runs: for every n, the n-th allocation fails. Each time the answer is ERR_NOMEM with a sentence, nothing
 * leaks (run under ASan or valgrind), and the model can be planned and run afterwards. */
#include "engine/element.h"
#include "engine/plan.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include <string.h>

enum { MANY = 20000, MAX_INPUTS = 4, BATCH = 8 };

static Build *image(const char *channels)
{
    Build *b = build_new();
    char dims[32] = "n,";
    build_input(b, "x", DT_F32, strcat(strcat(dims, channels), ",9,9"));
    return b;
}

static Build *conv(void)
{
    Build *b = image("4");
    build_init(b, "w", DT_F32, "8,4,3,3", NULL);
    build_init(b, "c", DT_F32, "8", NULL);
    build_init(b, "d", DT_F32, "8,1,3,3", NULL);
    build_init(b, "f", DT_F32, "648,5", NULL);
    build_node(b, "Conv", "x,w,c", "a", "pads:is=1,1,1,1");
    build_node(b, "BatchNormalization", "a,c,c,c,c", "n1", "");
    build_node(b, "Relu", "n1", "r", "");
    build_node(b, "Conv", "r,d", "e", "pads:is=1,1,1,1 group:i=8");
    build_node(b, "Add", "e,r", "s", "");
    build_node(b, "Concat", "s,r", "two", "axis:i=1");
    build_node(b, "MaxPool", "s", "p", "kernel_shape:is=2,2");
    build_node(b, "Flatten", "s", "t", "");
    build_node(b, "MatMul", "t,f", "y", "");
    build_output(b, "y", DT_F32, "n,5");
    build_output(b, "p", DT_F32, "n,8,8,8");
    build_output(b, "two", DT_F32, "n,16,9,9");
    return b;
}

static Build *upwards(void)
{
    Build *b = image("4");
    float scale[4] = { 1, 1, 2, 2 };
    build_init(b, "w", DT_F32, "4,6,2,2", NULL);
    build_init(b, "s", DT_F32, "4", scale);
    build_node(b, "Resize", "x,,s", "a", "mode:s=linear");
    build_node(b, "ConvTranspose", "a,w", "y", "strides:is=2,2");
    build_output(b, "y", DT_F32, NULL);
    return b;
}

static Build *lstm(void)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "3,n,4");
    build_init(b, "w", DT_F32, "1,20,4", NULL);
    build_init(b, "r", DT_F32, "1,20,5", NULL);
    build_node(b, "LSTM", "x,w,r", "y,h", "hidden_size:i=5");
    build_output(b, "y", DT_F32, NULL);
    build_output(b, "h", DT_F32, NULL);
    return b;
}

static Build *body(void)
{
    Build *b = build_loop_body();
    build_input(b, "s", DT_F32, "?,3");
    build_node(b, "Add", "s,x", "t", "");
    build_node(b, "Identity", "go", "on", "");
    build_output(b, "on", DT_BOOL, "");
    build_output(b, "t", DT_F32, "?,3");
    build_output(b, "s", DT_F32, "?,3");
    return b;
}

static Build *control(void)
{
    Build *b = build_new();
    int64_t turns = 3;
    build_input(b, "x", DT_F32, "n,3");
    build_input(b, "c", DT_BOOL, "");
    build_init(b, "turns", DT_I64, "", &turns);
    build_node(b, "Loop", "turns,c,x", "l,all", "");
    build_attr_graph(b, "body", body());
    build_node(b, "If", "c", "y", "");
    build_attr_graph(b, "then_branch", build_branch("Neg", "l", "u", NULL));
    build_attr_graph(b, "else_branch", build_branch("Abs", "l", "v", NULL));
    build_output(b, "y", DT_F32, NULL);
    build_output(b, "all", DT_F32, NULL);
    return b;
}

/* Shapes that are known in the run only. */
static Build *late(void)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "n,3");
    build_node(b, "NonZero", "x", "a", "");
    build_node(b, "Transpose", "a", "t", "perm:is=1,0");
    build_node(b, "GatherND", "x,t", "g", "");
    build_node(b, "Unique", "g", "u", "sorted:i=1");
    build_node(b, "Shape", "u", "k", "");
    build_node(b, "ConstantOfShape", "k", "z", "");
    build_node(b, "Where", "c,u,z", "y", "");
    build_input(b, "c", DT_BOOL, "1");
    build_output(b, "y", DT_F32, NULL);
    return b;
}

static Build *einsum(void)
{
    Build *b = build_new();
    int64_t k = 2;
    build_input(b, "x", DT_F32, "n,3,4");
    build_init(b, "k", DT_I64, "1", &k);
    build_node(b, "Einsum", "x,x", "e", "equation:s=bij,bkj->bik");
    build_node(b, "Softmax", "e", "s", "axis:i=-1");
    build_node(b, "MatMul", "s,x", "m", "");
    build_node(b, "ReduceMean", "m", "r", "axes:is=1");
    build_node(b, "TopK", "r,k", "v,i", "");
    build_node(b, "Cast", "v", "h", "to:i=10");
    build_init(b, "c", DT_F16, "3,2", NULL);
    build_node(b, "Exp", "h", "o", "");
    build_node(b, "Mul", "o,c", "y", "");
    build_output(b, "y", DT_F16, NULL);
    build_output(b, "i", DT_I64, NULL);
    return b;
}

static Build *quantized(void)
{
    Build *b = image("3");
    build_init(b, "w", DT_I8, "4,3,3,3", NULL);
    build_init(b, "scale", DT_F32, "", NULL);
    build_init(b, "zero", DT_U8, "", NULL);
    build_node(b, "DynamicQuantizeLinear", "x", "q,s,z", "");
    build_node(b, "ConvInteger", "q,w,z", "i", "");
    build_node(b, "Cast", "i", "f", "to:i=1");
    build_node(b, "QuantizeLinear", "f,scale,zero", "a", "");
    build_node(b, "DequantizeLinear", "a,scale,zero", "y", "");
    build_output(b, "y", DT_F32, NULL);
    return b;
}

static const struct { const char *name; Build *(*make)(void); } MODELS[] = {
    { "conv", conv }, { "upwards", upwards }, { "lstm", lstm }, { "control", control }, { "late", late }, { "einsum", einsum }, { "quantized", quantized },
};

static Err plan_and_run(Model *m, int threads)
{
    static float x[BATCH * 16 * 81];
    static uint8_t yes[1] = { 1 };
    const Value **input;
    int n;
    PlanInput shape[MAX_INPUTS];
    Tensor in[MAX_INPUTS];
    Plan *p;
    TRY(plan_inputs(m, &input, &n));
    for (int i = 0; i < n; i++) {
        Shape s = input[i]->stated.shape;
        for (int k = 0; k < s.rank; k++) if (dim_is_symbol(s.dim[k])) s.dim[k] = BATCH;
        shape[i] = (PlanInput){ input[i]->name, input[i]->stated.dtype, s };
        in[i] = (Tensor){ input[i]->stated.dtype, s, 0, input[i]->stated.dtype == DT_BOOL ? (void *)yes : x };
        TRY(tensor_bytes(in[i].dtype, &s, &in[i].bytes));
    }
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)(i % 7) - 2;
    TRY(plan_build(m, shape, n, &(PlanOptions){ .threads = threads }, &p));
    Err e = plan_run(p, in, n);
    plan_free(p);
    return e;
}

/* Allocations of building and running when all go well; 0: the sweep never ended. */
static int sweep(Bytes bytes, const char *name, int threads)
{
    for (int n = 1; n < MANY; n++) {
        Model *m;
        if (model_parse(bytes.at, bytes.size, &m) || ops_bind(m)) fail_msg("%s: %s", name, err_text());
        arena_fail_after(n);
        Err e = plan_and_run(m, threads);
        arena_fail_after(0);
        if (e != OK && (e != ERR_NOMEM || !strstr(err_text(), "emory"))) fail_msg("%s, allocation %d: %s", name, n, err_text());
        if (e != OK && n % 16 == 0 && plan_and_run(m, threads) != OK) fail_msg("%s, after allocation %d: %s", name, n, err_text());
        model_free(m);
        if (e == OK) return n - 1;
    }
    return 0;
}

static void test_sweep(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++)
        for (int threads = 1; threads <= 2; threads++) {
            Bytes bytes = build_finish(MODELS[i].make(), 8, 17);
            int n = sweep(bytes, MODELS[i].name, threads);
            print_message("%s, %d threads: %d allocations\n", MODELS[i].name, threads, n);
            assert_in_range(n, 10, MANY);
            bytes_free(bytes);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sweep) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
