/* The columns of a panel as runs of neighbouring pixels. */
#pragma once
#include "kernels/panel.h"

typedef struct Run { int64_t image; int y, x, at, n; } Run;    /* n pixels from (y, x) of an image on are columns at ... of the panel */

/* At most one for each column; their number. */
static inline int runs_of(const PanelWindow *g, const PanelPart *p, Run run[PANEL_COLUMNS])
{
    int64_t pixels = (int64_t)g->out[0] * g->out[1], image = p->n0 / pixels, pixel = p->n0 % pixels;
    int count = 0, y = (int)(pixel / g->out[1]), x = (int)(pixel % g->out[1]);
    for (int at = 0; at < p->n; at += run[count++].n, y++, x = 0) {
        if (y == g->out[0]) {
            y = 0;
            image++;
        }
        int n = g->out[1] - x < p->n - at ? g->out[1] - x : p->n - at;
        run[count] = (Run) { image, y, x, at, n };
    }
    return count;
}
