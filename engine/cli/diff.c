/* `oneshot diff`: what changed from one model to another, tensor by tensor. */
#include "engine/cli/console.h"
#include "recipes/compare.h"
#include "recipes/report.h"
#include "recipes/report_layers.h"
#include <math.h>
#include <string.h>

static const Option options[] = {
    { "json", 0, OPTION_FILE, FIELD(json), "FILE|-", NULL, "the same as JSON; - is stdout, without the text",
      "Write the differences as JSON to FILE as well; - prints them instead of the text. docs/report.md describes it." },
    { "quiet", 'q', OPTION_FLAG, FIELD(quiet), NULL, NULL, "print nothing: the exit code says it", "Print nothing; the exit code says whether the models differ." },
    ROW_HELP,
};

enum { T_NAME, T_STATUS, T_DTYPE, T_SHAPE, T_ELEMENTS, T_CHANGED, T_NEWLY_ZERO, T_NO_LONGER, T_MAX, T_NOTE, N_COLUMN };
static const Column tensor_columns[N_COLUMN] = {
    [T_NAME]       = { "name", "tensor", CELL_NAME },
    [T_STATUS]     = { "status", "", CELL_TEXT },
    [T_DTYPE]      = { "dtype", "type", CELL_TEXT },
    [T_SHAPE]      = { "shape", "shape", CELL_SHAPE },
    [T_ELEMENTS]   = { "elements", "elements", CELL_COUNT },
    [T_CHANGED]    = { "changed", "changed", CELL_COUNT },
    [T_NEWLY_ZERO] = { "newly_zero", "newly zero", CELL_COUNT },
    [T_NO_LONGER]  = { "no_longer_zero", "no longer zero", CELL_COUNT },
    [T_MAX]        = { "max_abs_change", "largest change", CELL_NUMBER },
    [T_NOTE]       = { "note", "note", CELL_NOTE },
};

static const char *status(Difference d)
{
    static const char *const name[] = { [ONLY_A] = "removed", [ONLY_B] = "added", [CHANGED] = "changed" };
    return name[d];
}

static const char *reshaped_note(Arena *arena, const TensorDifference *d)
{
    const char *shape = shape_shown(arena, &d->a->tensor.shape, NULL);
    return arena_printf(arena, "was %s %s", dtype_name(d->a->tensor.dtype), shape ? shape : "?");
}

static void fill_row(Arena *arena, Cell *row, const TensorDifference *d)
{
    const Tensor *t = &(d->b ? d->b : d->a)->tensor;
    bool compared = d->kind == CHANGED && !d->reshaped;
    int64_t n;
    row[T_NAME].text = d->name;
    row[T_STATUS].text = status(d->kind);
    row[T_DTYPE].text = dtype_name(t->dtype);
    row[T_SHAPE].shape = &t->shape;
    row[T_ELEMENTS].count = shape_count(&t->shape, &n) == OK ? n : -1;
    row[T_CHANGED].count = compared ? d->changed : -1;
    row[T_NEWLY_ZERO].count = compared ? d->newly_zero : -1;
    row[T_NO_LONGER].count = compared ? d->no_longer_zero : -1;
    row[T_MAX].share = compared ? d->max_change : NAN;
    if (d->reshaped) row[T_NOTE].text = reshaped_note(arena, d);
}

/* The tensors as a table; NULL cells: out of memory. */
static Table tensor_table(Arena *arena, const Comparison *c)
{
    Cell *cell = arena_array(arena, (size_t)c->n_tensor, N_COLUMN * sizeof *cell);
    for (int i = 0; cell && i < c->n_tensor; i++) fill_row(arena, &cell[i * N_COLUMN], &c->tensor[i]);
    return (Table){ tensor_columns, N_COLUMN, cell, c->n_tensor, NULL };
}

static const char *shown(Text *t, const char *name)
{
    const char *s = name_shown(t->arena, name);
    return s ? s : "";
}

static void nodes_text(Text *t, const Comparison *c)
{
    if (!c->n_node) return;
    text_add(t, "\nNodes\n");
    for (int i = 0; i < c->n_node; i++) {
        const NodeDifference *d = &c->node[i];
        text_add(t, "  %s: %s (%s)", status(d->kind), shown(t, d->name), shown(t, d->op_type));
        text_add(t, d->what ? ": %s\n" : "\n", d->what);
    }
}

static void facts_text(Text *t, const Comparison *c)
{
    if (!c->n_fact) return;
    text_add(t, "\nMetadata\n");
    for (int i = 0; i < c->n_fact; i++) {
        const FactDifference *d = &c->fact[i];
        text_add(t, "  %s: %s -> %s\n", shown(t, d->what), d->a ? shown(t, d->a) : "(none)", d->b ? shown(t, d->b) : "(none)");
    }
}

static void diff_text(Text *t, const Comparison *c)
{
    if (!c->n_tensor && !c->n_node && !c->n_fact) text_add(t, "no differences\n");
    if (c->n_tensor) {
        Table table = tensor_table(t->arena, c);
        t->failed |= !table.cell;
        if (table.cell) table_text(t, &table, console_width());
    }
    nodes_text(t, c);
    facts_text(t, c);
    text_add(t, "%s%d tensors and %d nodes are the same", c->n_tensor || c->n_node || c->n_fact ? "\n" : "", c->same_tensors, c->same_nodes);
    if (c->stored_otherwise) text_add(t, "; %d %s stored in another form", c->stored_otherwise, c->stored_otherwise == 1 ? "tensor is" : "tensors are");
    text_add(t, "\n");
}

static void lists_json(Json *j, const Comparison *c)
{
    json_array(j, "nodes");
    for (int i = 0; i < c->n_node; i++) {
        json_line(j, NULL);
        json_string(j, "name", c->node[i].name);
        json_string(j, "operator", c->node[i].op_type);
        json_string(j, "status", status(c->node[i].kind));
        json_string(j, "what", c->node[i].what);
        json_end(j);
    }
    json_end(j);
    json_array(j, "metadata");
    for (int i = 0; i < c->n_fact; i++) {
        json_line(j, NULL);
        json_string(j, "what", c->fact[i].what);
        json_string(j, "a", c->fact[i].a);
        json_string(j, "b", c->fact[i].b);
        json_end(j);
    }
    json_end(j);
}

static void diff_json(Text *t, const Settings *s, const Comparison *c)
{
    Json j = { .out = t };
    Table table = tensor_table(t->arena, c);
    t->failed |= !table.cell;
    if (!table.cell) return;
    json_object(&j, NULL);
    report_tool_json(&j, "diff");
    json_string(&j, "a", s->argument[0]);
    json_string(&j, "b", s->argument[1]);
    json_bool(&j, "equal", !c->n_tensor && !c->n_node && !c->n_fact);
    json_int(&j, "same_tensors", c->same_tensors);
    json_int(&j, "same_nodes", c->same_nodes);
    json_int(&j, "stored_otherwise", c->stored_otherwise);
    table_json(&j, "tensors", &table);
    lists_json(&j, c);
    json_end(&j);
}

static Err compare(Arena *arena, Model *a, Model *b, Comparison **c)
{
    TRY(model_refresh(a));
    TRY(model_refresh(b));
    return models_compare(arena, a, b, c);
}

static Err show(Arena *arena, const Settings *s, const Comparison *c)
{
    Text t = { .arena = arena };
    if (s->json) {
        diff_json(&t, s, c);
        TRY(console_json(arena, s->json, &t));
        if (strcmp(s->json, "-") == 0) return OK;
        t = (Text){ .arena = arena };
    }
    if (s->quiet) return OK;
    diff_text(&t, c);
    return console_print(&t);
}

static int diff(Arena *arena, const Settings *s)
{
    Model *a = NULL, *b = NULL;
    Comparison *c;
    int code;
    Err e = reports_check(arena, s, s->argument[0], s->argument[1]);
    if (e != OK) return console_error(arena, e, false);
    if (model_open(arena, s, s->argument[0], &a, &code) && model_open(arena, s, s->argument[1], &b, &code)) {
        e = compare(arena, a, b, &c);
        bool reading = e != OK;
        if (e == OK) e = show(arena, s, c);
        code = e != OK ? console_error(arena, e, reading) : c->n_tensor || c->n_node || c->n_fact ? EXIT_DIFFERENT : EXIT_DONE;
    }
    model_free(a);
    model_free(b);
    return code;
}

const Command command_diff = {
    .name = "diff",
    .arguments = "A B",
    .n_argument_min = 2,
    .n_argument_max = 2,
    .summary = "Shows what differs between two models, tensor by tensor.",
    .about = "Compares tensors (by name: how many elements changed, became zero, are zero no longer, the largest change), nodes (added, removed, changed) and "
             "metadata. How a file stores a tensor does not count.\n"
             "Exit code 0: no differences; 9: the models differ.\n",
    .examples = "oneshot diff m.onnx m.oneshot.onnx\n"
                "oneshot diff -q a.onnx b.onnx && echo same\n",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .run = diff,
};
