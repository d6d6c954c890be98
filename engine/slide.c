#include "engine/slide.h"
#include <math.h>
#include <string.h>

/* Rows and columns that the windows reach, padding included. */
static int reach(const PanelWindow *g, int axis) { return g->out[axis] + g->kernel[axis] - 1; }

size_t slide_scratch(const PanelWindow *g) { return ((size_t)reach(g, 0) + 2) * (size_t)reach(g, 1); }

static void fill_padded(const PanelWindow *g, const float *x, float *to)
{
    int rows = reach(g, 0), columns = reach(g, 1);
    int first = g->pad[1] < 0 ? 0 : g->pad[1], from = first - g->pad[1], n = columns - first < g->in[1] - from ? columns - first : g->in[1] - from;
    for (int r = 0; r < rows; r++, to += columns) {
        int row = r - g->pad[0];
        for (int c = 0; c < columns; c++) to[c] = -INFINITY;
        if (row >= 0 && row < g->in[0] && n > 0) memcpy(to + first, x + (size_t)row * (size_t)g->in[1] + from, (size_t)n * sizeof *to);
    }
}

/* The larger of each element and the one `step` rows of `columns` behind it, for `rows` rows. */
static void join_rows(const Kernels *k, float *a, size_t columns, int rows, int step)
{
    static const Combine max = { ARITHMETIC_MAX, 1, 1 };
    for (int r = 0; r < rows; r++) k->combine_f32(&max, a + (size_t)r * columns, a + (size_t)(r + step) * columns, a + (size_t)r * columns, columns);
}

/* y[i] = the larger of x[i] and x[i + step]: neither row is the other */
static void join_columns(const Kernels *k, const float *x, float *y, int n, int step)
{
    static const Combine max = { ARITHMETIC_MAX, 1, 1 };
    k->combine_f32(&max, x, x + step, y, (size_t)n);
}

void slide_max(const Kernels *k, const PanelWindow *g, const float *x, float *scratch, float *y)
{
    int columns = reach(g, 1), left = reach(g, 0), done = 1;
    float *even = scratch, *spare = scratch + (size_t)left * (size_t)columns, *odd = spare + columns;
    fill_padded(g, x, scratch);
    for (; 2 * done <= g->kernel[0]; left -= done, done *= 2) join_rows(k, scratch, (size_t)columns, left - done, done);
    if (done < g->kernel[0]) join_rows(k, scratch, (size_t)columns, g->out[0], g->kernel[0] - done);
    for (int r = 0; r < g->out[0]; r++, even += columns) {
        float *from = even, *to = spare;
        int n = columns;
        for (done = 1; 2 * done <= g->kernel[1]; done *= 2) {
            n -= done;
            join_columns(k, from, to, n, done);
            from = to;
            to = to == spare ? odd : spare;
        }
        if (done < g->kernel[1]) join_columns(k, from, y + (size_t)r * (size_t)g->out[1], g->out[1], g->kernel[1] - done);
        else memcpy(y + (size_t)r * (size_t)g->out[1], from, (size_t)g->out[1] * sizeof *y);
    }
}
