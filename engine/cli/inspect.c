/* `oneshot inspect`: what a model consists of, and which of its weights can be pruned. */
#include "engine/cli/console.h"
#include "recipes/layers.h"
#include "recipes/report_layers.h"
#include <omp.h>
#include <string.h>

static const Option options[] = {
    { "shape", 0, OPTION_WORDS, FIELD(shape), "NAME=SIZE", NULL, "a size that the file leaves open: batch=8, ids=1,128",
      "A number for a size that the file leaves open, to count multiply-adds: SYMBOL=128, or INPUT=1,3,224,224. Repeatable. Without it 1 is assumed for the "
      "batch, 224 for an image's height and width, 128 for sequences." },
    { "json", 0, OPTION_FILE, FIELD(json), "FILE|-", NULL, "the same as JSON; - is stdout, without the text",
      "Write everything as JSON to FILE as well; - prints it instead of the text. docs/report.md describes it." },
    { "verbose", 'v', OPTION_FLAG, FIELD(verbose), NULL, NULL, "list every weight, also in long models", "List every weight with its name, also in long models." },
    { "quiet", 'q', OPTION_FLAG, FIELD(quiet), NULL, NULL, "no text", "Print no text; --json FILE, warnings and errors remain." },
    ROW_THREADS,
    ROW_HELP,
};

static const char *text_of(Arena *arena, const char *name)
{
    const char *shown = name_shown(arena, name);
    return shown ? shown : "";
}

static void add_head(Text *t, const Model *m, const FileSizes *f)
{
    text_add(t, "%s: %s (with gzip %s%s)\n", text_of(t->arena, m->path), bytes_short(f->bytes).at, f->estimated ? "about " : "", bytes_short(f->gzip_bytes).at);
    text_add(t, "IR version %lld", (long long)m->ir_version);
    for (int i = 0; i < m->n_opset; i++)
        text_add(t, ", %s %lld", *m->opset[i].domain ? text_of(t->arena, m->opset[i].domain) : "opset", (long long)m->opset[i].version);
    if (m->producer_name && *m->producer_name) text_add(t, ", made by %s", text_of(t->arena, m->producer_name));
    if (m->producer_version && *m->producer_version) text_add(t, " %s", text_of(t->arena, m->producer_version));
    text_add(t, "\n");
    if (m->n_function) text_add(t, "%d local function%s\n", m->n_function, m->n_function == 1 ? "" : "s");
    for (int i = 0; i < m->n_property; i++) text_add(t, "%s: %s\n", text_of(t->arena, m->property[i].key), text_of(t->arena, m->property[i].value));
}

static void add_values(Text *t, const Model *m, const char *title, Value *const *value, int n, bool inputs)
{
    static const Column column[] = { { NULL, "", CELL_TEXT }, { NULL, "", CELL_NAME }, { NULL, "", CELL_TEXT }, { NULL, "", CELL_SHAPE } };
    enum { COLUMNS = sizeof column / sizeof *column };
    Cell *cell = arena_array(t->arena, (size_t)n, COLUMNS * sizeof *cell);
    int rows = 0;
    for (int i = 0; cell && i < n; i++) {
        const Fact *f = value[i]->stated.shape.rank >= 0 ? &value[i]->stated : &value[i]->fact;
        if (inputs && value[i]->constant) continue;          /* an initializer that is also listed as an input */
        Cell *row = &cell[COLUMNS * rows++];
        row[1].text = value[i]->name;
        row[2].text = !f->is_tensor ? "no tensor" : f->dtype == DT_NONE ? "?" : dtype_name(f->dtype);
        row[3].shape = &f->shape;
    }
    t->failed |= !cell;
    text_add(t, "\n%s", title);
    if (cell) table_text(t, &(Table){ column, COLUMNS, cell, rows, m->symbol }, 0);
}

static void add_operators(Text *t, const Survey *v, int width)
{
    Text known = { .arena = t->arena }, unknown = { .arena = t->arena };
    for (int i = 0; i < v->n_op; i++) {
        const OperatorCount *o = &v->op[i];
        Text *to = o->known ? &known : &unknown;
        text_add(to, to->length ? ", " : "");
        if (*o->domain) text_add(to, "%s.", text_of(t->arena, o->domain));
        text_add(to, "%s %d", text_of(t->arena, o->type), o->count);
    }
    text_add(t, "\nOperators: %d node%s\n", v->n_node, v->n_node == 1 ? "" : "s");
    if (known.length) text_wrap(t, text_done(&known), 2, width ? width : HELP_WIDTH);
    if (unknown.length) {
        text_add(t, "Unknown operators (kept as they are)\n");
        text_wrap(t, text_done(&unknown), 2, width ? width : HELP_WIDTH);
    }
    t->failed |= known.failed || unknown.failed;
}

static void add_numbers(Text *t, const Survey *v, const PruneResult *r, int width)
{
    text_add(t, "\n");
    report_sizes_text(t, v, width);
    text_add(t, "Parameters: %s, %s of them zero\n", count_short(v->parameters).at, share_short(v->parameters ? (double)v->zeros / (double)v->parameters : 0).at);
    text_add(t, "Prunable weights: %s, %s of them zero\n", count_short(r->prunable).at,
             share_short(r->prunable ? (double)r->zeros_before / (double)r->prunable : 0).at);
    int64_t left = layers_macs(v, r, false);
    if (left < 0) text_add(t, "Multiply-adds: unknown, because sizes are\n");
    else text_add(t, "Multiply-adds: %s, %s without those by zero\n", count_short(v->macs).at, count_short(left).at);
}

static void inspect_text(Text *t, const PruneReport *r, const Settings *s)
{
    ReportStyle style = { .width = console_width(), .all_layers = s->verbose, .inspect = true };
    const Model *m = r->model;
    add_head(t, m, &r->before);
    add_values(t, m, "Inputs", m->graph->in, m->graph->n_in, true);
    add_values(t, m, "Outputs", m->graph->out, m->graph->n_out, false);
    add_operators(t, r->survey, style.width);
    add_numbers(t, r->survey, r->result, style.width);
    if (!r->result->n_layer) {
        text_add(t, "\nThe model has no weights that multiply activations.\n");
        return;
    }
    text_add(t, "\nWeights; those with a note stay dense unless --include names them\n");
    layers_text(t, r, &style);
}

static void operators_json(Json *j, const Survey *v)
{
    json_array(j, "operators");
    for (int i = 0; i < v->n_op; i++) {
        json_line(j, NULL);
        json_string(j, "domain", v->op[i].domain);
        json_string(j, "operator", v->op[i].type);
        json_int(j, "nodes", v->op[i].count);
        json_bool(j, "known", v->op[i].known);
        json_end(j);
    }
    json_end(j);
}

static void inspect_json(Text *t, const PruneReport *r)
{
    Json j = { .out = t };
    json_object(&j, NULL);
    report_tool_json(&j, "inspect");
    report_model_json(&j, r->model, r->survey);
    json_object(&j, "metadata");
    for (int i = 0; i < r->model->n_property; i++) json_pair(&j, r->model->property[i].key, r->model->property[i].value);
    json_end(&j);
    report_sizes_json(&j, r->survey);
    operators_json(&j, r->survey);
    layers_json(&j, r, true);
    json_object(&j, "file");
    json_int(&j, "bytes", r->before.bytes);
    json_int(&j, "gzip_bytes", r->before.gzip_bytes);
    json_bool(&j, "gzip_bytes_estimated", r->before.estimated);
    json_end(&j);
    json_array(&j, "warnings");
    for (int i = 0; i < r->n_warning; i++) json_string(&j, NULL, r->warning[i]);
    json_end(&j);
    json_end(&j);
}

static Err look(Console *c, Model *m, PruneReport *r)
{
    const char **file;
    int n;
    Survey *v;
    TRY(model_files(m, &file, &n));
    TRY(files_measure(file, n, &r->before));
    TRY(model_survey(m, c->settings->shape.at, &v));
    if (v->complaint) console_warn(c, "shapes in the model contradict each other: %s", v->complaint);
    r->survey = v;
    r->warning = c->warning;
    r->n_warning = c->n_warning;
    PruneResult *layers;
    TRY(layers_as_they_are(c->arena, v, &layers));
    r->result = layers;
    return OK;
}

static Err show(Console *c, const PruneReport *r)
{
    const Settings *s = c->settings;
    Text t = { .arena = c->arena };
    if (s->json) {
        inspect_json(&t, r);
        TRY(console_json(c->arena, s->json, &t));
        if (strcmp(s->json, "-") == 0) return OK;
        t = (Text){ .arena = c->arena };
    }
    if (s->quiet) return OK;
    inspect_text(&t, r, s);
    return console_print(&t);
}

static int inspect(Arena *arena, const Settings *s)
{
    Console c = { .arena = arena, .settings = s };
    Model *m;
    int code;
    if (s->threads) omp_set_num_threads(s->threads);
    Err e = reports_check(arena, s, s->argument[0], NULL);
    if (e != OK) return console_error(arena, e, false);
    if (!model_open(arena, s, s->argument[0], &m, &code)) return code;
    PruneReport r = { .model = m };
    e = look(&c, m, &r);
    bool reading = e != OK;
    if (e == OK) e = show(&c, &r);
    code = e == OK ? EXIT_DONE : console_error(arena, e, reading);
    model_free(m);
    return code;
}

const Command command_inspect = {
    .name = "inspect",
    .arguments = "MODEL",
    .n_argument_min = 1,
    .n_argument_max = 1,
    .summary = "Shows what a model consists of and which weights can be pruned.",
    .about = "Prints inputs, outputs, operators (and which of them are unknown here), parameters, zeros, multiply-adds, sizes, and every weight: whether it "
             "is pruned by default, and why not.\n",
    .examples = "oneshot inspect m.onnx\n"
                "oneshot inspect m.onnx --shape batch=8 --json - | jq .layers\n",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .run = inspect,
};
