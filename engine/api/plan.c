/* The part of the public interface that runs models, over the plans and their cache. */
#include <string.h>
#include "engine/api/model.h"

struct oneshot_plan {
    oneshot_model *model;
    PlanCache *cache;
    Tensor *in;                        /* of the run that goes on */
    Arena *arena;
};

_Static_assert((int)ONESHOT_MAX_RANK == (int)MAX_RANK, "shapes fit");

oneshot_plan_options oneshot_plan_defaults(void)
{
    return (oneshot_plan_options){ 0 };
}

static Err plan_new(oneshot_model *m, const oneshot_plan_options *o, oneshot_plan *p)
{
    PlanOptions options = { .threads = o->threads, .memory_limit = o->memory_limit, .seconds_limit = o->seconds_limit };
    p->in = arena_array(p->arena, (size_t)m->n_input + 1, sizeof *p->in);
    if (!p->in) return err_set(ERR_NOMEM, "not enough memory for a plan");
    TRY(plan_check(m->model));
    return plan_cache_new(m->model, m->input, m->n_input, o->shapes_kept, &options, &p->cache);
}

oneshot_status oneshot_plan_new(oneshot_model *model, const oneshot_plan_options *options, oneshot_plan **plan)
{
    if (!model || !plan) return api_status(api_null(model ? "plan" : "model"));
    const oneshot_plan_options defaults = oneshot_plan_defaults(), *o = options ? options : &defaults;
    if (o->threads < 0 || o->shapes_kept < 0 || o->shapes_kept > 1 << 20 || !(o->seconds_limit >= 0))
        return api_status(err_set(ERR_ARG, "an option of the plan is out of range"));
    Arena *arena = arena_new();
    oneshot_plan *p = arena ? arena_alloc(arena, sizeof *p) : NULL;
    Err e = p ? OK : err_set(ERR_NOMEM, "not enough memory for a plan");
    if (p) *p = (oneshot_plan){ .model = model, .arena = arena };
    if (p) e = plan_new(model, o, p);
    if (e != OK) {
        arena_free(arena);
        return api_status(e);
    }
    atomic_fetch_add(&model->plans, 1);
    *plan = p;
    return ONESHOT_OK;
}

void oneshot_plan_free(oneshot_plan *plan)
{
    if (!plan) return;
    atomic_fetch_sub(&plan->model->plans, 1);
    plan_cache_free(plan->cache);
    arena_free(plan->arena);
}

int oneshot_plan_inputs(const oneshot_plan *plan)
{
    return plan ? plan->model->n_input : 0;
}

int oneshot_plan_outputs(const oneshot_plan *plan)
{
    return plan ? plan->model->model->graph->n_out : 0;
}

static oneshot_tensor described(const Value *v)
{
    const Fact *f = &v->stated;
    oneshot_tensor t = { .name = v->name, .type = f->is_tensor ? (int)f->dtype : 0, .rank = f->is_tensor ? f->shape.rank : -1 };
    for (int i = 0; i < t.rank; i++) t.shape[i] = dim_is_symbol(f->shape.dim[i]) ? -1 : f->shape.dim[i];
    return t;
}

static oneshot_status describe(const Value *const *v, int n, int index, oneshot_tensor *tensor)
{
    if (!tensor) return api_status(api_null("tensor"));
    if (index < 0 || index >= n) return api_status(err_set(ERR_ARG, "number %d does not exist; the model has %d", index, n));
    *tensor = described(v[index]);
    return ONESHOT_OK;
}

oneshot_status oneshot_plan_input(const oneshot_plan *plan, int index, oneshot_tensor *tensor)
{
    if (!plan) return api_status(api_null("plan"));
    return describe(plan->model->input, plan->model->n_input, index, tensor);
}

oneshot_status oneshot_plan_output(const oneshot_plan *plan, int index, oneshot_tensor *tensor)
{
    if (!plan) return api_status(api_null("plan"));
    const Graph *g = plan->model->model->graph;
    return describe((const Value *const *)g->out, g->n_out, index, tensor);
}

static Err take_tensor(const oneshot_tensor *given, const char *name, Tensor *out)
{
    if (given->rank < 0 || given->rank > MAX_RANK) return err_set(ERR_ARG, "the input '%s' has rank %d", name, given->rank);
    Tensor t = { .dtype = (DType)given->type, .shape = { .rank = given->rank }, .data = given->data };
    for (int i = 0; i < given->rank; i++) {
        t.shape.dim[i] = given->shape[i];
        if (given->shape[i] < 0) return err_set(ERR_ARG, "the input '%s' has the size %lld", name, (long long)given->shape[i]);
    }
    TRY(tensor_bytes(t.dtype, &t.shape, &t.bytes));
    if (t.bytes && !t.data) return err_set(ERR_ARG, "the input '%s' has no data", name);
    *out = t;
    return OK;
}

/* Inputs by name, or all in order. */
static Err take_inputs(oneshot_plan *p, const oneshot_tensor *input, int n)
{
    const oneshot_model *m = p->model;
    if (n != m->n_input) return err_set(ERR_ARG, "the model takes %d inputs, %d were given", m->n_input, n);
    for (int i = 0; i < n; i++) {
        int k = i;
        if (input[i].name) for (k = 0; k < n && strcmp(m->input[k]->name, input[i].name); k++) {}
        if (k == n) return err_set(ERR_ARG, "the model has no input '%s' that takes data", input[i].name);
        for (int j = 0; j < i; j++)
            if (input[i].name && input[j].name && !strcmp(input[i].name, input[j].name))
                return err_set(ERR_ARG, "the input '%s' is given twice", input[i].name);
        TRY(take_tensor(&input[i], m->input[k]->name, &p->in[k]));
    }
    return OK;
}

static Err run(oneshot_plan *p, const oneshot_tensor *input, int n_input, oneshot_tensor *output, int n_output)
{
    const Graph *g = p->model->model->graph;
    Plan *plan;
    if (n_output < 0 || n_output > g->n_out) return err_set(ERR_ARG, "the model has %d outputs, %d were asked for", g->n_out, n_output);
    TRY(take_inputs(p, input, n_input));
    TRY(plan_cache_get(p->cache, p->in, &plan));
    TRY(plan_run(plan, p->in, n_input));
    for (int i = 0; i < n_output; i++) {
        const Buffer *b = plan->out[i];
        if (b->list || b->dtype == DT_STRING) return err_set(ERR_UNSUPPORTED, "the output '%s' is no tensor of numbers", g->out[i]->name);
        output[i] = (oneshot_tensor){ .name = g->out[i]->name, .type = (int)b->dtype, .rank = b->shape.rank, .data = b->data, .bytes = b->bytes };
        memcpy(output[i].shape, b->shape.dim, sizeof output[i].shape);
    }
    return OK;
}

oneshot_status oneshot_run(oneshot_plan *plan, const oneshot_tensor *input, int n_input, oneshot_tensor *output, int n_output)
{
    if (!plan || (!input && n_input) || (!output && n_output)) return api_status(api_null(!plan ? "plan" : !input && n_input ? "input" : "output"));
    return api_status(run(plan, input, n_input, output, n_output));
}
