#include "recipes/stamp.h"
#include "recipes/report_json.h"
#include <string.h>

const char *scope_name(Scope s)
{
    static const char *const name[] = { [SCOPE_UNIFORM] = "uniform", [SCOPE_GLOBAL] = "global", [SCOPE_ERK] = "erk", [SCOPE_LAMP] = "lamp" };
    return name[s];
}

const char *pattern_name(Arena *arena, const Pattern *p)
{
    switch (p->kind) {
    case PATTERN_N_OF_M: return arena_printf(arena, "%d:%d", p->n, p->m);
    case PATTERN_BLOCK:  return arena_printf(arena, "%dx%d", p->rows, p->columns);
    case PATTERN_UNSTRUCTURED: break;
    }
    return "unstructured";
}

static void add_names(Text *t, const char *key, const char *const *name)
{
    if (!name || !*name) return;
    Text quoted = { .arena = t->arena };
    Json j = { .out = &quoted };
    for (; *name; name++) {
        if (quoted.length) text_add(&quoted, ", ");
        json_string(&j, NULL, *name);
    }
    text_add(t, ", %s: [%s]", key, text_done(&quoted));
    t->failed |= quoted.failed;
}

const char *prune_recipe(Arena *arena, const PruneOptions *o)
{
    Text t = { .arena = arena };
    const char *pattern = pattern_name(arena, &o->pattern);
    text_add(&t, "magnitude: {sparsity: %.10g, scope: %s, pattern: \"%s\"", o->sparsity, scope_name(o->scope), pattern ? pattern : "");
    if (o->regroup) text_add(&t, ", regroup: true");
    if (o->empty_channels) text_add(&t, ", allow_empty_channels: true");
    add_names(&t, "include", o->include);
    add_names(&t, "exclude", o->exclude);
    if (o->n_layer) {
        Json j = { .out = &t };
        text_add(&t, ", layers: {");
        for (int i = 0; i < o->n_layer; i++) {
            if (i) text_add(&t, ", ");
            json_string(&j, NULL, o->layer[i].name);
            text_add(&t, ": %.10g", o->layer[i].sparsity);
        }
        text_add(&t, "}");
    }
    text_add(&t, "}");
    return t.failed || !pattern ? NULL : text_done(&t);
}

static Err set_producer(Model *m)
{
    const char *name = m->producer_name ? m->producer_name : "", *version = m->producer_version ? m->producer_version : "";
    if (*name && strcmp(name, "oneshot") != 0) {
        const char *source = arena_printf(m->arena, *version ? "%s %s" : "%s", name, version);
        if (!source) return err_set(ERR_NOMEM, "not enough memory for the metadata");
        TRY(model_set_property(m, "oneshot.source_producer", source));
    }
    m->producer_name = "oneshot";
    m->producer_version = ONESHOT_VERSION;
    m->edited = true;
    return OK;
}

Err model_stamp(Model *m, const PruneOptions *o, const PruneResult *r, const char *sha256)
{
    double reached = r->prunable ? (double)r->zeros_after / (double)r->prunable : 0;
    const char *recipe = prune_recipe(m->arena, o), *sparsity = arena_printf(m->arena, "%.6g", reached);
    if (!recipe || !sparsity) return err_set(ERR_NOMEM, "not enough memory for the metadata");
    TRY(set_producer(m));
    TRY(model_set_property(m, "oneshot.version", ONESHOT_VERSION));
    TRY(model_set_property(m, "oneshot.method", "magnitude"));
    TRY(model_set_property(m, "oneshot.recipe", recipe));
    TRY(model_set_property(m, "oneshot.sparsity", sparsity));
    return model_set_property(m, "oneshot.source_sha256", sha256);
}
