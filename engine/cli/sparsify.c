/* `oneshot --model M --sparsity S`: load, prune by magnitude, write, report. */
#include "engine/cli/background.h"
#include "engine/cli/progress.h"
#include "recipes/report.h"
#include "recipes/stamp.h"
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const Option options[] = {
    { "model", 0, OPTION_FILE, FIELD(model), "FILE", NULL, "the ONNX model to prune",
      "The ONNX model to read. A file of another framework is answered with the lines that export it." },
    { "sparsity", 0, OPTION_SHARE, FIELD(sparsity), "S", NULL, "share of the prunable weights that become 0: 0.8, 80%",
      "The share of the prunable weights that shall be zero, in [0,1) or in percent. Zeros that are there already count." },
    { "output", 'o', OPTION_FILE, FIELD(output), "FILE", NULL, "default M.oneshot.onnx, with M.oneshot.report.json",
      "Where to write the pruned model. Default: the model's name with .oneshot.onnx. The report goes beside it, to the same name with .report.json." },
    { "scope", 0, OPTION_CHOICE, FIELD(scope), "SCOPE", "uniform|global|erk|lamp", "how S spreads: uniform (default), global, erk, lamp",
      "How the zeros are spread over the layers. uniform: S in each (the default, since one global threshold is known to empty single layers). "
      "global: one threshold on the magnitude over all layers. erk: more zeros in larger layers (Erdos-Renyi-Kernel). lamp: one threshold on the "
      "layer-adaptive score w^2 / sum of the squares that are not smaller." },
    { "pattern", 0, OPTION_TEXT, FIELD(pattern), "P", NULL, "unstructured (default), N:M (2:4), RxC blocks (4x1)",
      "Which weights live or die together. unstructured: each alone. N:M: N of every M consecutive input channels at one kernel position stay, so "
      "--sparsity may be left out. RxC: blocks of R output channels by C input channels. Measured: at equal accuracy, unstructured zeros are worth as much time as "
      "blocks or more, so they are the default; choose another pattern for hardware that asks for it." },
    { "layer", 0, OPTION_WORDS, FIELD(layer), "NAME=S", NULL, "a layer's own sparsity; repeatable",
      "Another sparsity for the layers that NAME matches: a weight's or node's name, a glob such as 'layer4.*', or re: and a regular expression. Also prunes "
      "layers that stay dense by default; 0 keeps one as it is. Wins over --include and --exclude; the last that matches counts. Repeatable." },
    { "shape", 0, OPTION_WORDS, FIELD(shape), "NAME=SIZE", NULL, "a size that the file leaves open: batch=8, ids=1,128",
      "A number for a size that the file leaves open, to count multiply-adds: SYMBOL=128, or INPUT=1,3,224,224. Repeatable. Without it 1 is assumed for the "
      "batch, 224 for an image's height and width, 128 for sequences; the report says so." },
    { "dry-run", 0, OPTION_FLAG, FIELD(dry_run), NULL, NULL, "print the plan, write nothing",
      "Print what would be pruned, what would be kept and why, and what it comes to; write nothing." },
    { "json", 0, OPTION_FILE, FIELD(json), "FILE|-", NULL, "the report as JSON; - is stdout, without the table",
      "Write the report as JSON to FILE as well; - prints it instead of the table. docs/report.md describes it." },
    { "bench", 0, OPTION_FLAG, FIELD(bench), NULL, NULL, NULL,
      "After pruning, run both models and print how many times as fast the pruned one is here, as `oneshot bench --dense` does." },
    { "include", 0, OPTION_WORDS, FIELD(include), "NAME", NULL, NULL,
      "Prune these layers although they stay dense by default (first and last, depthwise, fewer than 1024 weights, shared with something that is no "
      "product). Names as for --layer. Repeatable." },
    { "exclude", 0, OPTION_WORDS, FIELD(exclude), "NAME", NULL, NULL,
      "Leave these layers as they are. Names as for --layer; stronger than --include, weaker than --layer. Repeatable." },
    { "regroup", 0, OPTION_FLAG, FIELD(regroup), NULL, NULL, NULL,
      "With blocks of several output channels: choose the channels that share a mask by similarity, instead of taking neighbours." },
    { "allow-empty-channels", 0, OPTION_FLAG, FIELD(allow_empty_channels), NULL, NULL, NULL,
      "Let an output channel lose all its weights. By default each keeps its largest." },
    { "force", 0, OPTION_FLAG, FIELD(force), NULL, NULL, NULL, "Let the output replace the model that is read." },
    { "threads", 0, OPTION_COUNT, FIELD(threads), "N", NULL, NULL, "How many threads to use. Default: one for each processor. The result is the same for any." },
    { "verbose", 'v', OPTION_FLAG, FIELD(verbose), NULL, NULL, NULL, "List every layer, with the weight's name, and the time that each step took." },
    { "quiet", 'q', OPTION_FLAG, FIELD(quiet), NULL, NULL, NULL, "Print no table and no progress; warnings and errors remain." },
    { "version", 'V', OPTION_FLAG, FIELD(version), NULL, NULL, NULL, "Print the version and exit." },
    { "help", 'h', OPTION_FLAG, FIELD(help), NULL, NULL, NULL, "Print one screen of help and exit." },
};

/* What one job carries from step to step. */
typedef struct Job {
    Console console;
    const Settings *settings;
    ProgressLine progress;
    Model *model;
    Survey *survey;
    PruneOptions options;
    PruneReport report;
    const char *report_path;           /* of the JSON beside the output */
    double phase_start;
    const char **file; int n_file;     /* the source, external data included */
    char sha256[65];
    FileSizes before;
    Background hash, measure;
    bool saving;                       /* from here on ERR_IO is the system's */
} Job;

static void phase_end(Job *j, const char *what)
{
    double now = seconds_now();
    j->report.timing[j->report.n_timing++] = (Timing){ what, now - j->phase_start };
    j->phase_start = now;
}

static Err hash_source(void *user)
{
    Job *j = user;
    return model_sha256_source(j->model, j->sha256);
}

static Err measure_source(void *user)
{
    Job *j = user;
    return files_measure(j->file, j->n_file, &j->before);
}

/* The path with .onnx at its end, if it is there, replaced. NULL: out of memory. */
static const char *path_with_ending(Arena *arena, const char *path, const char *ending)
{
    size_t n = strlen(path);
    if (n > 5 && strcmp(path + n - 5, ".onnx") == 0 && path[n - 6] != '/') n -= 5;
    return arena_printf(arena, "%.*s%s", (int)n, path, ending);
}

static Err layers_parse(Arena *arena, const Words *w, PruneOptions *o)
{
    LayerSparsity *layer = arena_array(arena, (size_t)w->n, sizeof *layer);
    if (!layer) return err_set(ERR_NOMEM, "not enough memory for the options");
    for (int i = 0; i < w->n; i++) {
        const char *equals = strrchr(w->at[i], '=');
        if (!equals || equals == w->at[i]) return err_set(ERR_ARG, "--layer '%s' is not NAME=SPARSITY.", w->at[i]);
        layer[i].name = arena_strndup(arena, w->at[i], (size_t)(equals - w->at[i]));
        if (!layer[i].name) return err_set(ERR_NOMEM, "not enough memory for the options");
        TRY(share_parse(equals + 1, arena_printf(arena, "the sparsity of --layer %s,", layer[i].name), &layer[i].sparsity));
    }
    o->layer = layer;
    o->n_layer = w->n;
    return OK;
}

static Err options_check(Arena *arena, const Settings *s, PruneOptions *o)
{
    if (!s->model) return err_set(ERR_ARG, "--model is missing: oneshot --model model.onnx --sparsity 0.8");
    if (s->quiet && s->verbose) return err_set(ERR_ARG, "--quiet and --verbose contradict each other.");
    if (s->bench && (s->dry_run || s->quiet || (s->json && !strcmp(s->json, "-"))))
        return err_set(ERR_ARG, "--bench prints what the written model gains; --dry-run, --quiet and --json - leave no place for that.");
    *o = (PruneOptions){ .sparsity = s->sparsity, .regroup = s->regroup, .empty_channels = s->allow_empty_channels, .include = s->include.at,
                         .exclude = s->exclude.at };
    if (s->scope) TRY(scope_parse(s->scope, &o->scope));
    if (s->pattern) TRY(pattern_parse(s->pattern, &o->pattern));
    if (s->sparsity < 0 && o->pattern.kind == PATTERN_N_OF_M) o->sparsity = 1 - (double)o->pattern.n / o->pattern.m;
    else if (s->sparsity < 0) return err_set(ERR_ARG, "--sparsity is missing: oneshot --model model.onnx --sparsity 0.8");
    return layers_parse(arena, &s->layer, o);
}

/* Finds out before the work what would fail after it. */
static Err paths_check(Job *j)
{
    const Settings *s = j->settings;
    Arena *arena = j->console.arena;
    j->report.output = s->output ? s->output : path_with_ending(arena, s->model, ".oneshot.onnx");
    j->report_path = j->report.output ? path_with_ending(arena, j->report.output, ".report.json") : NULL;
    if (!j->report_path) return err_set(ERR_NOMEM, "not enough memory for the names of files");
    if (strcmp(j->report.output, "-") == 0) return err_set(ERR_ARG, "the model cannot be written to the standard output; give a file with -o.");
    if (same_place(arena, s->json, j->report.output)) return err_set(ERR_ARG, "--json '%s' is where the model goes.", s->json);
    TRY(reports_check(arena, s, s->model, j->report.output));
    if (s->dry_run) return OK;
    if (same_file(s->model, j->report.output) && s->bench) return err_set(ERR_ARG, "--bench compares with the model that is read; write to another file with -o.");
    if (same_file(s->model, j->report.output) && !s->force)
        return err_set(ERR_ARG, "'%s' is the model that is read; --force replaces it, -o writes elsewhere.", j->report.output);
    return report_check(arena, "the report", j->report_path, s->model, NULL);
}

/* The same with the model at hand. Its external data, if it has any, will stand beside the output as well. */
static Err files_check(Job *j)
{
    const Settings *s = j->settings;
    TRY(model_files(j->model, &j->file, &j->n_file));
    if (s->dry_run) return OK;
    const SaveOptions save = { .force = s->force };
    const char *data = arena_printf(j->console.arena, "%s.data", j->report.output);
    bool saves_data;
    if (!data) return err_set(ERR_NOMEM, "not enough memory for the names of files");
    TRY(model_saves_data(j->model, &save, &saves_data));
    if (saves_data && same_place(j->console.arena, s->json, data)) return err_set(ERR_ARG, "--json '%s' is where the data of the model goes.", s->json);
    TRY(report_spares("the report", j->report_path, j->model));
    return model_save_check(j->model, j->report.output, &save);
}

static Err plan(Job *j)
{
    phase_end(j, "load");
    background_start(&j->hash, hash_source, j, j->report.threads);
    if (j->hash.running) omp_set_num_threads(j->report.threads - 1);       /* threads that wait for a core at every barrier help nobody */
    TRY(model_survey(j->model, j->settings->shape.at, &j->survey));
    phase_end(j, "survey");
    PruneResult *result;
    TRY(prune_plan(j->model, j->survey->weight, j->survey->n_weight, &j->options, &(Progress){ progress_show, &j->progress }, &result));
    j->report.survey = j->survey;
    j->report.result = result;
    phase_end(j, "plan");
    return OK;
}

static bool has_external_weights(const PruneResult *r)
{
    for (int i = 0; i < r->n_layer; i++)
        if (r->layer[i].prune && r->layer[i].weight->constant->storage == STORED_EXTERNAL) return true;
    return false;
}

static Err apply_and_save(Job *j)
{
    PruneResult *r = (PruneResult *)j->report.result;
    j->saving = true;
    if (has_external_weights(r)) TRY(model_store(j->model, j->report.output));
    TRY(prune_apply(j->model, &j->options, r, &(Progress){ progress_show, &j->progress }));
    phase_end(j, "prune");
    TRY(background_end(&j->hash));
    omp_set_num_threads(j->report.threads);
    TRY(model_stamp(j->model, &j->options, r, j->sha256));
    background_start(&j->measure, measure_source, j, j->report.threads);
    if (same_file(j->settings->model, j->report.output)) TRY(background_end(&j->measure));     /* before it is replaced */
    progress_show(&j->progress, "writing", 0, 0);
    Err e = model_save(j->model, j->report.output, &(SaveOptions){ .force = j->settings->force });
    phase_end(j, "save");
    return e;
}

static Err measure_output(Job *j)
{
    const char **file;
    int n;
    TRY(background_end(&j->measure));
    TRY(model_files_saved(j->model, j->report.output, &file, &n));
    TRY(files_measure(file, n, &j->report.after));
    phase_end(j, "measure");
    return OK;
}

/* Zeros that the options ask for, over the pruned layers. */
static double zeros_asked(const Job *j)
{
    double asked = 0;
    for (int i = 0; i < j->report.result->n_layer; i++) {
        const PruneLayer *l = &j->report.result->layer[i];
        if (l->prune) asked += (double)l->weight->elements * (l->sparsity >= 0 ? l->sparsity : j->options.sparsity);
    }
    return asked;
}

static void warn(Job *j)
{
    const double SLACK = 0.001;        /* of the weights: counts are rounded in every layer */
    const PruneResult *r = j->report.result;
    double short_of = zeros_asked(j) - (double)r->zeros_after;
    if (j->survey->complaint) console_warn(&j->console, "shapes in the model contradict each other: %s", j->survey->complaint);
    if (!r->prunable && j->options.sparsity > 0)
        console_warn(&j->console, r->n_layer ? "no layer was pruned; the notes say why, --include lifts the defaults."
                                             : "nothing was pruned: the model has no weights that multiply activations.");
    if (short_of > SLACK * (double)r->prunable + r->n_layer)
        console_warn(&j->console, "fewer zeros than asked: %s of the prunable weights; the notes say why.",
                     share_short((double)r->zeros_after / (double)r->prunable).at);
}

static Err write_reports(Job *j)
{
    const Settings *s = j->settings;
    PruneReport *r = &j->report;
    Text json = { .arena = j->console.arena }, text = { .arena = j->console.arena };
    r->before = j->before;
    r->sha256 = j->sha256;
    r->warning = j->console.warning;
    r->n_warning = j->console.n_warning;
    r->peak_bytes = peak_memory();
    report_json(&json, r);
    if (!s->dry_run) TRY(console_json(j->console.arena, j->report_path, &json));
    if (s->json && (s->dry_run || !same_place(j->console.arena, s->json, j->report_path))) TRY(console_json(j->console.arena, s->json, &json));
    if (s->quiet || (s->json && strcmp(s->json, "-") == 0)) return OK;
    report_text(&text, r, &(ReportStyle){ .width = console_width(), .all_layers = s->verbose, .timings = s->verbose });
    if (!s->dry_run) text_add(&text, "\nWritten: %s, %s\n", name_shown(text.arena, r->output), name_shown(text.arena, j->report_path));
    return console_print(&text);
}

static Err work(Job *j)
{
    TRY(plan(j));
    if (j->settings->dry_run) {
        background_start(&j->measure, measure_source, j, j->report.threads);
        TRY(background_end(&j->hash));
        TRY(background_end(&j->measure));
    } else {
        TRY(apply_and_save(j));
        TRY(measure_output(j));
    }
    progress_end(&j->progress);
    warn(j);
    TRY(write_reports(j));
    return OK;
}

/* The written model against the one that was read. */
static int compare_speed(Arena *arena, const Settings *s, const char *output)
{
    Settings bench = { .model = output, .dense = s->model, .threads = s->threads, .shape = s->shape, .seconds = 3, .warmup = 0.5 };
    Text t = { .arena = arena };
    text_add(&t, "\n");
    Err e = console_print(&t);
    return e == OK ? command_bench.run(arena, &bench) : console_error(arena, e, false);
}

static int sparsify(Arena *arena, const Settings *s)
{
    Job j = { .console = { .arena = arena, .settings = s }, .settings = s, .phase_start = seconds_now() };
    int code;
    if (s->threads) omp_set_num_threads(s->threads);
    j.report.threads = omp_get_max_threads();
    j.report.dry_run = s->dry_run;
    j.report.options = &j.options;
    Err e = options_check(arena, s, &j.options);
    if (e == OK) e = paths_check(&j);
    if (e != OK) return console_error(arena, e, false);
    j.progress = progress_start(s);
    if (!model_open(arena, s, s->model, &j.model, &code)) return code;
    j.report.model = j.model;
    e = files_check(&j);
    j.saving = e != OK;
    if (e == OK) e = work(&j);
    progress_end(&j.progress);
    code = e == OK ? EXIT_DONE : console_error(arena, e, !j.saving);
    (void)!background_end(&j.hash);
    (void)!background_end(&j.measure);
    model_free(j.model);
    return code == EXIT_DONE && s->bench ? compare_speed(arena, s, j.report.output) : code;
}

const Command command_sparsify = {
    .name = "sparsify",
    .arguments = "--model M.onnx --sparsity S",
    .summary = "Prunes an ONNX model by magnitude: the smallest weights become 0.",
    .about =
        "Reads an ONNX model, sets the weights of smallest magnitude to zero and writes an ONNX model that differs in nothing else but the metadata that "
        "says so. Then it prints what happened to each layer.\n"
        "Weights are what multiplies activations: Conv, ConvTranspose, Gemm, MatMul, Einsum with a constant, LSTM, GRU, RNN; wherever exporters put them. The "
        "first and the last of these layers, depthwise convolutions and tensors of fewer than 1024 elements stay dense, each with a note, unless "
        "--include or --layer names them.\n"
        "Magnitude alone costs accuracy, which is not measured without samples: from 40 % on most networks need samples and correction to keep theirs.\n",
    .note = "Measured: at equal accuracy unstructured zeros are worth as much time as blocks or more, so they are the default.",
    .examples =
        "oneshot --model m.onnx --sparsity 0.8\n"
        "oneshot --model m.onnx --sparsity 50% --pattern 2:4 --dry-run\n"
        "oneshot --model m.onnx --sparsity 0.7 --layer 'fc=0.9' -o small.onnx\n",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .run = sparsify,
};
