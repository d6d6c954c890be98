/* Line charts as SVG, made for web pages and papers: light, with a grid, labelled, and readable without colours. */
#pragma once
#include "recipes/report_text.h"

typedef struct ChartLine {
    const char *name;
    const double *x, *y; int n;        /* finite; x ascending */
    const double *low, *high;          /* NULL, or the spread of each point */
    bool dashed;                       /* a bound: thin, dashed, without points and labels */
} ChartLine;

typedef struct Chart {
    const char *title, *subtitle, *x_title, *y_title;      /* subtitle may be NULL */
    const char *x_unit, *y_unit;       /* after each number: " %", "x"; "" for none */
    double y_max;                      /* lines are cut off above it; 0: the largest of those that are not dashed */
    const ChartLine *line; int n_line; /* at most CHART_LINES */
} Chart;

enum { CHART_LINES = 6 };

/* A step of 1, 2 or 5 times a power of ten that divides `range` into at most `most` parts. */
double chart_step(double range, int most);
/* The whole document. Axes start at 0. */
void chart_svg(Text *t, const Chart *chart);
