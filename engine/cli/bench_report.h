/* What `oneshot bench` says. JSON keys are those of deepsparse.benchmark, with more beside them; latencies are in milliseconds for one inference (a batch). */
#pragma once
#include "engine/cli/bench_layers.h"

/* The table, unless --quiet or --json -, and the JSON where --json says. The first contender is what the others are compared with. times: of its steps, or NULL. */
Err bench_report(Bench *b, Contender *const *c, int n, const LayerTimes *times);
/* What stands before the figures: model, inputs, processor. */
void bench_head(Text *t, const Bench *b, const char *path);
/* The same in JSON, with the figures of one contender; the caller ends the object. */
void bench_json_head(Json *j, const Bench *b, const Contender *c);
