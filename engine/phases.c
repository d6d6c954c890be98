#include "engine/phases.h"
#include "kernels/whole.h"
#include <string.h>

/* Measured: layers of 16 and 32 channels gain and want that much; a megabyte leaves the L2 cache. */
enum { MOST_FLOATS = 96 << 10, LINE = 16 };

static int64_t reach(const PanelWindow *g, int axis) { return (int64_t)(g->kernel[axis] - 1) * g->dilation[axis] + 1; }
/* Rows that so many output rows see. */
static int height_of(const PanelWindow *g, int rows) { return (int)((rows - 1) * (int64_t)g->stride[0] + reach(g, 0)); }
/* Columns of a padded row that are seen. */
static int64_t width_of(const PanelWindow *g) { return (int64_t)(g->out[1] - 1) * g->stride[1] + reach(g, 1); }
static size_t taps_of(const Phases *p) { return (size_t)p->channels * (size_t)p->window.kernel[0] * (size_t)p->window.kernel[1]; }
static size_t row_of(const Phases *p) { return (size_t)p->window.stride[1] * p->pitch; }

Phases phases_plan(const PanelWindow *g, int channels, const Kernels *kernels)
{
    Phases p = { .kernels = kernels, .window = *g, .channels = channels };
    int64_t most = MOST_FLOATS, fewest = (PANEL_COLUMNS - PANEL_VECTOR) / g->out[1] + 2;      /* rows that a panel meets */
    if (g->stride[1] > 2 || g->out[1] % PANEL_VECTOR || g->kernel[0] * g->kernel[1] == 1 || g->pad[1] < 0 || g->pad[1] >= reach(g, 1))
        return p;
    p.pitch = (size_t)round_up(pieces_in(width_of(g), g->stride[1]), LINE);
    int64_t left = most / ((int64_t)row_of(&p) * channels) - reach(g, 0);
    if (left < 0 || left / g->stride[0] + 1 < fewest)
        return p;
    p.rows = least(left / g->stride[0] + 1, g->out[0]);
    p.height = height_of(g, p.rows);
    p.floats = (size_t)round_up((int64_t)taps_of(&p), LINE) + (size_t)channels * (size_t)p.height * row_of(&p);
    return p;
}

static void write_offsets(const Phases *p, int32_t *offset)
{
    const PanelWindow *g = &p->window;
    for (int c = 0; c < p->channels; c++)
        for (int ky = 0; ky < g->kernel[0]; ky++)
            for (int kx = 0; kx < g->kernel[1]; kx++) {
                int row = c * p->height + ky * g->dilation[0], column = kx * g->dilation[1];
                *offset++ = row * (int)row_of(p) + column % g->stride[1] * (int)p->pitch + column / g->stride[1];
            }
}

/* A row of the input; NULL: it lies outside. */
static void write_row(const Phases *p, const float *x, float *to)
{
    const PanelWindow *g = &p->window;
    int pad = g->pad[1], n = least(width_of(g) - pad, g->in[1]);
    memset(to, 0, row_of(p) * sizeof *to);
    if (!x)
        return;
    if (g->stride[1] == 1)
        memcpy(to + pad, x, (size_t)n * sizeof *x);
    else
        p->kernels->split_f32(x, (size_t)n, to + (size_t)(pad % 2) * p->pitch + pad / 2, to + (size_t)((pad + 1) % 2) * p->pitch + (pad + 1) / 2);
}

const int32_t *phases_hold(const Phases *p, const float *x, int64_t n0, int n, PhasesHeld *held, const float **at)
{
    const PanelWindow *g = &p->window;
    int32_t *offset = (int32_t *)(void *)held->memory;
    float *rows = held->memory + round_up((int64_t)taps_of(p), LINE);
    int first = (int)(n0 / g->out[1]), last = (int)((n0 + n - 1) / g->out[1]);
    if (held->x != x || first < held->first || last - held->first >= p->rows) {
        *held = (PhasesHeld) { x, first, 0, held->memory };
        write_offsets(p, offset);
    }
    for (int end = height_of(g, last + 1 - held->first); held->height < end; held->height++) {
        int64_t iy = (int64_t)held->first * g->stride[0] + held->height - g->pad[0];
        for (int c = 0; c < p->channels; c++)
            write_row(p, iy >= 0 && iy < g->in[0] ? x + (size_t)c * g->plane + (size_t)iy * (size_t)g->in[1] : NULL,
                      rows + (size_t)(c * p->height + held->height) * row_of(p));
    }
    for (int j = 0; j < n; j += PANEL_VECTOR) {
        int64_t oy = (n0 + j) / g->out[1] - held->first, ox = (n0 + j) % g->out[1];
        at[j / PANEL_VECTOR] = rows + (size_t)oy * (size_t)g->stride[0] * row_of(p) + ox;
    }
    return offset;
}
