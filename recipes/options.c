/* What the user asked for, in words, in numbers, and by name. */
#include "recipes/options.h"
#include "recipes/mask.h"
#include "recipes/names.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_MAX = 1024 };

Err pattern_parse(const char *text, Pattern *p)
{
    int a, b, end = 0;
    if (strcmp(text, "unstructured") == 0) {
        *p = (Pattern) { .kind = PATTERN_UNSTRUCTURED };
        return OK;
    }
    if (sscanf(text, "%4d:%4d%n", &a, &b, &end) == 2 && !text[end] && a >= 1 && a < b && b <= N_OF_M_MAX) {
        *p = (Pattern) { .kind = PATTERN_N_OF_M, .n = a, .m = b };
        return OK;
    }
    if (sscanf(text, "%4dx%4d%n", &a, &b, &end) == 2 && !text[end] && a >= 1 && b >= 1 && a <= BLOCK_MAX && b <= BLOCK_MAX) {
        *p = a * b == 1 ? (Pattern) { .kind = PATTERN_UNSTRUCTURED } : (Pattern) { .kind = PATTERN_BLOCK, .rows = a, .columns = b };
        return OK;
    }
    return err_set(ERR_ARG, "'%s' is not a pattern: give unstructured, N:M (2:4 keeps 2 of every 4 input channels; 1 <= N < M <= %d) or RxC "
                   "(4x1: 4 output channels x 1 input channel; at most %d)", text, N_OF_M_MAX, BLOCK_MAX);
}

Err scope_parse(const char *text, Scope *s)
{
    static const char *const names[] = { [SCOPE_UNIFORM] = "uniform", [SCOPE_GLOBAL] = "global", [SCOPE_ERK] = "erk", [SCOPE_LAMP] = "lamp" };
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(text, names[i]) == 0) {
            *s = (Scope)i;
            return OK;
        }
    return err_set(ERR_ARG, "'%s' is not a scope: give uniform, global, erk or lamp", text);
}

static Err check_sparsity(double s, const char *layer)
{
    if (s >= 0 && s < 1)
        return OK;
    return err_set(ERR_ARG, "sparsity %g%s%s is out of range: it must be at least 0 and below 1", s, *layer ? " of " : "", layer);
}

/* N:M leaves nothing to choose: a sparsity beside it may only repeat it, in two decimals if need be. */
static Err check_agrees(const Pattern *p, double s, const char *layer)
{
    double fixed = 1 - (double)p->n / p->m;
    if (s == 0 || fabs(s - fixed) <= 0.005 + 1e-9)
        return OK;
    return err_set(ERR_ARG, "sparsity %g%s%s does not agree with %d:%d, which makes %.4g of the weights zero: leave the sparsity out", s, *layer ? " of " : "",
                   layer, p->n, p->m, fixed);
}

Err options_check(const PruneOptions *o, const Weight *weight, int n)
{
    bool fixed = o->pattern.kind == PATTERN_N_OF_M;
    TRY(check_sparsity(o->sparsity, ""));
    if (fixed)
        TRY(check_agrees(&o->pattern, o->sparsity, ""));
    if (fixed && o->scope != SCOPE_UNIFORM)
        return err_set(ERR_ARG, "%d:%d fixes the zeros of every layer, so no scope but uniform can go with it", o->pattern.n, o->pattern.m);
    if (o->regroup && (o->pattern.kind != PATTERN_BLOCK || o->pattern.rows < 2))
        return err_set(ERR_ARG, "regroup chooses the output channels that share a block: it needs a pattern such as 4x1, with 2 rows or more");
    for (int i = 0; i < o->n_layer; i++) {
        TRY(check_sparsity(o->layer[i].sparsity, o->layer[i].name));
        if (fixed)
            TRY(check_agrees(&o->pattern, o->layer[i].sparsity, o->layer[i].name));
        TRY(name_check(o->layer[i].name, weight, n));
    }
    for (const char *const *p = o->include; p && *p; p++)
        TRY(name_check(*p, weight, n));
    for (const char *const *p = o->exclude; p && *p; p++)
        TRY(name_check(*p, weight, n));
    return OK;
}

static Err any_matches(const char *const *list, const Weight *w, bool *matches)
{
    *matches = false;
    for (; list && *list && !*matches; list++)
        TRY(name_matches(*list, w, matches));
    return OK;
}

Err options_choose(const PruneOptions *o, PruneLayer *l)
{
    const Weight *w = l->weight;
    bool included, excluded, named = false;
    TRY(any_matches(o->include, w, &included));
    TRY(any_matches(o->exclude, w, &excluded));
    l->sparsity = -1;
    for (int i = 0; i < o->n_layer; i++) {
        bool matches;
        TRY(name_matches(o->layer[i].name, w, &matches));
        if (matches)
            l->sparsity = o->layer[i].sparsity;
        named |= matches;
    }
    if (w->keep == KEEP_TYPE || w->elements == 0)
        l->reason = w->keep == KEEP_TYPE ? weight_keep_text(KEEP_TYPE) : "has no elements";
    else if (named && l->sparsity == 0)
        l->reason = "asked to stay dense";
    else if (!named && excluded)
        l->reason = "excluded";
    else if (!named && !included && w->keep != KEEP_NOT)
        l->reason = weight_keep_text(w->keep);
    else if (w->n_axis == 0 && o->pattern.kind != PATTERN_UNSTRUCTURED)
        l->reason = "a Reshape mixes its channels, so the pattern cannot be laid on it";
    else
        l->prune = true;
    return OK;
}
