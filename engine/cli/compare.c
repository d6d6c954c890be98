/* `oneshot compare`: two models, the same inputs, how far apart the outputs are. */
#include "engine/cli/random_input.h"
#include "engine/cli/sample_loop.h"
#include "engine/plan_cache.h"
#include "recipes/difference.h"
#include <stdlib.h>
#include <string.h>

static const Option options[] = {
    { "data", 0, OPTION_FILE, FIELD(data), "DIR", NULL, "samples: .npz, .npy, or test_data_set_N/input_0.pb",
      "One sample file or a folder of them, as for `oneshot run`." },
    { "random", 0, OPTION_TEXT, FIELD(random), "SEED", NULL, "random inputs instead, marked as such",
      "Random inputs from this seed instead of samples: uniform in [0,1) for floats, 0 or 1 for integers; sizes that the file leaves open are 1. They say "
      "that two models compute the same, nothing about accuracy." },
    { "per-layer", 0, OPTION_FLAG, FIELD(per_layer), NULL, NULL, "compare inner values too; find the first that differs",
      "Compare all values that both models name alike, in the order of A, and say which is the first that differs by more than 1e-5 of its largest magnitude." },
    ROW_THREADS,
    ROW_LIMITS,
    ROW_HELP,
};

typedef struct Row { const char *name; const Buffer *a, *b; const char *why; Difference d; } Row;
typedef struct Side { Model *m; const Value **input; int n_input; PlanCache *plans; Plan *plan; } Side;
typedef struct Job { const Settings *s; Arena *arena, *scratch; Side side[2]; Row *row; int n_row; SampleLoop loop; } Job;

static const Buffer *named(const Plan *p, const char *name)
{
    for (int i = 0; i < p->n_step; i++)
        for (int k = 0; k < p->step[i]->n_out; k++)
            if (p->step[i]->out[k] && !strcmp(p->step[i]->out[k]->name, name)) return p->step[i]->out[k];
    return NULL;
}

/* The row of a value; NULL when out of memory. */
static Row *row_of(Job *j, const char *name)
{
    for (int i = 0; i < j->n_row; i++) if (!strcmp(j->row[i].name, name)) return &j->row[i];
    Row *list = arena_grow(j->arena, j->row, j->n_row, sizeof *list);
    if (!list) return NULL;
    j->row = list;
    list[j->n_row] = (Row){ .name = name };
    return &list[j->n_row++];
}

static Err compare_buffers(Job *j, const char *name, const Buffer *a, const Buffer *b)
{
    Row *r = row_of(j, name);
    if (!r) return err_set(ERR_NOMEM, "out of memory");
    Tensor x = buffer_tensor(a), y = buffer_tensor(b);
    Err e = difference_add(&r->d, &x, &y);
    if (e != OK && !r->why) r->why = arena_printf(j->arena, "%s", err_text());
    return OK;
}

static Err compare_values(Job *j)
{
    const Plan *a = j->side[0].plan, *b = j->side[1].plan;
    const Graph *g = j->side[0].m->graph;
    for (int i = 0; j->s->per_layer && i < a->n_step; i++)
        for (int k = 0; k < a->step[i]->n_out; k++) {
            const Buffer *x = a->step[i]->out[k], *y = x ? named(b, x->name) : NULL;
            bool output = false;
            for (int o = 0; x && o < a->n_out; o++) output = output || a->out[o] == x;
            if (y && !output) TRY(compare_buffers(j, x->name, x, y));
        }
    for (int i = 0; i < a->n_out; i++) TRY(compare_buffers(j, g->out[i]->name, a->out[i], b->out[i]));
    return OK;
}

/* Inputs of B in its own order, found by name or, where the names differ, by position. */
static Err inputs_for(Job *j, const Tensor *in, Tensor *out)
{
    const Side *a = &j->side[0], *b = &j->side[1];
    for (int i = 0; i < b->n_input; i++) {
        int k = 0;
        while (k < a->n_input && strcmp(a->input[k]->name, b->input[i]->name)) k++;
        out[i] = in[k < a->n_input ? k : i];
    }
    return OK;
}

static Err run_side(Side *x, const char *letter, const Tensor *in)
{
    Err e = plan_cache_get(x->plans, in, &x->plan);
    if (e == OK) e = plan_run(x->plan, in, x->n_input);
    return e == OK ? OK : err_in(e, "model %s", letter);
}

static Err compare_once(Job *j, const Tensor *in)
{
    Tensor *other = arena_array(j->scratch, (size_t)j->side[1].n_input + 1, sizeof *other);
    if (!other) return err_set(ERR_NOMEM, "out of memory");
    TRY(inputs_for(j, in, other));
    TRY(run_side(&j->side[0], "A", in));
    TRY(run_side(&j->side[1], "B", other));
    return compare_values(j);
}

static Err compare_random(Job *j)
{
    char *end;
    uint64_t state = strtoull(j->s->random, &end, 10);
    if (*end || end == j->s->random) return err_set(ERR_ARG, "--random takes a whole number, not '%s'.", j->s->random);
    const Side *a = &j->side[0];
    Tensor *in = arena_array(j->arena, (size_t)a->n_input + 1, sizeof *in);
    if (!in) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < a->n_input; i++) {
        Shape shape = a->input[i]->stated.shape;
        for (int k = 0; k < shape.rank; k++) if (dim_is_symbol(shape.dim[k])) shape.dim[k] = 1;
        TRY(random_input(j->arena, a->input[i], &shape, 2, &state, &in[i]));
    }
    return compare_once(j, in);
}

static Err compare_sample(void *user, const Tensor *in, const char *path, int number)
{
    (void)number;
    Err e = compare_once(user, in);
    return e == OK ? OK : err_in(e, "sample '%s'", path);
}

static Err compare_samples(Job *j)
{
    j->loop.input = j->side[0].input;
    j->loop.n_input = j->side[0].n_input;
    TRY(samples_find(&j->loop, j->arena));
    return samples_each(&j->loop, compare_sample, j);
}

static void add_row(Text *t, const Row *r)
{
    const Difference *d = &r->d;
    text_add(t, "%-40s ", name_shortened(t->arena, r->name, 40));
    if (r->why) { text_add(t, "not compared: %s\n", name_shown(t->arena, r->why)); return; }
    text_add(t, "%10.3g %10.3g %10.7f %9.1f", d->worst, difference_relative(d), difference_cosine(d), difference_sqnr(d));
    if (d->rows) text_add(t, " %10.3g %6lld/%lld", d->divergence / (double)d->rows, (long long)d->agree, (long long)d->rows);
    text_add(t, "\n");
}

static Err print_rows(Job *j)
{
    Text t = { .arena = j->arena };
    const char *mark = j->s->random ? " (random inputs)" : "";
    text_add(&t, "%-40s %10s %10s %10s %9s %10s %s%s\n", "value", "max-abs", "relative", "cosine", "SQNR dB", "KL", "top-1", mark);
    const Row *first = NULL;
    for (int i = 0; i < j->n_row; i++) {
        const Row *r = &j->row[i];
        add_row(&t, r);
        if (!first && (r->why || difference_relative(&r->d) > 1e-5)) first = r;
    }
    if (j->s->per_layer) text_add(&t, "%s%s%s\n", first ? "First value that differs: " : "No value differs by more than 1e-5 of its largest magnitude.",
                                  first ? name_shown(j->arena, first->name) : "", mark);
    return console_print(&t);
}

static Err same_interface(const Job *j)
{
    const Side *a = &j->side[0], *b = &j->side[1];
    if (a->n_input != b->n_input || a->m->graph->n_out != b->m->graph->n_out)
        return err_set(ERR_ARG, "the models have different numbers of inputs or outputs (%d and %d, %d and %d).",
                       a->n_input, b->n_input, a->m->graph->n_out, b->m->graph->n_out);
    return OK;
}

static Err run_job(Job *j)
{
    PlanOptions o = { .threads = j->s->threads, .memory_limit = j->s->memory_limit, .seconds_limit = j->s->time_limit, .keep = j->s->per_layer };
    for (int i = 0; i < 2; i++) {
        Side *x = &j->side[i];
        TRY(ops_bind(x->m));
        TRY(plan_check(x->m));
        TRY(plan_inputs(x->m, &x->input, &x->n_input));
        TRY(plan_cache_new(x->m, x->input, x->n_input, 0, &o, &x->plans));
    }
    TRY(same_interface(j));
    TRY(j->s->random ? compare_random(j) : compare_samples(j));
    return print_rows(j);
}

static int compare(Arena *arena, const Settings *s)
{
    Job j = { .s = s, .arena = arena, .scratch = arena_new() };
    j.loop = (SampleLoop){ .s = s, .scratch = j.scratch };
    int code = EXIT_DONE;
    Err e = j.scratch ? OK : err_set(ERR_NOMEM, "out of memory");
    if (e == OK && !s->data == !s->random) e = err_set(ERR_ARG, "compare needs samples: --data DIR (or --random SEED, which says nothing about accuracy).");
    if (e != OK) {
        code = console_error(arena, e, false);
        if (e == ERR_ARG && !s->data && !s->random) code = EXIT_SAMPLES;
    } else if (model_open(arena, s, s->argument[0], &j.side[0].m, &code) && model_open(arena, s, s->argument[1], &j.side[1].m, &code)) {
        e = run_job(&j);
        if (e != OK) code = console_error(arena, e, false);
        if (e != OK && j.loop.failed) code = EXIT_SAMPLES;
    }
    for (int i = 0; i < 2; i++) {
        plan_cache_free(j.side[i].plans);
        if (j.side[i].m) model_free(j.side[i].m);
    }
    arena_free(j.scratch);
    return code;
}

const Command command_compare = {
    .name = "compare",
    .arguments = "A B",
    .n_argument_min = 2,
    .n_argument_max = 2,
    .summary = "Runs two models on the same samples: how far apart they are.",
    .about = "Runs both models on the same inputs and prints, for each output, how far B is from A: largest absolute difference, the same relative to the "
             "largest magnitude of A, cosine, signal to noise in dB; for scores (two axes) also the Kullback-Leibler divergence of the softmax and how often the "
             "highest class agrees.\n",
    .examples = "oneshot compare m.onnx m.oneshot.onnx --data samples\n"
                "oneshot compare m.onnx m.oneshot.onnx --random 1 --per-layer\n",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .run = compare,
};
