/* `oneshot bench`: how fast a model runs here. */
#include "engine/cli/bench_report.h"
#include "kernels/kernels.h"
#include "recipes/difference.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELD(name) offsetof(Settings, name)
static const Option options[] = {
    { "model", 0, OPTION_FILE, FIELD(model), "FILE", NULL, "the ONNX model to run", "The ONNX model to run." },
    { "batch", 0, OPTION_COUNT, FIELD(batch), "N", NULL, "items in one inference; default 1",
      "How many items one inference computes: the size of the inputs' first axis where the model leaves it open. Default: 1." },
    { "threads", 0, OPTION_COUNT, FIELD(threads), "N", NULL, "default: one for each processor",
      "How many threads to use, all streams together, each pinned to a processor of its own where there are enough. Default: as many as the affinity mask and "
      "the CPU quota of the control group allow." },
    { "shape", 0, OPTION_WORDS, FIELD(shape), "NAME=SIZE", NULL, "a size that the file leaves open: seq=128, ids=1,128",
      "A number for a size that the file leaves open: SYMBOL=128, or INPUT=1,3,224,224. Repeatable. Without it 1 is assumed for the batch, 224 for an image's "
      "height and width, 128 for sequences; the table says so." },
    { "data", 0, OPTION_FILE, FIELD(data), "DIR", NULL, "samples as inputs; default: random numbers",
      "One sample file or a folder of them, as for `oneshot run`; the first 32 are used in turn and must have one shape. Default: random inputs, in [0,1) for "
      "floats; integers choose rows of the table that they are used with, and are 1 where there is none." },
    { "seconds", 0, OPTION_SECONDS, FIELD(seconds), "S", NULL, "how long to measure each; default 10", "How long to measure each contender. Default: 10." },
    { "warmup", 0, OPTION_SECONDS, FIELD(warmup), "S", NULL, "how long to run before that; default 2", "How long to run each before that. Default: 2." },
    { "streams", 0, OPTION_COUNT, FIELD(streams), "N", NULL, "inferences in flight; default 1",
      "How many inferences run at a time, each in a plan of its own and on its share of the threads. Default: 1. Latencies then are of inferences that ran "
      "beside others." },
    { "against", 0, OPTION_CHOICE, FIELD(against), "RUNTIME", "onnxruntime", "onnxruntime: time it too, in turn",
      "Times ONNX Runtime on the same model, inputs, processors and number of threads as well, in rounds that alternate, and prints the ratio of the medians "
      "with the quartiles of the rounds' ratios, and how far the outputs are apart. Needs a Python with onnxruntime." },
    { "python", 0, OPTION_FILE, FIELD(python), "PATH", NULL, NULL,
      "The Python that has onnxruntime. Default: the first python3 on the PATH that has it." },
    { "per-layer", 0, OPTION_FLAG, FIELD(per_layer), NULL, NULL, "where the time goes, step by step",
      "Lists the steps of the plan with their time, rate and share, the zeros of their weights, and the kernel that was chosen and why. Steps that matter little are "
      "summed up; the JSON has all." },
    { "profile", 0, OPTION_FILE, FIELD(profile), "FILE", NULL, "a trace of a few runs for chrome://tracing",
      "Writes when each step of five inferences ran, in Chrome's trace format, which chrome://tracing and Perfetto show." },
    { "seed", 0, OPTION_TEXT, FIELD(random), "N", NULL, NULL, "Where random inputs start. Default: 1." },
    { "json", 0, OPTION_FILE, FIELD(json), "FILE|-", NULL, "the figures as JSON; - is stdout, without the table",
      "Write the figures as JSON to FILE as well; - prints them instead of the table." },
    { "quiet", 'q', OPTION_FLAG, FIELD(quiet), NULL, NULL, "no table", "Print no table; --json FILE, warnings and errors remain." },
    { "help", 'h', OPTION_FLAG, FIELD(help), NULL, NULL, "print this", "Print one screen of help and exit." },
};

/* The race ------------------------------------------------------------------------------------------------------------------------------- */

Err contender_add(Contender *c, Series *round, double seconds)
{
    series_sort(round);
    TRY(series_add(&c->pace, series_quantile(round, 0.5)));
    for (int i = 0; i < round->n; i++) TRY(series_add(&c->latency, round->at[i]));
    c->busy += seconds;
    return OK;
}

static void forget(Contender *c)
{
    c->latency.n = c->pace.n = 0;
    c->latency.at = c->pace.at = NULL;
    c->busy = 0;
}

Err bench_race(Bench *b, Contender *const *c, int n)
{
    enum { ROUNDS = 20, LEAST_ROUNDS = 5, PAUSE_US = 20000 };      /* the pause lets the threads of the one before stop spinning */
    for (int i = 0; i < n; i++) {
        TRY(c[i]->round(b, c[i], b->warmup));
        forget(c[i]);
    }
    double start = seconds_now();
    for (int r = 0; r < LEAST_ROUNDS || seconds_now() - start < b->seconds * n; r++)
        for (int i = 0; i < n; i++) {
            if (n > 1) usleep(PAUSE_US);
            TRY(c[i]->round(b, c[i], b->seconds / ROUNDS));
        }
    for (int i = 0; i < n; i++) series_sort(&c[i]->latency);
    return OK;
}

/* The command ------------------------------------------------------------------------------------------------------------------------- */

static Err bench_settings(Arena *arena, const Settings *s, Bench *b)
{
    char *end = "";
    *b = (Bench){ .arena = arena, .settings = s, .seconds = s->seconds < 0 ? 10 : s->seconds, .warmup = s->warmup < 0 ? 2 : s->warmup };
    TRY(processor_read(arena, &b->processor));
    b->threads = s->threads ? s->threads : b->processor.available;
    b->streams = s->streams ? s->streams : 1;
    b->pinned = b->threads <= b->processor.n_cpu;
    b->seed = s->random ? strtoull(s->random, &end, 10) : 1;
    if (*end || end == s->random) return err_set(ERR_ARG, "--seed takes a whole number, not '%s'.", s->random);
    if (!kernels_best())
        return err_set(ERR_ARG, "ONESHOT_ISA names no instruction set that this machine runs; the highest here is %s.", kernels_isa(kernels_levels() - 1));
    if (b->streams > MAX_STREAMS) return err_set(ERR_ARG, "--streams %d is more than %d.", b->streams, MAX_STREAMS);
    if (b->threads % b->streams) return err_set(ERR_ARG, "%d threads cannot be shared evenly by %d streams.", b->threads, b->streams);
    return OK;
}

/* How far the outputs of the last run are from those of ONNX Runtime. */
static Err compare_outputs(Bench *b, const Executor *x, const Rival *r, double *error)
{
    const Plan *p = x->plan[0];
    Tensor *theirs = arena_array(b->arena, (size_t)p->n_out + 1, sizeof *theirs);
    if (!theirs) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < p->n_out; i++) theirs[i] = (Tensor){ p->out[i]->dtype, p->out[i]->shape, p->out[i]->bytes, NULL };
    TRY(rival_outputs(b, r, theirs, p->n_out));
    *error = 0;
    for (int i = 0; i < p->n_out; i++) {
        Difference d = { 0 };
        TRY(difference_add(&d, &theirs[i], &(Tensor){ p->out[i]->dtype, p->out[i]->shape, p->out[i]->bytes, p->out[i]->data }));
        if (difference_relative(&d) > *error) *error = difference_relative(&d);
    }
    return OK;
}

/* What takes part in one call. */
typedef struct Field { Executor own; Rival rival; Contender contender[2], *list[2]; int n; } Field;

static Err enter(Bench *b, Field *f)
{
    const char *model = b->settings->model;
    for (int i = 0; i < 2; i++) f->list[i] = &f->contender[i];
    TRY(executor_load(b, model, &f->own));
    TRY(executor_start(b, &f->own, false, f->list[f->n++]));
    f->contender[0].name = "oneshot";
    if (!b->settings->against) return OK;
    TRY(rival_start(b, model, &f->rival, f->list[f->n++]));
    return compare_outputs(b, &f->own, &f->rival, &f->contender[1].error);
}

static Err run_bench(Bench *b)
{
    Field f = { .rival.fd = -1 };
    LayerTimes times = { 0 };
    Err e = enter(b, &f);
    if (e == OK) e = bench_race(b, f.list, f.n);
    if (e == OK && b->settings->per_layer) e = steps_measure(b, &f.own, b->seconds / 2, &times);
    if (e == OK && b->settings->profile) e = profile_write(b, &f.own, b->settings->profile);
    if (e == OK) e = bench_report(b, f.list, f.n, times.n ? &times : NULL);
    rival_stop(&f.rival);
    executor_stop(&f.own);
    return e;
}

static int bench(Arena *arena, const Settings *s)
{
    Bench b;
    int code = EXIT_DONE;
    Err e = s->model ? bench_settings(arena, s, &b) : err_set(ERR_ARG, "bench needs --model FILE.");
    if (e != OK) return console_error(arena, e, false);
    if (bench_inputs(&b, s->model, &code) != OK) return code;
    e = run_bench(&b);
    return e == OK ? EXIT_DONE : console_error(arena, e, false);
}

const Command command_bench = {
    .name = "bench",
    .arguments = "--model M",
    .summary = "Measures how fast a model runs here.",
    .about = "Runs the model again and again on the same inputs and prints throughput, latency and its spread, the time to load, to plan and to run once, and memory.\n",
    .examples = "oneshot bench --model m.onnx\n"
                "oneshot bench --model m.onnx --batch 16 --threads 2 --json -\n"
                "oneshot bench --model m.onnx --against onnxruntime\n",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .run = bench,
};
