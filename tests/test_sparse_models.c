/* Real models below $ONESHOT_MODELS, pruned in memory: a plan with sparse kernels gives what a plan gives that runs every product dense, at every instruction set
 * level (a process each) and with one thread and two, within 1e-5 of the largest output.
 *
 *   ONESHOT_MACS=n      models of up to so many multiply-adds; with 1e10 all, which takes long */
#include "engine/infer.h"
#include "engine/plan.h"
#include "kernels/kernels.h"
#include "recipes/prune.h"
#include "tests/cmocka.h"
#include "tests/levels.h"
#include "tests/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double SPARSITY[] = { 0.5, 0.6, 0.7, 0.8, 0.9, 0.95 }, TOLERANCE = 1e-5, MACS = 3e8;
enum { N_SPARSITY = sizeof SPARSITY / sizeof *SPARSITY };

/* float32 images, but for one. slack: times the tolerance, where noise as an image leaves outputs of a thousandth of those that pages give. */
static const struct { const char *name; double macs; Shape shape; double slack; } MODEL[] = {
    { "resnet20_cifar10", 4.1e7, { 4, { 3, 3, 32, 32 } }, 1 },
    { "stories260k_llama", 3e7, { 2, { 2, 70 } }, 1 },
    { "resnet56_cifar10", 1.3e8, { 4, { 1, 3, 32, 32 } }, 1 },
    { "ultraface_rfb", 1.2e8, { 4, { 1, 3, 240, 320 } }, 1 },
    { "ppocr_v3_det", 1.3e8, { 4, { 1, 3, 96, 160 } }, 3 },
    { "mobilenetv2", 3e8, { 4, { 1, 3, 224, 224 } }, 1 },
    { "squeezenet_sparse", 8e8, { 4, { 1, 3, 227, 227 } }, 1 },
    { "yolox_nano", 6e8, { 4, { 1, 3, 416, 416 } }, 1 },
    { "resnet18", 1.8e9, { 4, { 1, 3, 224, 224 } }, 1 },
    { "resnet50", 4.1e9, { 4, { 1, 3, 224, 224 } }, 1 },
    { "yolov8n", 4.4e9, { 4, { 1, 3, 640, 640 } }, 1 },
    { "yolov8n-seg", 1.6e9, { 4, { 1, 3, 320, 320 } }, 1 },
};
enum { MODELS = sizeof MODEL / sizeof *MODEL, MOST_INPUT = 3 * 640 * 640 };

static void must(Err e, const char *name)
{
    if (e != OK) fail_msg("%s: %s", name, err_text());
}

static Model *load_pruned(const char *folder, int i, double sparsity)
{
    char path[4096];
    const char *complaint;
    Model *m = NULL;
    Weight *weight;
    PruneResult *r;
    int n;
    PruneOptions o = { .sparsity = sparsity };
    snprintf(path, sizeof path, "%s/%s.onnx", folder, MODEL[i].name);
    must(model_load(path, &m), path);
    must(ops_bind(m), path);
    must(infer(m, NULL, 0, &complaint), path);
    must(weights_find(m, &weight, &n), path);
    must(prune_plan(m, weight, n, &o, NULL, &r), path);
    must(prune_apply(m, &o, r, NULL), path);
    return m;
}

static Plan *run(Model *m, int i, const PlanOptions *o)
{
    static float image[MOST_INPUT];
    static int64_t tokens[256];
    bool is_image = MODEL[i].shape.rank == 4;
    Random r = { 7 };
    Plan *p = NULL;
    int64_t n = 0;
    must(shape_count(&MODEL[i].shape, &n), MODEL[i].name);
    for (int64_t k = 0; k < n; k++) {
        if (is_image) image[k] = random_float(&r);
        else tokens[k] = random_between(&r, 0, 500);
    }
    Tensor x = { .dtype = is_image ? DT_F32 : DT_I64, .shape = MODEL[i].shape, .data = is_image ? (void *)image : tokens };
    x.bytes = (size_t)n * (is_image ? sizeof *image : sizeof *tokens);
    const Value **input;
    int inputs;
    must(plan_inputs(m, &input, &inputs), MODEL[i].name);
    assert_int_equal(inputs, 1);
    must(plan_build(m, &(PlanInput){ input[0]->name, x.dtype, x.shape }, 1, o, &p), MODEL[i].name);
    must(plan_run(p, &x, 1), MODEL[i].name);
    return p;
}

/* NaN counts. */
static void compare(const Plan *dense, const Plan *sparse, double tolerance, const char *what)
{
    assert_int_equal(dense->n_out, sparse->n_out);
    for (int i = 0; i < dense->n_out; i++) {
        const float *want = dense->out[i]->data, *got = sparse->out[i]->data;
        double largest = 0, worst = 0;
        assert_true(shape_equal(&dense->out[i]->shape, &sparse->out[i]->shape));
        if (dense->out[i]->dtype != DT_F32) continue;
        for (int64_t k = 0; k < dense->out[i]->count; k++) {
            double d = fabs((double)want[k] - (double)got[k]);
            largest = fmax(largest, fabs((double)want[k]));
            worst = d <= worst ? worst : d;
        }
        if (!(worst <= tolerance * largest)) fail_msg("%s, output %d is %g of %g off", what, i, worst, largest);
    }
}

static int sparse_steps(const Plan *p)
{
    static const char *const SPARSE[] = { "sparse", "tokens-sparse", "tokens-gather", "tokens-bitmap" };
    int n = 0;
    for (int i = 0; i < p->n_step; i++)
        for (size_t k = 0; k < sizeof SPARSE / sizeof *SPARSE; k++) n += p->step[i]->variant && !strncmp(p->step[i]->variant, SPARSE[k], strlen(SPARSE[k]));
    return n;
}

/* All sparsities of a model at the level of this process. */
static void check_model(const char *folder, int i)
{
    int sparse = 0;
    for (int s = 0; s < N_SPARSITY; s++) {
        Model *m = load_pruned(folder, i, SPARSITY[s]);
        Plan *dense = run(m, i, &(PlanOptions){ .threads = 2, .dense = true });
        for (int threads = 1; threads <= 2; threads++) {
            char what[256];
            Plan *p = run(m, i, &(PlanOptions){ .threads = threads });
            snprintf(what, sizeof what, "%s, %g %% zeros, %s, %d threads", MODEL[i].name, 100 * SPARSITY[s], kernels_best()->isa, threads);
            compare(dense, p, MODEL[i].slack * TOLERANCE, what);
            sparse += sparse_steps(p);
            for (int k = 0; k < p->n_stage; k++) sparse += sparse_steps(p->stage[k].piece[0]);
            plan_free(p);
        }
        plan_free(dense);
        model_free(m);
    }
    if (!sparse) fail_msg("%s: nothing ran sparse", MODEL[i].name);
}

static int model;                          /* of this process */

static void test_level(void **state)
{
    (void)state;
    check_model(getenv("ONESHOT_MODELS"), model);
}

static void test_levels(void **state)
{
    const char *folder = getenv("ONESHOT_MODELS");
    double most = getenv("ONESHOT_MACS") ? strtod(getenv("ONESHOT_MACS"), NULL) : MACS;
    int there = 0;
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        char path[4096], number[16];
        snprintf(path, sizeof path, "%s/%s.onnx", folder ? folder : "", MODEL[i].name);
        snprintf(number, sizeof number, "%d", i);
        if (!folder || access(path, R_OK) || MODEL[i].macs > most) continue;
        there++;
        for (int level = 0; level < kernels_levels(); level++) run_level(level, number);
    }
    if (there) return;
    print_message("skipped: no real models in ONESHOT_MODELS\n");
    skip();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest all[] = { cmocka_unit_test(test_levels) }, one[] = { cmocka_unit_test(test_level) };
    if (argc > 1) model = atoi(argv[1]);
    return argc > 1 ? cmocka_run_group_tests(one, NULL, NULL) : cmocka_run_group_tests(all, NULL, NULL);
}
