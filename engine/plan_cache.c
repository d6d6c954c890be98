#include "engine/packs.h"
#include "engine/plan_cache.h"
#include "engine/plan_internal.h"
#include "engine/workspace.h"
#include <string.h>

struct PlanCache {
    Arena *arena;
    Model *model;
    const Value *const *input; int n_input;
    PlanOptions options;
    Packs packs;
    Workspaces workspaces;
    Plan **plan; int n, most;      /* the one used last comes first */
};

Err plan_cache_new(Model *m, const Value *const *input, int n, int most, const PlanOptions *options, PlanCache **out)
{
    Arena *arena = arena_new();
    PlanCache *c = arena ? arena_alloc(arena, sizeof *c) : NULL;
    if (c) *c = (PlanCache){ .arena = arena, .model = m, .input = input, .n_input = n, .options = *options, .most = most > 0 ? most : PLANS_KEPT };
    if (c) c->plan = arena_array(arena, (size_t)c->most, sizeof *c->plan);
    if (c) c->packs.arena = arena_new();
    if (!c || !c->plan || !c->packs.arena) {
        arena_free(c ? c->packs.arena : NULL);
        arena_free(arena);
        return err_set(ERR_NOMEM, "out of memory");
    }
    if (!c->options.memory_limit) c->options.memory_limit = plan_memory_limit();
    *out = c;
    return OK;
}

static void drop_last(PlanCache *c) { plan_free(c->plan[--c->n]); }

void plan_cache_free(PlanCache *c)
{
    if (!c) return;
    while (c->n) drop_last(c);
    workspaces_clear(&c->workspaces);
    arena_free(c->packs.arena);
    arena_free(c->arena);
}

int plan_cache_count(const PlanCache *c) { return c->n; }

static bool fits(const PlanCache *c, const Plan *p, const Tensor *in)
{
    for (int i = 0; i < c->n_input; i++)
        if (p->in[i]->dtype != in[i].dtype || !shape_equal(&p->in[i]->shape, &in[i].shape)) return false;
    return true;
}

static size_t used(const PlanCache *c)
{
    size_t bytes = 0;
    for (int i = 0; i < c->n; i++) bytes += plan_used(c->plan[i]);
    return bytes;
}

static bool is_empty(const PlanCache *c) { return !c->n && !c->packs.first && !c->workspaces.first; }

/* Gives up the plan used longest ago, or what no plan needs that is there. */
static void make_room(PlanCache *c)
{
    if (c->n) drop_last(c);
    else packs_clear(&c->packs);
    workspaces_clear(&c->workspaces);
}

/* A plan in what the kept ones leave of the memory; they go one by one while that is too little, and then what they shared. What fails with nothing kept fails. */
static Err build(PlanCache *c, const PlanInput *shape, Plan **out)
{
    size_t limit = c->options.memory_limit;
    PlanOptions o = c->options;
    bool alone;
    Err e;
    o.packs = &c->packs;
    o.workspaces = &c->workspaces;
    do {
        size_t taken = used(c);
        o.memory_limit = taken < limit ? limit - taken : 1;
        alone = is_empty(c);
        e = plan_build(c->model, shape, c->n_input, &o, out);
        if (e == ERR_NOMEM) make_room(c);
    } while (e == ERR_NOMEM && !alone);
    return e;
}

Err plan_cache_get(PlanCache *c, const Tensor *in, Plan **out)
{
    int at = 0;
    Plan *p = NULL;
    while (at < c->n && !fits(c, c->plan[at], in)) at++;
    if (at < c->n) p = c->plan[at];
    else {
        ArenaMark mark = arena_mark(c->arena);
        PlanInput *shape = arena_array(c->arena, (size_t)c->n_input + 1, sizeof *shape);
        if (!shape) return err_set(ERR_NOMEM, "out of memory");
        for (int i = 0; i < c->n_input; i++) shape[i] = (PlanInput){ c->input[i]->name, in[i].dtype, in[i].shape };
        if (c->n == c->most) drop_last(c);
        Err e = build(c, shape, &p);
        arena_reset(c->arena, mark);
        if (e != OK) return e;
        at = c->n++;
    }
    memmove(c->plan + 1, c->plan, (size_t)at * sizeof *c->plan);
    c->plan[0] = p;
    *out = p;
    return OK;
}
