/* Where the time of an inference goes: step by step, as a table, as JSON and as a trace. */
#pragma once
#include "engine/cli/bench.h"
#include "recipes/report_table.h"

/* One step of the plan; it may stand for several nodes, of which `name` is the one that multiplies or the first. */
typedef struct LayerTime {
    const Step *step;
    const char *name;
    double  seconds, share;        /* median over the runs; of the sum over the steps */
    int64_t macs;                  /* with dense weights; -1: not counted */
    double  zeros;                 /* share of the weight; -1: it has none */
} LayerTime;

/* In the order in which they run. split: the batch is run in pieces; seconds and macs are the batch's then, all threads at work, shapes those of a piece. */
typedef struct LayerTimes { LayerTime *layer; int n; double together; int runs; bool split; } LayerTimes;

/* Runs the first plan of x for about this long, timing every step. */
Err  steps_measure(Bench *b, Executor *x, double seconds, LayerTimes *out);
void steps_text(Text *t, const LayerTimes *times, int width);
void steps_json(Json *j, const LayerTimes *times);        /* the member "layers" */
/* Runs a few inferences and writes when each step ran, in Chrome's trace format (chrome://tracing, Perfetto). */
Err  profile_write(Bench *b, Executor *x, const char *path);
