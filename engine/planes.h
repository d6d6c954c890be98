/* Steps that work plane by plane through a window of kernels/plane.h, plane m of the output from plane m of the input: depthwise convolutions and pools. Some rows
 * of some planes can be had by themselves, so that such a step can take over the product before it (engine/pair.h). */
#pragma once
#include "engine/multiply.h"

/* Rows first ... end - 1 of the outputs m ... m + n - 1: that of m at run->y + at, `y_plane` elements from one to the next. x: row `top` of the first input plane, of
 * which `height` rows are there, `plane` elements apart; w: weights of output 0 where they are no constant, NULL otherwise. */
typedef struct PlaneArea { const float *x, *w; size_t plane, at, y_plane; int top, height, first, end, m, n; } PlaneArea;

typedef struct Planes Planes;
struct Planes {
    PanelWindow window;            /* its plane: a whole one */
    int outputs, together;         /* of an image; of an area that should go to one call, for the L1 cache */
    const float *bias;             /* a folded one; NULL: that of the step */
    void (*area)(const Planes *planes, const MultiplyRun *run, const PlaneArea *area);
};

/* The window of an area. */
PanelWindow planes_window(const Planes *planes, const PlaneArea *area);
/* Puts an area where it lies in the whole output of an image. */
void planes_place(const Planes *planes, int64_t image, PlaneArea *area);
