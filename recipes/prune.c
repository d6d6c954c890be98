/* Planning and pruning layer by layer. Memory: the weight being pruned, or several small ones together. */
#include "recipes/prune.h"
#include "recipes/allocate.h"
#include "recipes/options.h"
#include <omp.h>
#include <stdlib.h>

/* Layers are pruned several at a time, one thread each, so that threads meet once for many of them; those that would keep one thread busy while the others
 * wait are pruned by all threads together. */
enum { TOGETHER = 64, TOGETHER_ELEMENTS = 1 << 24, TOGETHER_MIN = 1 << 18 };

static Err find_kernels(const Kernels **k)
{
    *k = kernels_best();
    if (*k)
        return OK;
    return err_set(ERR_ARG, "ONESHOT_ISA=%s names no instruction set that this machine runs: the highest here is %s", getenv("ONESHOT_ISA"),
                   kernels_isa(kernels_levels() - 1));
}

static void sum_up(PruneResult *r)
{
    r->prunable = r->zeros_before = r->zeros_after = 0;
    for (int i = 0; i < r->n_layer; i++) {
        const PruneLayer *l = &r->layer[i];
        r->prunable += l->prune ? l->weight->elements : 0;
        r->zeros_before += l->prune ? l->zeros_before : 0;
        r->zeros_after += l->prune ? l->zeros_after : 0;
    }
}

Err prune_plan(Model *m, Weight *weight, int n, const PruneOptions *o, const Progress *progress, PruneResult **out)
{
    const Kernels *kernels;
    TRY(find_kernels(&kernels));
    TRY(options_check(o, weight, n));
    PruneResult *r = arena_alloc(m->arena, sizeof *r);
    PruneLayer *layer = arena_array(m->arena, (size_t)n, sizeof *layer);
    if (!r || !layer)
        return err_set(ERR_NOMEM, "out of memory for the plan of %d layers", n);
    *r = (PruneResult) { .layer = layer, .n_layer = n };
    for (int i = 0; i < n; i++) {
        layer[i].weight = &weight[i];
        layer[i].zeros_before = layer[i].zeros_wanted = weight[i].zeros;
        TRY(options_choose(o, &layer[i]));
    }
    TRY(allocate(&(Allocation) { m, o, kernels, r, progress }));
    for (int i = 0; i < n; i++)
        layer[i].zeros_after = layer[i].zeros_wanted;
    sum_up(r);
    *out = r;
    return OK;
}

static bool to_do(const PruneLayer *l) { return l->prune && l->zeros_wanted > l->zeros_before; }

static int64_t elements_of(const PruneResult *r, int i) { return r->layer[i].weight->elements; }

/* Layers of so many elements have all threads for themselves: more than half of a thread's share. */
static int64_t large(void)
{
    int64_t share = TOGETHER_ELEMENTS / omp_get_max_threads() / 2;
    return share > TOGETHER_MIN ? share : TOGETHER_MIN;
}

/* The layers that follow first and are pruned together with it: a large one alone, others up to a total; larger ones first, which leaves the least to wait for
 * at the end. Returns the end of the run. */
static int run_of(const PruneResult *r, int first, int *count, int which[TOGETHER])
{
    int64_t sum = 0;
    int i = first;
    for (*count = 0; i < r->n_layer && *count < TOGETHER; i++) {
        if (!to_do(&r->layer[i]))
            continue;
        int64_t n = elements_of(r, i);
        if (*count > 0 && (n >= large() || sum + n > TOGETHER_ELEMENTS))
            break;
        int at = (*count)++;
        for (; at > 0 && elements_of(r, which[at - 1]) < n; at--)
            which[at] = which[at - 1];
        which[at] = i;
        sum += n;
        if (n >= large())
            return i + 1;
    }
    return i;
}

/* Fetching and releasing is not for several threads; what is between is. */
static Err prune_run(Model *m, const PruneOptions *o, PruneLayer *layer, const int *which, int count)
{
    const Kernels *kernels;
    TRY(find_kernels(&kernels));
    Layer open[TOGETHER];
    Err failure = OK, closing = OK;
    for (int i = 0; i < count; i++)
        TRY(layer_open(m, &layer[which[i]], o, kernels, &open[i]));
    #pragma omp parallel for schedule(dynamic) if (count > 1)
    for (int i = 0; i < count; i++) {
        Err err = layer_mask(&open[i], open[i].plan->zeros_wanted, true, &open[i].plan->zeros_after);
        #pragma omp critical
        failure = err != OK ? err : failure;
    }
    for (int i = 0; i < count; i++) {
        open[i].plan->weight->zeros = open[i].plan->zeros_after;
        Err err = layer_close(m, &open[i], true);
        closing = err != OK ? err : closing;
    }
    TRY(closing);
    /* the message stayed in another thread; masking has no other reason to fail */
    return failure == OK ? OK : err_set(failure, "out of memory for pruning weight '%s' or one of the %d that follow", layer[which[0]].weight->name, count - 1);
}

Err prune_apply(Model *m, const PruneOptions *o, PruneResult *r, const Progress *progress)
{
    int64_t done = 0, total = 0;
    for (int i = 0; i < r->n_layer; i++)
        total += to_do(&r->layer[i]) ? r->layer[i].weight->elements : 0;
    int which[TOGETHER], count;
    for (int next = run_of(r, 0, &count, which); count > 0; next = run_of(r, next, &count, which)) {
        TRY(prune_run(m, o, r->layer, which, count));
        for (int i = 0; i < count; i++)
            done += elements_of(r, which[i]);
        if (progress)
            progress->tell(progress->user, r->layer[which[count - 1]].weight->name, done, total);
    }
    sum_up(r);
    return OK;
}
