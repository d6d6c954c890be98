/* The public interface, over the modules that the command line uses too. */
#include "engine/api/model.h"
#include "recipes/stamp.h"
#include <string.h>

oneshot_status api_status(Err e)
{
    switch (e) {
    case OK:              return ONESHOT_OK;
    case ERR_NOMEM:       return ONESHOT_ERROR_MEMORY;
    case ERR_IO:          return ONESHOT_ERROR_IO;
    case ERR_FORMAT:      return ONESHOT_ERROR_FORMAT;
    case ERR_UNSUPPORTED: return ONESHOT_ERROR_UNSUPPORTED;
    case ERR_SHAPE:       return ONESHOT_ERROR_SHAPE;
    case ERR_ARG:         return ONESHOT_ERROR_ARGUMENT;
    case ERR_NUMERIC:     return ONESHOT_ERROR_NUMERIC;
    case ERR_TIME:        return ONESHOT_ERROR_TIME;
    }
    return ONESHOT_ERROR_UNSUPPORTED;
}

const char *oneshot_version(void)
{
    return ONESHOT_VERSION;
}

const char *oneshot_error(void)
{
    return err_text();
}

Err api_null(const char *what)
{
    return err_set(ERR_ARG, "%s is NULL", what);
}

oneshot_status oneshot_load(const char *path, oneshot_model **model)
{
    if (!path || !model) return api_status(api_null(path ? "model" : "path"));
    Arena *arena = arena_new();
    oneshot_model *m = arena ? arena_alloc(arena, sizeof *m) : NULL;
    Err e = m ? model_load(path, &m->model) : err_set(ERR_NOMEM, "not enough memory for a model");
    if (e == OK) e = ops_bind(m->model);
    if (e == OK) e = plan_inputs(m->model, &m->input, &m->n_input);
    if (e != OK) {
        if (m) model_free(m->model);
        arena_free(arena);
        return api_status(e);
    }
    m->arena = arena;
    *model = m;
    return ONESHOT_OK;
}

void oneshot_free(oneshot_model *model)
{
    if (!model) return;
    model_free(model->model);
    arena_free(model->arena);
}

oneshot_status oneshot_set_size(oneshot_model *model, const char *choice)
{
    if (!model || !choice) return api_status(api_null(model ? "choice" : "model"));
    if (model->survey) return api_status(err_set(ERR_ARG, "sizes must be set before the model is looked at or pruned"));
    if (model->n_size == SIZES_MAX) return api_status(err_set(ERR_ARG, "more than %d sizes", SIZES_MAX));
    const char *copy = arena_strndup(model->arena, choice, strlen(choice));
    if (!copy) return api_status(err_set(ERR_NOMEM, "not enough memory for a size"));
    model->size[model->n_size++] = copy;
    return ONESHOT_OK;
}

static Err survey(oneshot_model *m)
{
    if (m->survey) return OK;
    TRY(model_survey(m->model, m->size, &m->survey));
    return layers_as_they_are(m->model->arena, m->survey, &m->layers);
}

oneshot_prune_options oneshot_prune_defaults(void)
{
    return (oneshot_prune_options){ .scope = "uniform", .pattern = "unstructured" };
}

static Err prune(oneshot_model *m, const oneshot_prune_options *options)
{
    PruneOptions o = { .sparsity = options->sparsity, .regroup = options->regroup != 0, .empty_channels = options->allow_empty_channels != 0,
                       .include = options->include, .exclude = options->exclude };
    PruneResult *r;
    if (options->scope) TRY(scope_parse(options->scope, &o.scope));
    if (options->pattern) TRY(pattern_parse(options->pattern, &o.pattern));
    if (!*m->sha256) TRY(model_sha256_source(m->model, m->sha256));
    TRY(survey(m));
    TRY(prune_plan(m->model, m->survey->weight, m->survey->n_weight, &o, NULL, &r));
    TRY(prune_apply(m->model, &o, r, NULL));
    layers_settle(m->survey, r);
    m->layers = r;
    return model_stamp(m->model, &o, r, m->sha256);
}

oneshot_status oneshot_prune(oneshot_model *model, const oneshot_prune_options *options)
{
    if (!model || !options) return api_status(api_null(model ? "options" : "model"));
    if (atomic_load(&model->plans)) return api_status(err_set(ERR_ARG, "the model cannot be pruned while plans run it; free them first"));
    return api_status(prune(model, options));
}

oneshot_status oneshot_keep_edits(oneshot_model *model, const char *output_path)
{
    if (!model || !output_path) return api_status(api_null(model ? "output_path" : "model"));
    return api_status(model_store(model->model, output_path));
}

oneshot_status oneshot_save(oneshot_model *model, const char *path, unsigned flags)
{
    if (!model || !path) return api_status(api_null(model ? "path" : "model"));
    bool external = flags & ONESHOT_SAVE_EXTERNAL, inlined = flags & ONESHOT_SAVE_INLINE;
    bool sparse = flags & ONESHOT_SAVE_SPARSE, dense = flags & ONESHOT_SAVE_DENSE;
    if ((external && inlined) || (sparse && dense) || flags > 31) return api_status(err_set(ERR_ARG, "the flags %u contradict each other or are unknown", flags));
    SaveOptions o = { .data = external ? DATA_EXTERNAL : inlined ? DATA_INLINE : DATA_AS_IS, .form = sparse ? FORM_SPARSE : dense ? FORM_DENSE : FORM_AS_IS,
                      .force = flags & ONESHOT_SAVE_FORCE };
    return api_status(model_save(model->model, path, &o));
}

oneshot_status oneshot_inspect(oneshot_model *model, oneshot_numbers *numbers)
{
    if (!model || !numbers) return api_status(api_null(model ? "numbers" : "model"));
    Err e = survey(model);
    if (e != OK) return api_status(e);
    const Survey *v = model->survey;
    *numbers = (oneshot_numbers){ .nodes = v->n_node, .layers = v->n_weight, .parameters = v->parameters, .zeros = v->zeros,
                                  .prunable = model->layers->prunable, .prunable_zeros = model->layers->zeros_after,
                                  .macs = v->macs, .macs_left = layers_macs(v, model->layers, true) };
    return ONESHOT_OK;
}

oneshot_status oneshot_inspect_layer(oneshot_model *model, int64_t index, oneshot_layer *layer)
{
    if (!model || !layer) return api_status(api_null(model ? "layer" : "model"));
    Err e = survey(model);
    if (e != OK) return api_status(e);
    if (index < 0 || index >= model->layers->n_layer)
        return api_status(err_set(ERR_ARG, "layer %lld does not exist; the model has %d", (long long)index, model->layers->n_layer));
    const PruneLayer *l = &model->layers->layer[index];
    const Weight *w = l->weight;
    *layer = (oneshot_layer){ .node = w->node->name ? w->node->name : "", .weight = w->name, .op_type = w->node->op_type,
                              .shape = w->constant->tensor.shape.dim, .rank = w->constant->tensor.shape.rank, .elements = w->elements,
                              .zeros = l->zeros_after, .macs = w->macs, .prunable = l->prune, .reason = l->reason };
    return ONESHOT_OK;
}
