/* `oneshot run`: the model's outputs for samples. */
#include "engine/list.h"
#include "engine/cli/sample_loop.h"
#include "engine/plan_cache.h"
#include "onnx/file.h"
#include "recipes/digest.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const Option options[] = {
    ROW_MODEL_TO_RUN,
    { "data", 0, OPTION_FILE, FIELD(data), "DIR", NULL, "samples: .npz, .npy, or test_data_set_N/input_0.pb",
      "One sample file or a folder of them: .npz (arrays named like the inputs, or arr_0, arr_1 ...), .npy (models with one input), or folders test_data_set_N "
      "with input_0.pb, input_1.pb ... The batch dimension may be missing." },
    { "out", 'o', OPTION_FILE, FIELD(output), "DIR", NULL, "where the outputs go, one file a sample", "The folder for the outputs; it is made if it is missing." },
    { "format", 0, OPTION_CHOICE, FIELD(format), "FORM", "npz|pb", "npz: out-0000.npz (default); pb: output_0.pb ...",
      "npz: one file out-0000.npz a sample, arrays named like the outputs (NAME/0, NAME/1 ... of a sequence, NAME/keys and "
      "NAME/values of a map). pb: one folder test_data_set_0 a sample, with output_0.pb, output_1.pb ..." },
    ROW_THREADS,
    ROW_LIMITS,
    ROW_QUIET,
    ROW_HELP,
};

typedef struct Job { Model *m; const Settings *s; PlanCache *plans; Plan *plan; Arena *scratch; SampleLoop loop; } Job;

static Err make_folder(const char *path)
{
    return mkdir(path, 0777) && errno != EEXIST ? err_set(ERR_IO, "cannot make the folder '%s': %s", path, strerror(errno)) : OK;
}

/* Finds out before the work whether outputs can be written into the folder, or the folder can be made. */
static Err check_folder(Arena *arena, const char *path)
{
    struct stat st;
    size_t n = strlen(path);
    bool exists = stat(path, &st) == 0;
    if (exists && !S_ISDIR(st.st_mode)) return err_set(ERR_IO, "--out '%s' is not a folder", path);
    while (n > 1 && path[n - 1] == '/') n--;
    const char *inside = arena_printf(arena, "%.*s%s", (int)n, path, exists ? "/out" : "");
    return inside ? out_check(arena, inside) : err_set(ERR_NOMEM, "out of memory");
}

typedef struct Arrays { Array *at; int n; } Arrays;

/* A tensor under its name; of a sequence or an optional NAME/0, NAME/1 ...; of a map NAME/keys and NAME/values. */
static Err add_value(Arena *arena, const char *name, const Buffer *b, Arrays *out)
{
    static const char *const PART[] = { "keys", "values" };
    const List *l = b->list;
    if (!l) {
        Array *list = arena_grow(arena, out->at, out->n, sizeof *list);
        if (!list) return err_set(ERR_NOMEM, "out of memory");
        list[out->n++] = (Array){ name, buffer_tensor(b) };
        out->at = list;
        return OK;
    }
    for (int64_t i = 0; i < l->n; i++) {
        const char *part = l->kind == LIST_MAP ? arena_printf(arena, "%s/%s", name, PART[i]) : arena_printf(arena, "%s/%lld", name, (long long)i);
        if (!part) return err_set(ERR_NOMEM, "out of memory");
        TRY(add_value(arena, part, l->item[i], out));
    }
    return OK;
}

static bool as_pb(const Job *j) { return j->s->format && !strcmp(j->s->format, "pb"); }

/* The file of one output, for npz of all of a sample. */
static Err output_path(const Job *j, int sample, int output, const char **path)
{
    *path = as_pb(j) ? arena_printf(j->scratch, "%s/test_data_set_%d/output_%d.pb", j->s->output, sample, output)
                     : arena_printf(j->scratch, "%s/out-%04d.npz", j->s->output, sample);
    return *path ? OK : err_set(ERR_NOMEM, "out of memory");
}

/* No output may replace a file that the model is read from. */
static Err check_outputs(const Job *j, int n_sample)
{
    const char **file, *path;
    int n_file, n_out = as_pb(j) ? j->m->graph->n_out : 1;
    TRY(model_files(j->m, &file, &n_file));
    for (int i = 0; i < n_sample; i++)
        for (int k = 0; k < n_out; k++) {
            ArenaMark mark = arena_mark(j->scratch);
            TRY(output_path(j, i, k, &path));
            TRY(file_spares("the output", path, file, n_file));
            arena_reset(j->scratch, mark);
        }
    return OK;
}

static Err write_outputs(const Job *j, int sample)
{
    const Plan *p = j->plan;
    Arrays all = { 0 };
    const char *path;
    for (int i = 0; i < p->n_out; i++) {
        if (as_pb(j) && p->out[i]->list) return err_set(ERR_UNSUPPORTED, "the output '%s' is no tensor; --format npz writes it", j->m->graph->out[i]->name);
        TRY(add_value(j->scratch, j->m->graph->out[i]->name, p->out[i], &all));
    }
    TRY(output_path(j, sample, 0, &path));
    if (!as_pb(j)) return npz_write(j->scratch, path, all.at, all.n);
    char *folder = folder_of(j->scratch, path);
    if (!folder) return err_set(ERR_NOMEM, "out of memory");
    TRY(make_folder(folder));
    for (int i = 0; i < p->n_out; i++) {
        TRY(output_path(j, sample, i, &path));
        TRY(pb_write(j->scratch, path, &all.at[i]));
    }
    return OK;
}

static Err run_sample(void *user, const Tensor *in, const char *path, int number)
{
    Job *j = user;
    Err e = plan_cache_get(j->plans, in, &j->plan);
    if (e == OK) e = plan_run(j->plan, in, j->loop.n_input);
    return e == OK ? write_outputs(j, number) : err_in(e, "sample '%s'", path);
}

static Err run_all(Job *j, Arena *arena)
{
    TRY(samples_find(&j->loop, arena));
    const int n = j->loop.samples.n;
    TRY(check_outputs(j, n));
    TRY(make_folder(j->s->output));
    TRY(samples_each(&j->loop, run_sample, j));
    Text t = { .arena = arena };
    text_add(&t, "%d sample%s, %s each, outputs in %s\n", n, n == 1 ? "" : "s", seconds_short(j->loop.seconds / n).at, name_shown(arena, j->s->output));
    return j->s->quiet ? OK : console_print(&t);
}

/* Refuses what cannot run before a sample is read. */
static Err start(Job *j)
{
    PlanOptions o = { .threads = j->s->threads, .memory_limit = j->s->memory_limit, .seconds_limit = j->s->time_limit };
    TRY(ops_bind(j->m));
    TRY(plan_check(j->m));
    TRY(plan_inputs(j->m, &j->loop.input, &j->loop.n_input));
    return plan_cache_new(j->m, j->loop.input, j->loop.n_input, 0, &o, &j->plans);
}

static int run(Arena *arena, const Settings *s)
{
    Job j = { .s = s, .scratch = arena_new() };
    j.loop = (SampleLoop){ .s = s, .scratch = j.scratch };
    int code = EXIT_DONE;
    Err e = OK;
    if (!j.scratch) return console_error(arena, err_set(ERR_NOMEM, "out of memory"), false);
    if (!s->model || !s->data || !s->output) e = err_set(ERR_ARG, "run needs --model FILE, --data DIR and --out DIR.");
    else e = check_folder(arena, s->output);
    if (e != OK) code = console_error(arena, e, false);
    else if (model_open(arena, s, s->model, &j.m, &code)) {
        e = start(&j);
        if (e == OK) e = run_all(&j, arena);
        if (e != OK) code = console_error(arena, e, false);
        if (e != OK && j.loop.failed) code = EXIT_SAMPLES;
    }
    plan_cache_free(j.plans);
    if (j.m) model_free(j.m);
    arena_free(j.scratch);
    return code;
}

const Command command_run = {
    .name = "run",
    .arguments = "",
    .summary = "Runs a model on samples and writes its outputs.",
    .about = "Runs the model exactly, in float32 or whatever types it has, and writes the outputs of every sample. A model with an operator that cannot be run "
             "is refused before anything runs, with the operator's name.\n",
    .examples = "oneshot run --model m.onnx --data samples --out outputs\n"
                "oneshot run --model m.onnx --data test_data_set_0 --out outputs --format pb\n",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .run = run,
};
