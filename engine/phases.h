/* Inputs of few channels that a dense product reads without a packed panel.
 *
 * Rows are copied with their padding, and with a stride of 2 columns 0, 2, 4 ... lie apart from columns 1, 3, 5 ...: its phases. Then what a tap sees for pixels of an
 * output row that follow each other follows each other, and lies equally far from the first tap's for all pixels: see DensePart.offset. Of a few output rows at a
 * time, so that all stays in a cache. */
#pragma once
#include "kernels/kernels.h"

typedef struct Phases {
    const Kernels *kernels;
    PanelWindow window;
    int    channels;
    int    rows;               /* of the output, whose inputs memory has room for; 0: panels are packed */
    int    height;             /* rows of those inputs */
    size_t pitch;              /* floats from phase to phase */
    size_t floats;             /* of memory; 0: none */
} Phases;

/* What memory holds: so many rows of image x, from the first one on that output row `first` sees. x NULL: nothing yet. */
typedef struct PhasesHeld { const float *x; int first, height; float *memory; } PhasesHeld;

Phases phases_plan(const PanelWindow *g, int channels, const Kernels *kernels);
/* Brings what columns n0 ... n0 + n - 1 of x see, n <= PANEL_COLUMNS; at[i]: where those from n0 + PANEL_VECTOR * i on see the first tap. Returns the offsets of all
 * taps. */
const int32_t *phases_hold(const Phases *p, const float *x, int64_t n0, int n, PhasesHeld *held, const float **at);
