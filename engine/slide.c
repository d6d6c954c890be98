#include "engine/slide.h"
#include <math.h>
#include <string.h>

/* Rows and columns that the windows reach, padding included. */
static int reach(const PanelWindow *g, int axis) { return g->out[axis] + g->kernel[axis] - 1; }

size_t slide_scratch(const PanelWindow *g) { return (size_t)reach(g, 0) * (size_t)reach(g, 1); }

static void fill_padded(const PanelWindow *g, const float *x, float *to)
{
    int rows = reach(g, 0), columns = reach(g, 1);
    int first = g->pad[1] < 0 ? 0 : g->pad[1], from = first - g->pad[1], n = columns - first < g->in[1] - from ? columns - first : g->in[1] - from;
    #pragma omp simd
    for (size_t i = 0; i < slide_scratch(g); i++) to[i] = -INFINITY;
    for (int r = 0; r < rows; r++, to += columns) {
        int row = r - g->pad[0];
        if (row >= 0 && row < g->in[0] && n > 0) memcpy(to + first, x + (size_t)row * (size_t)g->in[1] + from, (size_t)n * sizeof *to);
    }
}

/* In place of each of the first n elements the largest of `kernel` ones that lie `step` apart: all rows in one call. What the ends of rows become is never looked at. */
static void join(const Kernels *k, float *a, size_t n, size_t kernel, size_t step)
{
    static const Combine max = { ARITHMETIC_MAX, 1, 1 };
    size_t done = 1, left = n + (kernel - 1) * step;
    for (; 2 * done <= kernel; done *= 2) {
        left -= done * step;
        k->combine_f32(&max, a, a + done * step, a, left);
    }
    if (done < kernel) k->combine_f32(&max, a, a + (kernel - done) * step, a, n);
}

void slide_max(const Kernels *k, const PanelWindow *g, const float *x, float *scratch, float *y)
{
    size_t columns = (size_t)reach(g, 1), out = (size_t)g->out[1], kernel = (size_t)g->kernel[1];
    fill_padded(g, x, scratch);
    join(k, scratch, (size_t)g->out[0] * columns, (size_t)g->kernel[0], columns);
    join(k, scratch, (size_t)g->out[0] * columns - (kernel - 1), kernel, 1);
    for (int r = 0; r < g->out[0]; r++) memcpy(y + (size_t)r * out, scratch + (size_t)r * columns, out * sizeof *y);
}
