/* The library in use: run MODEL.onnx reads the first input from the standard input and prints the first output, one number a line
 *     cc examples/run.c $(pkg-config --cflags --libs oneshot) -o run */
#include <oneshot.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *why)
{
    fprintf(stderr, "%s\n", why);
    return 1;
}

int main(int argc, char **argv)
{
    oneshot_model *model;
    oneshot_plan *plan;
    oneshot_tensor in, out;
    if (argc != 2) return fail("run MODEL.onnx < FLOATS");
    if (oneshot_load(argv[1], &model) || oneshot_plan_new(model, NULL, &plan) || oneshot_plan_input(plan, 0, &in)) return fail(oneshot_error());
    size_t count = 1;
    for (int i = 0; i < in.rank; i++) {
        if (in.shape[i] < 0) in.shape[i] = 1;          /* a batch of one */
        count *= (size_t)in.shape[i];
    }
    float *x = malloc(count * sizeof *x);
    if (in.type != ONESHOT_FLOAT32 || !x || fread(x, sizeof *x, count, stdin) != count) return fail("the input is not what the model takes");
    in.data = x;
    if (oneshot_run(plan, &in, 1, &out, 1)) return fail(oneshot_error());
    for (size_t i = 0; out.type == ONESHOT_FLOAT32 && i < out.bytes / sizeof(float); i++) printf("%g\n", (double)((float *)out.data)[i]);
    oneshot_plan_free(plan);
    oneshot_free(model);
    free(x);
    return 0;
}
