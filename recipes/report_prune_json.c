/* The reports' JSON. Keys are documented in docs/report.md; a change there and here goes together, with REPORT_SCHEMA. */
#include "recipes/layers.h"
#include "recipes/report_layers.h"
#include "recipes/stamp.h"

void report_tool_json(Json *j, const char *command)
{
    json_int(j, "schema_version", REPORT_SCHEMA);
    json_line(j, "tool");
    json_string(j, "name", "oneshot");
    json_string(j, "version", ONESHOT_VERSION);
    json_end(j);
    json_string(j, "command", command);
}

static void values_json(Json *j, const char *key, const Model *m, Value *const *value, int n)
{
    json_array(j, key);
    for (int i = 0; i < n; i++) {
        const Fact *f = &value[i]->stated;
        if (value[i]->constant) continue;              /* an initializer that is also listed as an input */
        json_line(j, NULL);
        json_string(j, "name", value[i]->name);
        json_string(j, "dtype", f->is_tensor && f->dtype != DT_NONE ? dtype_name(f->dtype) : NULL);
        json_shape(j, "shape", &f->shape, m->symbol);
        json_end(j);
    }
    json_end(j);
}

void report_model_json(Json *j, const Model *m, const Survey *v)
{
    json_object(j, "model");
    json_string(j, "path", m->path);
    json_int(j, "ir_version", m->ir_version);
    json_line(j, "producer");
    json_string(j, "name", m->producer_name);
    json_string(j, "version", m->producer_version);
    json_end(j);
    json_array(j, "opsets");
    for (int i = 0; i < m->n_opset; i++) {
        json_line(j, NULL);
        json_string(j, "domain", m->opset[i].domain);
        json_int(j, "version", m->opset[i].version);
        json_end(j);
    }
    json_end(j);
    values_json(j, "inputs", m, m->graph->in, m->graph->n_in);
    values_json(j, "outputs", m, m->graph->out, m->graph->n_out);
    json_int(j, "nodes", v->n_node);
    json_int(j, "functions", m->n_function);
    json_int(j, "parameters", v->parameters);
    json_int(j, "zeros", v->zeros);
    if (v->macs < 0) json_null(j, "macs");
    else json_int(j, "macs", v->macs);
    json_end(j);
}

void report_sizes_json(Json *j, const Survey *v)
{
    json_array(j, "sizes");
    for (int i = 0; i < v->n_size; i++) {
        json_line(j, NULL);
        json_string(j, "name", v->size[i].name);
        json_int(j, "size", v->size[i].size);
        json_bool(j, "assumed", !v->size[i].given);
        json_end(j);
    }
    json_end(j);
}

static void names_json(Json *j, const char *key, const char *const *name)
{
    json_array(j, key);
    for (; name && *name; name++) json_string(j, NULL, *name);
    json_end(j);
}

static void options_json(Json *j, const PruneReport *r)
{
    const PruneOptions *o = r->options;
    json_object(j, "options");
    json_string(j, "method", "magnitude");
    json_number(j, "sparsity", o->sparsity);
    json_string(j, "scope", scope_name(o->scope));
    json_string(j, "pattern", pattern_name(j->out->arena, &o->pattern));
    json_bool(j, "regroup", o->regroup);
    json_bool(j, "allow_empty_channels", o->empty_channels);
    names_json(j, "include", o->include);
    names_json(j, "exclude", o->exclude);
    json_array(j, "layers");
    for (int i = 0; i < o->n_layer; i++) {
        json_line(j, NULL);
        json_string(j, "name", o->layer[i].name);
        json_number(j, "sparsity", o->layer[i].sparsity);
        json_end(j);
    }
    json_end(j);
    json_bool(j, "dry_run", r->dry_run);
    json_int(j, "threads", r->threads);
    json_end(j);
}

static void macs_json(Json *j, const char *key, int64_t macs)
{
    if (macs < 0) json_null(j, key);
    else json_int(j, key, macs);
}

static void totals_json(Json *j, const PruneReport *r)
{
    const PruneResult *p = r->result;
    int64_t zeros = layers_zeros(r->survey, p);
    json_object(j, "totals");
    json_int(j, "layers", p->n_layer);
    json_int(j, "layers_pruned", layers_pruned(p));
    json_int(j, "prunable_weights", p->prunable);
    json_int(j, "prunable_zeros_before", p->zeros_before);
    json_int(j, "prunable_zeros_after", p->zeros_after);
    json_number(j, "sparsity_prunable", p->prunable ? (double)p->zeros_after / (double)p->prunable : 0);
    json_int(j, "parameters", r->survey->parameters);
    json_int(j, "zeros_before", r->survey->zeros);
    json_int(j, "zeros_after", zeros);
    json_number(j, "sparsity_all", r->survey->parameters ? (double)zeros / (double)r->survey->parameters : 0);
    macs_json(j, "macs_dense", r->survey->macs);
    macs_json(j, "macs_before", layers_macs(r->survey, p, false));
    macs_json(j, "macs_after", layers_macs(r->survey, p, true));
    json_end(j);
}

static void file_json(Json *j, const char *key, const char *path, const FileSizes *f, const char *sha256)
{
    json_object(j, key);
    json_string(j, "path", path);
    json_int(j, "bytes", f->bytes);
    json_int(j, "gzip_bytes", f->gzip_bytes);
    json_bool(j, "gzip_bytes_estimated", f->estimated);
    if (sha256) json_string(j, "sha256", sha256);
    json_end(j);
}

void report_json(Text *t, const PruneReport *r)
{
    Json j = { .out = t };
    json_object(&j, NULL);
    report_tool_json(&j, "sparsify");
    options_json(&j, r);
    report_model_json(&j, r->model, r->survey);
    report_sizes_json(&j, r->survey);
    layers_json(&j, r, false);
    totals_json(&j, r);
    file_json(&j, "source", r->model->path, &r->before, r->sha256);
    if (r->dry_run) json_null(&j, "output");
    else file_json(&j, "output", r->output, &r->after, NULL);
    json_line(&j, "accuracy");
    json_bool(&j, "measured", false);
    json_end(&j);
    json_array(&j, "warnings");
    for (int i = 0; i < r->n_warning; i++) json_string(&j, NULL, r->warning[i]);
    json_end(&j);
    json_object(&j, "seconds");
    for (int i = 0; i < r->n_timing; i++) json_number(&j, r->timing[i].what, r->timing[i].seconds);
    json_end(&j);
    json_int(&j, "peak_memory_bytes", r->peak_bytes);
    json_end(&j);
}
