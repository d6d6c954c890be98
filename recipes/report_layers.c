#include "recipes/report_layers.h"
#include <string.h>

enum { C_LAYER, C_WEIGHT, C_LAYERS, C_OPERATOR, C_SHAPE, C_DTYPE, C_WEIGHTS, C_ZEROS, C_BEFORE, C_WANTED, C_AFTER, C_SPARSITY, C_MACS, C_MACS_SHARE,
       C_PRUNED, C_USES, C_REASON, N_COLUMN };

static const Column columns[N_COLUMN] = {
    [C_LAYER]      = { "layer", "layer", CELL_NAME },
    [C_WEIGHT]     = { "weight", "weight", CELL_NAME },
    [C_LAYERS]     = { NULL, "layers", CELL_COUNT },
    [C_OPERATOR]   = { "operator", "operator", CELL_TEXT },
    [C_SHAPE]      = { "shape", "shape", CELL_SHAPE },
    [C_DTYPE]      = { "dtype", NULL, CELL_TEXT },
    [C_WEIGHTS]    = { "weights", "weights", CELL_COUNT },
    [C_ZEROS]      = { NULL, "zeros", CELL_CHANGE },
    [C_BEFORE]     = { "zeros_before", NULL, CELL_COUNT },
    [C_WANTED]     = { "zeros_wanted", NULL, CELL_COUNT },
    [C_AFTER]      = { "zeros_after", NULL, CELL_COUNT },
    [C_SPARSITY]   = { "sparsity", NULL, CELL_SHARE },
    [C_MACS]       = { "macs", NULL, CELL_COUNT },
    [C_MACS_SHARE] = { "macs_share", "MACs", CELL_SHARE },
    [C_PRUNED]     = { "pruned", NULL, CELL_FLAG },
    [C_USES]       = { "uses", NULL, CELL_COUNT },
    [C_REASON]     = { "reason", "note", CELL_NOTE },
};

static const char *layer_name(const PruneLayer *l)
{
    return l->weight->node->name && *l->weight->node->name ? l->weight->node->name : l->weight->name;
}

static double macs_share(const PruneReport *r, int64_t macs)
{
    if (r->survey->macs < 0 || macs < 0) return -1;
    return r->survey->macs ? (double)macs / (double)r->survey->macs : 0;
}

static void fill_row(Cell *row, const PruneReport *r, const PruneLayer *l)
{
    const Weight *w = l->weight;
    double n = w->elements ? (double)w->elements : 1;
    row[C_LAYER].text = layer_name(l);
    row[C_WEIGHT].text = w->name;
    row[C_LAYERS].count = 1;
    row[C_OPERATOR].text = w->node->op_type;
    row[C_SHAPE].shape = &w->constant->tensor.shape;
    row[C_DTYPE].text = dtype_name(w->constant->tensor.dtype);
    row[C_WEIGHTS].count = w->elements;
    row[C_ZEROS].share = (double)l->zeros_before / n;
    row[C_ZEROS].after = (double)l->zeros_after / n;
    row[C_BEFORE].count = l->zeros_before;
    row[C_WANTED].count = l->zeros_wanted;
    row[C_AFTER].count = l->zeros_after;
    row[C_SPARSITY].share = (double)l->zeros_after / n;
    row[C_MACS].count = w->macs;
    row[C_MACS_SHARE].share = macs_share(r, w->macs);
    row[C_PRUNED].flag = l->prune;
    row[C_USES].count = w->n_use;
    row[C_REASON].text = l->reason;
}

static Cell *all_rows(Arena *arena, const PruneReport *r)
{
    Cell *cell = arena_array(arena, (size_t)r->result->n_layer, N_COLUMN * sizeof *cell);
    for (int i = 0; cell && i < r->result->n_layer; i++) fill_row(&cell[i * N_COLUMN], r, &r->result->layer[i]);
    return cell;
}

/* Without a change to report: the zeros that are there, and which weights could be pruned. */
static void describe_only(Column *shown)
{
    shown[C_ZEROS].title = NULL;
    shown[C_BEFORE].key = "zeros";
    shown[C_WANTED].key = shown[C_AFTER].key = NULL;
    shown[C_SPARSITY].title = "zeros";
    shown[C_PRUNED].key = "prunable";
}

void layers_json(Json *j, const PruneReport *r, bool inspect)
{
    Column shown[N_COLUMN];
    memcpy(shown, columns, sizeof columns);
    if (inspect) describe_only(shown);
    Cell *cell = all_rows(j->out->arena, r);
    if (!cell) {
        j->out->failed = true;
        return;
    }
    table_json(j, "layers", &(Table){ shown, N_COLUMN, cell, r->result->n_layer, r->model->symbol });
}

/* ---- Groups: layers that differ in nothing that the table shows but their names and zeros ---- */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool alike(const PruneLayer *a, const PruneLayer *b)
{
    return a->prune == b->prune && same_text(a->weight->node->op_type, b->weight->node->op_type) && same_text(a->reason, b->reason) &&
           shape_equal(&a->weight->constant->tensor.shape, &b->weight->constant->tensor.shape);
}

const char *names_pattern(Arena *arena, const char *const *name, int n)
{
    size_t head = strlen(name[0]), tail = head, shortest = head;
    for (int i = 1; i < n; i++) {
        size_t length = strlen(name[i]), h = 0, t = 0;
        while (h < head && name[i][h] && name[i][h] == name[0][h]) h++;
        while (t < tail && t < length && name[i][length - 1 - t] == name[0][strlen(name[0]) - 1 - t]) t++;
        head = h;
        tail = t;
        if (length < shortest) shortest = length;
    }
    if (n == 1) return name[0];
    if (head + tail > shortest) tail = shortest - head;
    while (head && ((unsigned char)name[0][head] & 0xC0) == 0x80) head--;        /* not inside a character */
    while (tail && ((unsigned char)name[0][strlen(name[0]) - tail] & 0xC0) == 0x80) tail--;
    if (!head && !tail) return arena_printf(arena, "%s ..", name[0]);
    return arena_printf(arena, "%.*s*%s", (int)head, name[0], name[0] + strlen(name[0]) - tail);
}

/* Sums the rows of the layers from first on that are like it. done marks the layers that have a row; name is scratch. */
static bool fill_group(Arena *arena, Cell *row, const PruneReport *r, int first, bool *done, const char **name)
{
    const PruneResult *p = r->result;
    fill_row(row, r, &p->layer[first]);
    int64_t elements = 0, before = 0, after = 0, macs = 0;
    int n = 0;
    for (int i = first; i < p->n_layer; i++) {
        const PruneLayer *l = &p->layer[i];
        if (done[i] || !alike(&p->layer[first], l)) continue;
        done[i] = true;
        name[n++] = layer_name(l);
        elements += l->weight->elements;
        before += l->zeros_before;
        after += l->zeros_after;
        macs = macs < 0 || l->weight->macs < 0 ? -1 : macs + l->weight->macs;
    }
    row[C_LAYER].text = names_pattern(arena, name, n);
    row[C_LAYERS].count = n;
    row[C_WEIGHTS].count = elements;
    row[C_ZEROS].share = elements ? (double)before / (double)elements : 0;
    row[C_ZEROS].after = elements ? (double)after / (double)elements : 0;
    row[C_SPARSITY].share = row[C_ZEROS].after;
    row[C_MACS_SHARE].share = macs_share(r, macs);
    return row[C_LAYER].text != NULL;
}

static Cell *grouped_rows(Arena *arena, const PruneReport *r, int *n_row)
{
    size_t n = (size_t)r->result->n_layer;
    Cell *cell = arena_array(arena, n, N_COLUMN * sizeof *cell);
    bool *done = arena_array(arena, n, sizeof *done);
    const char **name = arena_array(arena, n, sizeof *name);
    if (!cell || !done || !name) return NULL;
    *n_row = 0;
    for (int i = 0; i < r->result->n_layer; i++)
        if (!done[i] && !fill_group(arena, &cell[(*n_row)++ * N_COLUMN], r, i, done, name)) return NULL;
    return cell;
}

void layers_text(Text *t, const PruneReport *r, const ReportStyle *style)
{
    Column shown[N_COLUMN];
    memcpy(shown, columns, sizeof columns);
    bool grouped = !style->all_layers && r->result->n_layer > REPORT_LAYERS_MAX;
    int n_row = r->result->n_layer;
    Cell *cell = grouped ? grouped_rows(t->arena, r, &n_row) : all_rows(t->arena, r);
    if (!cell) {
        t->failed = true;
        return;
    }
    if (!grouped) shown[C_LAYERS].title = NULL;
    if (!style->all_layers) shown[C_WEIGHT].title = NULL;
    if (style->inspect) describe_only(shown);
    table_text(t, &(Table){ shown, N_COLUMN, cell, n_row, r->model->symbol }, style->width);
    if (grouped) text_add(t, "(%d layers; those that are alike share a line, --verbose lists each)\n", r->result->n_layer);
}
