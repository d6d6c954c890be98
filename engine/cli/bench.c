/* `oneshot bench`: how fast a model runs here. */
#include "engine/cli/bench_report.h"
#include "kernels/kernels.h"
#include <stdlib.h>

static const Option options[] = {
    ROW_MODEL_TO_RUN,
    { "batch", 0, OPTION_COUNT, FIELD(batch), "N", NULL, "items in one inference; default 1",
      "How many items one inference computes: the size of the inputs' first axis where the model leaves it open. Default: 1." },
    { "threads", 0, OPTION_COUNT, FIELD(threads), "N", NULL, "default: one for each processor",
      "How many threads to use, all streams together, each pinned to a processor of its own where there are enough. Default: as many as the affinity mask and "
      "the CPU quota of the control group allow." },
    { "shape", 0, OPTION_WORDS, FIELD(shape), "NAME=SIZE", NULL, "a size that the file leaves open: seq=128, ids=1,128",
      "A number for a size that the file leaves open: SYMBOL=128, or INPUT=1,3,224,224. Repeatable. Without it 1 is assumed for the batch, 224 for an image's "
      "height and width, 128 for sequences; the table says so." },
    { "data", 0, OPTION_FILE, FIELD(data), "DIR", NULL, NULL,
      "One sample file or a folder of them, as for `oneshot run`; the first 32 are used in turn and must have one shape. Default: random inputs, in [0,1) for "
      "floats; integers choose rows of the table that they are used with, and are 1 where there is none." },
    { "seconds", 0, OPTION_SECONDS, FIELD(seconds), "S", NULL, "how long to measure each; default 10", "How long to measure each contender. Default: 10." },
    { "warmup", 0, OPTION_SECONDS, FIELD(warmup), "S", NULL, NULL, "How long to run each before that. Default: 2." },
    { "streams", 0, OPTION_COUNT, FIELD(streams), "N", NULL, "inferences in flight; default 1",
      "How many inferences run at a time, each in a plan of its own and on its share of the threads. Default: 1. Latencies then are of inferences that ran "
      "beside others." },
    { "against", 0, OPTION_CHOICE, FIELD(against), "RUNTIME", "onnxruntime|deepsparse", "onnxruntime or deepsparse: time it too",
      "Times another runtime on the same model, inputs, processors and number of threads as well, in rounds that alternate, and prints the ratio of the medians "
      "with the quartiles of the rounds' ratios, and how far the outputs are apart. Needs a Python that has it. DeepSparse (1.8, for Python 3.8 to 3.11) is slow in the "
      "first runs after a pause: give it rounds of a second with --seconds 20." },
    { "python", 0, OPTION_FILE, FIELD(python), "PATH", NULL, NULL,
      "The Python that has the runtime of --against. Default: the first python3 on the PATH that has it." },
    { "dense", 0, OPTION_FILE, FIELD(dense), "FILE", NULL, "a dense model to compare the sparse one with",
      "Runs this model with dense kernels in turn, and prints how many times as fast the other is: the model before it was pruned." },
    { "dense-of-itself", 0, OPTION_FLAG, FIELD(dense_of_itself), NULL, NULL, NULL,
      "Compares with the same model run with dense kernels, and says how far the outputs are apart." },
    { "sparsity-sweep", 0, OPTION_TEXT, FIELD(sweep), "LIST", NULL, "what zeros would gain: 0,.5,.7,.9",
      "Prunes the model by magnitude to each of these sparsities, in memory only and with the defaults of pruning, and prints the speedup of each over the dense "
      "model: what this processor gains from zeros, before any work on accuracy. The dashed line of the chart is 1/(1-S)." },
    { "pattern", 0, OPTION_TEXT, FIELD(pattern), "P", NULL, NULL, "Of the zeros of a sweep: unstructured (default), N:M (2:4), RxC blocks (4x1)." },
    { "svg", 0, OPTION_FILE, FIELD(svg), "FILE", NULL, NULL, "Draws the speedup of a sweep against its sparsity." },
    { "per-layer", 0, OPTION_FLAG, FIELD(per_layer), NULL, NULL, "where the time goes, step by step",
      "Lists the steps of the plan with their time, rate and share, the zeros of their weights, and the kernel that was chosen and why. Steps that matter little are "
      "summed up; the JSON has all." },
    { "profile", 0, OPTION_FILE, FIELD(profile), "FILE", NULL, NULL,
      "Writes when each step of five inferences ran, in Chrome's trace format, which chrome://tracing and Perfetto show." },
    { "seed", 0, OPTION_TEXT, FIELD(random), "N", NULL, NULL, "Where random inputs start. Default: 1." },
    { "json", 0, OPTION_FILE, FIELD(json), "FILE|-", NULL, "the figures as JSON; - is stdout, without the table",
      "Write the figures as JSON to FILE as well; - prints them instead of the table." },
    { "quiet", 'q', OPTION_FLAG, FIELD(quiet), NULL, NULL, NULL, "Print no table; --json FILE, warnings and errors remain." },
    ROW_HELP,
};

/* The command ------------------------------------------------------------------------------------------------------------------------- */

static Err options_check(const Settings *s)
{
    if (!s->model) return err_set(ERR_ARG, "bench needs --model FILE.");
    if (s->dense && s->dense_of_itself) return err_set(ERR_ARG, "--dense and --dense-of-itself contradict each other.");
    if (s->sweep && (s->dense || s->dense_of_itself)) return err_set(ERR_ARG, "--sparsity-sweep compares with the dense model already; --dense has no place beside it.");
    if (s->sweep && (s->per_layer || s->profile)) return err_set(ERR_ARG, "--per-layer and --profile look at one model, not at a sweep.");
    if (!s->sweep && s->svg) return err_set(ERR_ARG, "--svg draws a sweep: add --sparsity-sweep 0,.5,.6,.7,.8,.9,.95");
    if (!s->sweep && s->pattern) return err_set(ERR_ARG, "--pattern belongs to --sparsity-sweep.");
    return OK;
}

static Err bench_settings(Arena *arena, const Settings *s, Bench *b)
{
    char *end = "";
    *b = (Bench){ .arena = arena, .settings = s, .seconds = s->seconds < 0 ? 10 : s->seconds, .warmup = s->warmup < 0 ? 2 : s->warmup };
    TRY(options_check(s));
    TRY(reports_check(arena, s, s->model, s->dense));
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

/* What takes part in one call. */
typedef struct Field { Executor own, dense; Rival rival; Contender contender[3], *list[3]; int n; } Field;

/* The outputs of the plan's last run. */
static Err outputs_of(const Bench *b, const Plan *p, Tensor **out)
{
    *out = arena_array(b->arena, (size_t)p->n_out + 1, sizeof **out);
    if (!*out) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < p->n_out; i++) (*out)[i] = buffer_tensor(p->out[i]);
    return OK;
}

static Err enter_dense(Bench *b, Field *f)
{
    const Settings *s = b->settings;
    Contender *c = f->list[f->n++];
    TRY(executor_load(b, s->dense ? s->dense : s->model, &f->dense));
    TRY(reports_spare(s, f->dense.model));
    TRY(executor_start(b, &f->dense, true, c));
    c->name = "dense";
    if (s->dense) return OK;                       /* other weights, other outputs */
    Tensor *out;
    TRY(outputs_of(b, f->dense.plan[0], &out));
    return outputs_compare(f->own.plan[0], out, &c->error);
}

static Err enter_rival(Bench *b, Field *f)
{
    const Plan *own = f->own.plan[0];
    Contender *c = f->list[f->n++];
    Tensor *out;
    TRY(outputs_of(b, own, &out));
    TRY(rival_start(b, b->settings->model, &f->rival, c));
    TRY(rival_outputs(b, &f->rival, out, own->n_out));
    return outputs_compare(own, out, &c->error);
}

static Err enter(Bench *b, Field *f)
{
    const Settings *s = b->settings;
    bool against_dense = s->dense || s->dense_of_itself;
    for (int i = 0; i < 3; i++) f->list[i] = &f->contender[i];
    TRY(executor_load(b, s->model, &f->own));
    TRY(executor_start(b, &f->own, false, f->list[f->n++]));
    f->contender[0].name = against_dense ? "sparse" : "oneshot";
    if (against_dense) TRY(enter_dense(b, f));
    return s->against ? enter_rival(b, f) : OK;
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
    executor_stop(&f.dense);
    executor_stop(&f.own);
    return e;
}

static int bench(Arena *arena, const Settings *s)
{
    Bench b;
    int code = EXIT_DONE;
    Err e = bench_settings(arena, s, &b);
    if (e != OK) return console_error(arena, e, false);
    if (bench_inputs(&b, s->model, &code) != OK) return code;
    e = s->sweep ? bench_sweep(&b) : run_bench(&b);
    return e == OK ? EXIT_DONE : console_error(arena, e, false);
}

const Command command_bench = {
    .name = "bench",
    .arguments = "--model M",
    .summary = "Measures how fast a model runs here.",
    .about = "Runs the model again and again on the same inputs and prints throughput, latency and its spread, the time to load, to plan and to run once, and memory.\n",
    .examples = "oneshot bench --model m.onnx\n"
                "oneshot bench --model m.onnx --batch 16 --threads 2 --json -\n"
                "oneshot bench --model m.oneshot.onnx --dense m.onnx --against onnxruntime\n"
                "oneshot bench --model m.onnx --sparsity-sweep 0,.5,.7,.9 --svg gain.svg\n",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .run = bench,
};
