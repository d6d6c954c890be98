#include "recipes/report_table.h"
#include <math.h>

enum { GAP = 2, NAME_COLUMNS_MIN = 12, NAME_COLUMNS_MAX = 48, NOTE_INDENT = 6, NOTE_COLUMNS_MIN = 18 };

const char *shape_shown(Arena *arena, const Shape *s, const char *const *symbol)
{
    if (s->rank < 0) return "?";
    if (s->rank == 0) return "scalar";
    Text t = { .arena = arena };
    for (int i = 0; i < s->rank; i++) {
        if (i) text_add(&t, shape_known(s) ? "x" : " x ");
        if (!dim_is_symbol(s->dim[i])) {
            text_add(&t, "%lld", (long long)s->dim[i]);
            continue;
        }
        const char *name = name_shown(arena, symbol[s->dim[i] - SYMBOL_BASE]);
        text_add(&t, "%s", name ? name : "?");
    }
    return t.failed ? NULL : text_done(&t);
}

void json_shape(Json *j, const char *key, const Shape *s, const char *const *symbol)
{
    if (s->rank < 0) {
        json_null(j, key);
        return;
    }
    json_array(j, key);
    int outer = j->line_depth;
    if (!outer) j->line_depth = j->depth;
    for (int i = 0; i < s->rank; i++)
        if (dim_is_symbol(s->dim[i])) json_string(j, NULL, symbol[s->dim[i] - SYMBOL_BASE]);
        else json_int(j, NULL, s->dim[i]);
    json_end(j);
    j->line_depth = outer;
}

/* What a cell shows; NULL when memory is out. */
static const char *cell_shown(Arena *arena, const Table *table, const Cell *c, CellKind kind)
{
    switch (kind) {
    case CELL_NAME:   return name_shown(arena, c->text);
    case CELL_COUNT:  return c->count < 0 ? "?" : arena_printf(arena, "%s", count_short(c->count).at);
    case CELL_SHARE:  return c->share < 0 ? "?" : arena_printf(arena, "%s", share_short(c->share).at);
    case CELL_NUMBER: return isnan(c->share) ? "?" : arena_printf(arena, "%.3g", c->share);
    case CELL_CHANGE:
        if (c->share == c->after) return arena_printf(arena, "%s", share_short(c->share).at);
        return arena_printf(arena, "%s -> %7s", share_short(c->share).at, share_short(c->after).at);
    case CELL_SHAPE:  return shape_shown(arena, c->shape, table->symbol);
    case CELL_FLAG:   return c->flag ? "yes" : "no";
    case CELL_TEXT: case CELL_NOTE: break;
    }
    return c->text ? c->text : "";
}

static bool right_aligned(CellKind kind)
{
    return kind == CELL_COUNT || kind == CELL_SHARE || kind == CELL_NUMBER || kind == CELL_CHANGE;
}

/* Narrows the widest name columns until the table without its note fits. */
static void fit(const Table *table, int *columns, int width)
{
    for (;;) {
        int total = 0, widest = -1;
        for (int c = 0; c < table->n_column; c++) {
            const Column *k = &table->column[c];
            if (!k->title || k->kind == CELL_NOTE) continue;
            total += columns[c] + (total ? GAP : 0);
            if (k->kind == CELL_NAME && (widest < 0 || columns[c] > columns[widest])) widest = c;
        }
        if (total <= width || widest < 0 || columns[widest] <= NAME_COLUMNS_MIN) return;
        columns[widest]--;
    }
}

static void add_row(Text *t, const Table *table, const char *const *shown, const int *columns, int width)
{
    int at = 0, start = 0;                         /* columns written so far; where the next column of the table starts */
    for (int c = 0; c < table->n_column; c++) {
        CellKind kind = table->column[c].kind;
        if (!table->column[c].title) continue;
        const char *text = kind == CELL_NAME && width ? name_shortened(t->arena, shown[c], columns[c]) : shown[c];
        if (!text) {
            t->failed = true;
            return;
        }
        int have = text_columns(text), blank = start + (right_aligned(kind) ? columns[c] - have : 0) - at;
        if (at && blank < GAP) blank = GAP;        /* after a name longer than its column */
        start += columns[c] + GAP;
        if (!have) continue;
        if (kind == CELL_NOTE && width && at + blank + have > width) {
            text_bytes(t, "\n", 1);
            text_wrap(t, text, NOTE_INDENT, width);
            return;
        }
        text_fill(t, ' ', blank);
        text_add(t, "%s", text);
        at += blank + have;
    }
    text_bytes(t, "\n", 1);
}

void table_text(Text *t, const Table *table, int width)
{
    size_t n = (size_t)table->n_column;
    const char **shown = arena_array(t->arena, n * ((size_t)table->n_row + 1), sizeof *shown);
    int *columns = arena_array(t->arena, n, sizeof *columns);
    if (!shown || !columns) {
        t->failed = true;
        return;
    }
    for (size_t r = 0; r <= (size_t)table->n_row; r++)
        for (size_t c = 0; c < n; c++) {
            const Column *k = &table->column[c];
            const char **s = &shown[r * n + c];
            *s = !k->title ? "" : r ? cell_shown(t->arena, table, &table->cell[(r - 1) * n + c], k->kind) : k->title;
            if (!*s) {
                t->failed = true;
                return;
            }
            int have = text_columns(*s);
            if (have > columns[c]) columns[c] = have;
        }
    for (size_t c = 0; !width && c < n; c++)           /* whole names, but a few long ones shall not push everything to the right */
        if (table->column[c].kind == CELL_NAME && columns[c] > NAME_COLUMNS_MAX) columns[c] = NAME_COLUMNS_MAX;
    if (width) fit(table, columns, width);
    for (size_t r = 0; r <= (size_t)table->n_row; r++) add_row(t, table, &shown[r * n], columns, width);
}

static void json_cell(Json *j, const Column *k, const Cell *c, const char *const *symbol)
{
    switch (k->kind) {
    case CELL_NAME: case CELL_TEXT: json_string(j, k->key, c->text ? c->text : ""); break;
    case CELL_NOTE: json_string(j, k->key, c->text && *c->text ? c->text : NULL); break;
    case CELL_COUNT:
        if (c->count < 0) json_null(j, k->key);
        else json_int(j, k->key, c->count);
        break;
    case CELL_SHARE:
        if (c->share < 0) json_null(j, k->key);
        else json_number(j, k->key, c->share);
        break;
    case CELL_NUMBER: json_number(j, k->key, c->share); break;
    case CELL_SHAPE: json_shape(j, k->key, c->shape, symbol); break;
    case CELL_FLAG:  json_bool(j, k->key, c->flag); break;
    case CELL_CHANGE: break;
    }
}

void table_json(Json *j, const char *key, const Table *table)
{
    json_array(j, key);
    for (int r = 0; r < table->n_row; r++) {
        json_line(j, NULL);
        for (int c = 0; c < table->n_column; c++)
            if (table->column[c].key) json_cell(j, &table->column[c], &table->cell[(size_t)r * (size_t)table->n_column + (size_t)c], table->symbol);
        json_end(j);
    }
    json_end(j);
}
