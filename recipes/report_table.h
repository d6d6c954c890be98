/* Tables described once and written twice: for people, fitted to a width, and as a JSON array of objects.
 *
 * A column says its JSON key, its title and what kind of thing it holds; the kind decides alignment, units and rounding (text) and exactness (JSON). */
#pragma once
#include "recipes/report_json.h"

typedef enum CellKind {
    CELL_NAME,       /* text from a file: escaped, and the first to be shortened when the table is too wide */
    CELL_TEXT,
    CELL_COUNT,      /* int64; < 0: unknown ("?", null) */
    CELL_SHARE,      /* 0..1, shown in percent; < 0: unknown */
    CELL_NUMBER,     /* Cell.share as it is; NaN: unknown */
    CELL_CHANGE,     /* two shares, "0.0 % -> 80.0 %", or one if they are equal; in JSON left to two CELL_SHARE columns */
    CELL_SHAPE,      /* sizes; in JSON an array, symbols as strings */
    CELL_FLAG,       /* true or false; JSON only */
    CELL_NOTE,       /* words; the last column: moves to a line of its own where the width does not suffice. NULL or "": nothing */
} CellKind;

typedef struct Column {
    const char *key;       /* NULL: not in JSON */
    const char *title;     /* NULL: not in the text */
    CellKind kind;
} Column;

typedef struct Cell {
    const char *text;
    int64_t count;
    double share, after;
    const Shape *shape;
    bool flag;
} Cell;

typedef struct Table {
    const Column *column; int n_column;
    const Cell *cell; int n_row;                   /* row-major */
    const char *const *symbol;                     /* names for shapes */
} Table;

/* Title line, rows, no rule lines. width 0: as wide as it comes. */
void table_text(Text *t, const Table *table, int width);
void table_json(Json *j, const char *key, const Table *table);
/* "64x3x7x7", "batch x 3 x 224 x 224" with the symbols named, escaped and uncut; "scalar" for rank 0, "?" for an unknown rank. In the arena; NULL: out of memory. */
const char *shape_shown(Arena *arena, const Shape *s, const char *const *symbol);
void json_shape(Json *j, const char *key, const Shape *s, const char *const *symbol);
