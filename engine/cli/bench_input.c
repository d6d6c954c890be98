/* Sizes and inputs of a benchmark. */
#include "engine/cli/bench.h"
#include "engine/cli/random_input.h"
#include "recipes/samples.h"
#include "recipes/survey.h"
#include <string.h>

enum { WALK = 8 };                 /* nodes between an input and the table that it chooses from */

/* How many rows the table has that this value chooses from: v, perhaps reshaped or converted, is what a Gather looks up. 0: none was found. */
static int64_t rows_chosen(const Value *v, int depth)
{
    int64_t rows = 0;
    for (int i = 0; i < v->n_user && !rows; i++) {
        const Node *n = v->user[i];
        if (!strcmp(n->op_type, "Gather") && n->n_in > 1 && n->in[1] == v && n->in[0]) {
            const Shape *s = &n->in[0]->fact.shape;
            int64_t axis = attr_i(n, "axis", 0);
            if (axis < 0) axis += s->rank;
            if (axis >= 0 && axis < s->rank && !dim_is_symbol(s->dim[axis])) rows = s->dim[axis];
        } else if (depth && n->n_out == 1 && n->out[0] && n->in[0] == v && n->op && n->op->passes_weight) {
            rows = rows_chosen(n->out[0], depth - 1);
        }
    }
    return rows;
}

/* --batch as a choice for the survey: the name of the size that the first input leaves open at its start. */
static Err batch_choice(Bench *b, const Model *m, const char *const **choice)
{
    const Settings *s = b->settings;
    const char **list = arena_array(b->arena, (size_t)s->shape.n + 2, sizeof *list);
    const Value *v = NULL;
    if (!list) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < s->shape.n; i++) list[i] = s->shape.at[i];
    *choice = list;
    if (!s->batch) return OK;
    for (int i = 0; i < m->graph->n_in && !v; i++)
        if (!m->graph->in[i]->constant && m->graph->in[i]->stated.shape.rank > 0) v = m->graph->in[i];
    if (!v) return err_set(ERR_ARG, "--batch %d cannot be used: no input has an axis.", s->batch);
    int64_t d = v->stated.shape.dim[0];
    if (dim_is_symbol(d)) list[s->shape.n] = arena_printf(b->arena, "%s=%d", m->symbol[d - SYMBOL_BASE], s->batch);
    else if (d != s->batch) return err_set(ERR_ARG, "--batch %d cannot be used: the model fixes the batch at %lld.", s->batch, (long long)d);
    return !dim_is_symbol(d) || list[s->shape.n] ? OK : err_set(ERR_NOMEM, "out of memory");
}

static Err draw_inputs(Bench *b, const Value *const *input)
{
    uint64_t state = b->seed;
    b->n_sample = 1;
    b->input = arena_array(b->arena, (size_t)b->n_input + 1, sizeof *b->input);
    if (!b->input) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < b->n_input; i++)
        TRY(random_input(b->arena, input[i], &input[i]->fact.shape, rows_chosen(input[i], WALK), &state, &b->input[i]));
    return OK;
}

/* Samples of other shapes than the first are errors: the figures would mix them. */
static Err read_inputs(Bench *b, const Value *const *input)
{
    enum { MOST = 32 };
    Samples samples;
    TRY(samples_list(b->arena, b->settings->data, &samples));
    b->n_sample = samples.n < MOST ? samples.n : MOST;
    b->input = arena_array(b->arena, (size_t)b->n_input * (size_t)b->n_sample + 1, sizeof *b->input);
    if (!b->input) return err_set(ERR_NOMEM, "out of memory");
    for (int k = 0; k < b->n_sample; k++) {
        Tensor *in = b->input + k * b->n_input;
        TRY(sample_read(b->arena, samples.path[k], input, b->n_input, in));
        for (int i = 0; i < b->n_input; i++)
            if (!shape_equal(&in[i].shape, &b->input[i].shape))
                return err_set(ERR_ARG, "the samples have different shapes ('%s' of '%s'); a benchmark needs one shape.", b->name[i], samples.path[k]);
    }
    return OK;
}

static Err note_sizes(Bench *b, const Survey *v)
{
    Text t = { .arena = b->arena };
    for (int i = 0; i < v->n_size; i++)
        text_add(&t, "%s%s = %lld%s", i ? ", " : "", name_shown(b->arena, v->size[i].name), (long long)v->size[i].size, v->size[i].given ? "" : " (assumed)");
    if (v->n_size) b->sizes = text_done(&t);
    return text_check(&t);
}

static Err prepare(Bench *b, Model *m)
{
    const Value **input;
    Survey *survey;
    TRY(batch_choice(b, m, &b->choice));
    TRY(model_survey(m, b->choice, &survey));
    TRY(plan_inputs(m, &input, &b->n_input));
    b->name = arena_array(b->arena, (size_t)b->n_input + 1, sizeof *b->name);
    if (!b->name) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < b->n_input; i++) {
        b->name[i] = arena_printf(b->arena, "%s", input[i]->name);
        if (!b->name[i]) return err_set(ERR_NOMEM, "out of memory");
    }
    if (b->settings->data) TRY(read_inputs(b, input));
    else {
        TRY(draw_inputs(b, input));
        TRY(note_sizes(b, survey));
    }
    b->batch = 1;
    for (int i = b->n_input - 1; i >= 0; i--) if (b->input[i].shape.rank > 0) b->batch = b->input[i].shape.dim[0];
    return OK;
}

Err bench_inputs(Bench *b, const char *path, int *code)
{
    Model *m;
    if (!model_open(b->arena, b->settings, path, &m, code)) return ERR_FORMAT;
    Err e = prepare(b, m);
    if (e != OK) *code = console_error(b->arena, e, false);
    model_free(m);
    return e;
}
