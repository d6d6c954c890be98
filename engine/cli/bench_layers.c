#include "engine/cli/bench_layers.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* Measuring ------------------------------------------------------------------------------------------------------------------------------ */

static int64_t macs_of(Arena *arena, const Step *s)
{
    int64_t joined = s->joined ? macs_of(arena, s->joined) : 0;
    int room_in = s->n_in > s->op->max_in ? s->n_in : s->op->max_in, room_out = s->n_out > s->op->max_out ? s->n_out : s->op->max_out;
    const Fact **in = arena_array(arena, (size_t)room_in + 1, sizeof(Fact *)), **out = arena_array(arena, (size_t)room_out + 1, sizeof(Fact *));
    int64_t macs;
    if (!in || !out) return -1;
    if (!s->op->macs) return s->joined ? joined : -1;
    for (int i = 0; i < s->n_in; i++) in[i] = s->in[i] ? &s->in[i]->fact : NULL;
    for (int i = 0; i < s->n_out; i++) out[i] = s->out[i] ? &s->out[i]->fact : NULL;
    return joined >= 0 && s->op->macs(s->node, in, out, &macs) == OK ? joined + macs : -1;
}

static double zeros_of(const Step *s)
{
    AxisRole role[MAX_RANK];
    for (int i = 0; i < s->n_in && s->op->roles; i++) {
        const Buffer *b = s->in[i];
        if (!b || !b->constant || !b->data || b->dtype != DT_F32 || !b->count || !s->op->roles(s->node, i, &b->fact, role)) continue;
        const float *w = b->data;
        int64_t zeros = 0;
        for (int64_t k = 0; k < b->count; k++) zeros += w[k] == 0;
        return (double)zeros / (double)b->count;
    }
    return -1;
}

static const char *name_of(const Step *s)
{
    if (*s->node->name) return s->node->name;
    return s->n_out && s->out[0] ? s->out[0]->name : "";
}

/* Step `at` of all plans that take pieces of a stage, or of the one plan of a batch that is not split. */
typedef struct Place { Plan *const *plan; int plans, at; int64_t pieces; } Place;
typedef struct Places { Place *at; int n; } Places;

static Err places_of(Arena *arena, Plan *const *whole, Places *out)
{
    const Plan *p = *whole;
    const Stage one = { .piece = (Plan **)whole, .n_piece = 1, .pieces = 1 }, *stage = p->n_stage ? p->stage : &one;
    const int stages = p->n_stage ? p->n_stage : 1;
    out->n = 0;
    for (int k = 0; k < stages; k++) out->n += stage[k].piece[0]->n_step;
    Place *place = out->at = arena_array(arena, (size_t)out->n + 1, sizeof *place);
    if (!place) return err_set(ERR_NOMEM, "out of memory");
    for (int k = 0; k < stages; k++)
        for (int i = 0; i < stage[k].piece[0]->n_step; i++) *place++ = (Place){ stage[k].piece, stage[k].n_piece, i, stage[k].pieces };
    return OK;
}

static const Step *step_at(const Place *place) { return place->plan[0]->step[place->at]; }

/* What it took so far, while as many threads were busy with their pieces. */
static double seconds_at(const Place *place)
{
    double seconds = 0;
    for (int i = 0; i < place->plans; i++) seconds += place->plan[i]->step[place->at]->total;
    return seconds / place->plans;
}

static Err run_once(Bench *b, Executor *x, int number)
{
    return plan_run(x->plan[0], x->input + number % b->n_sample * b->n_input, b->n_input);
}

static Err time_steps(Bench *b, Executor *x, double seconds, const Places *places, Series *series, int *runs)
{
    enum { LEAST_RUNS = 5 };
    double *before = arena_array(b->arena, (size_t)places->n + 1, sizeof *before), start = seconds_now();
    if (!before) return err_set(ERR_NOMEM, "out of memory");
    TRY(run_once(b, x, 0));
    for (*runs = 0; *runs < LEAST_RUNS || seconds_now() - start < seconds; ++*runs) {
        for (int i = 0; i < places->n; i++) before[i] = seconds_at(&places->at[i]);
        TRY(run_once(b, x, *runs));
        for (int i = 0; i < places->n; i++) TRY(series_add(&series[i], seconds_at(&places->at[i]) - before[i]));
    }
    return OK;
}

Err steps_measure(Bench *b, Executor *x, double seconds, LayerTimes *out)
{
    Places places;
    TRY(places_of(b->arena, x->plan, &places));
    const int n = places.n;
    LayerTimes t = { arena_array(b->arena, (size_t)n + 1, sizeof *t.layer), n, .split = x->plan[0]->n_stage > 0 };
    Series *series = arena_array(b->arena, (size_t)n + 1, sizeof *series);
    if (!t.layer || !series) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) series[i].arena = b->arena;
    plan_watch(x->plan[0], true, NULL, NULL);
    Err e = time_steps(b, x, seconds, &places, series, &t.runs);
    plan_watch(x->plan[0], false, NULL, NULL);
    TRY(e);
    for (int i = 0; i < n; i++) {
        const Step *s = step_at(&places.at[i]);
        const int64_t macs = macs_of(b->arena, s);
        t.layer[i] = (LayerTime){ s, name_of(s), series_median(&series[i]), 0, macs < 0 ? -1 : macs * places.at[i].pieces, zeros_of(s) };
        t.together += t.layer[i].seconds;
    }
    for (int i = 0; i < n; i++) t.layer[i].share = t.layer[i].seconds / t.together;
    *out = t;
    return OK;
}

/* Showing -------------------------------------------------------------------------------------------------------------------------------- */

enum { COLUMNS = 8 };
static const Column column[COLUMNS] = {
    { "name", "layer", CELL_NAME }, { "operator", "operator", CELL_TEXT }, { "output_shape", "output", CELL_SHAPE }, { "milliseconds", "ms", CELL_NUMBER },
    { "share", "share", CELL_SHARE }, { "gflops", "GFLOP/s", CELL_NUMBER }, { "zeros", "zeros", CELL_SHARE }, { "variant", "how", CELL_NOTE },
};

static void set_row(Cell *row, const LayerTime *l)
{
    static const Shape unknown = { .rank = -1 };
    row[0].text = l->name;
    row[1].text = l->step->op->type;
    row[2].shape = l->step->n_out && l->step->out[0] ? &l->step->out[0]->shape : &unknown;
    row[3].share = l->seconds * 1e3;
    row[4].share = l->share;
    row[5].share = l->macs < 0 ? NAN : 2e-9 * (double)l->macs / l->seconds;
    row[6].share = l->zeros;
    row[7].text = l->step->variant;
}

/* Steps below `least` of the time, by operator, most time first. */
typedef struct Rest { const char *type; int steps; double share; } Rest;

static int compare_rest(const void *a, const void *b)
{
    double x = ((const Rest *)a)->share, y = ((const Rest *)b)->share;
    return (x < y) - (x > y);
}

static void add_rest(Text *t, const LayerTimes *times, double least)
{
    Rest *rest = arena_array(t->arena, (size_t)times->n + 1, sizeof *rest), all = { 0 };
    Text line = { .arena = t->arena };
    int n = 0;
    for (int i = 0; i < times->n && rest; i++) {
        const LayerTime *l = &times->layer[i];
        int k = 0;
        if (l->share >= least) continue;
        while (k < n && strcmp(rest[k].type, l->step->op->type)) k++;
        if (k == n) rest[n++].type = l->step->op->type;
        rest[k].steps++, all.steps++;
        rest[k].share += l->share, all.share += l->share;
    }
    if (!n) return;
    qsort(rest, (size_t)n, sizeof *rest, compare_rest);
    text_add(&line, "and %d steps of less than %s each, together %s:", all.steps, share_short(least).at, share_short(all.share).at);
    for (int i = 0; i < n; i++) text_add(&line, "%s %d %s (%s)", i ? "," : "", rest[i].steps, rest[i].type, share_short(rest[i].share).at);
    text_wrap(t, text_done(&line), 0, 120);
}

void steps_text(Text *t, const LayerTimes *times, int width)
{
    const double LEAST = 0.005;
    Cell *cell = arena_array(t->arena, (size_t)times->n + 1, COLUMNS * sizeof *cell);
    int rows = 0;
    if (!cell) {
        t->failed = true;
        return;
    }
    for (int i = 0; i < times->n; i++) if (times->layer[i].share >= LEAST) set_row(&cell[COLUMNS * rows++], &times->layer[i]);
    text_add(t, "\n");
    table_text(t, &(Table){ column, COLUMNS, cell, rows, NULL }, width);
    add_rest(t, times, LEAST);
    text_add(t, "Together %.4g ms: medians of %d runs in which every step was timed. GFLOP/s count multiplications by zero too.\n", times->together * 1e3, times->runs);
    if (times->split) text_add(t, "The batch is run in pieces: outputs are those of a piece, times those of the batch, all threads at work.\n");
}

void steps_json(Json *j, const LayerTimes *times)
{
    Cell *cell = arena_array(j->out->arena, (size_t)times->n + 1, COLUMNS * sizeof *cell);
    if (!cell) {
        j->out->failed = true;
        return;
    }
    for (int i = 0; i < times->n; i++) set_row(&cell[COLUMNS * i], &times->layer[i]);
    table_json(j, "layers", &(Table){ column, COLUMNS, cell, times->n, NULL });
}

/* The trace ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct Trace { Json json; double start; int run; } Trace;

static void trace_event(Trace *t, const char *name, const char *category, double begin, double seconds)
{
    json_line(&t->json, NULL);
    json_string(&t->json, "name", name);
    json_string(&t->json, "cat", category);
    json_string(&t->json, "ph", "X");
    json_number(&t->json, "ts", (begin - t->start) * 1e6);
    json_number(&t->json, "dur", seconds * 1e6);
    json_int(&t->json, "pid", 1);
    json_int(&t->json, "tid", 1 + omp_get_thread_num());
}

/* Of pieces of a batch: from several threads. */
static void trace_step(void *user, const Step *s)
{
    Trace *t = user;
    const double now = seconds_now();
    #pragma omp critical
    {
        trace_event(t, name_of(s), s->op->type, now - s->seconds, s->seconds);
        json_object(&t->json, "args");
        json_int(&t->json, "run", t->run);
        json_string(&t->json, "operator", s->op->type);
        json_string(&t->json, "variant", s->variant);
        if (s->n_out && s->out[0]) json_shape(&t->json, "output_shape", &s->out[0]->shape, NULL);
        json_end(&t->json);
        json_end(&t->json);
    }
}

static Err trace_runs(Bench *b, Executor *x, Trace *t)
{
    enum { RUNS = 5 };
    Plan *p = x->plan[0];
    Err e = run_once(b, x, 0);
    t->start = seconds_now();
    plan_watch(p, true, trace_step, t);
    for (t->run = 0; t->run < RUNS && e == OK; t->run++) {
        double begin = seconds_now();
        e = run_once(b, x, t->run);
        trace_event(t, "inference", "inference", begin, seconds_now() - begin);
        json_end(&t->json);
    }
    plan_watch(p, false, NULL, NULL);
    return e;
}

Err profile_write(Bench *b, Executor *x, const char *path)
{
    Text text = { .arena = b->arena };
    Trace t = { .json.out = &text };
    json_object(&t.json, NULL);
    json_array(&t.json, "traceEvents");
    TRY(trace_runs(b, x, &t));
    json_end(&t.json);
    json_string(&t.json, "displayTimeUnit", "ms");
    json_end(&t.json);
    TRY(text_check(&text));
    return console_json(b->arena, path, &text);
}
