/* The report of a pruning job: what happened to each layer, and what it comes to. As text for people and as JSON (docs/report.md) for programs; both
 * read the same structures, and the layers come from one description of columns. */
#pragma once
#include "recipes/digest.h"
#include "recipes/prune.h"
#include "recipes/report_table.h"
#include "recipes/survey.h"

enum { REPORT_SCHEMA = 1 };              /* grows when a key changes its meaning or goes away; new keys do not count */

typedef struct Timing { const char *what; double seconds; } Timing;

typedef struct PruneReport {
    const Model *model;
    const Survey *survey;
    const PruneOptions *options;
    const PruneResult *result;           /* of prune_plan; after prune_apply the zeros are counted, before they are the plan */
    const char *output;                  /* where the model is, or would be, written */
    bool dry_run;                        /* nothing was applied or written */
    const char *sha256;                  /* of the source */
    FileSizes before, after;             /* after: unused in a dry run */
    const char *const *warning; int n_warning;
    Timing timing[8]; int n_timing;      /* phases in order */
    int threads;
    int64_t peak_bytes;                  /* resident memory */
} PruneReport;

typedef struct ReportStyle {
    int  width;                          /* columns of the terminal; 0: unlimited */
    bool all_layers;                     /* also in models with hundreds of layers, which are shown in groups otherwise */
    bool timings;
    bool inspect;                        /* layers as they are, not what becomes of them */
} ReportStyle;

enum { REPORT_LAYERS_MAX = 40 };         /* with more, layers that are alike share a line */

void report_text(Text *t, const PruneReport *r, const ReportStyle *style);
void report_json(Text *t, const PruneReport *r);

/* Parts that `oneshot inspect` shares. */
void report_model_json(Json *j, const Model *m, const Survey *v);    /* the member "model" */
void report_sizes_json(Json *j, const Survey *v);                    /* the member "sizes" */
void report_sizes_text(Text *t, const Survey *v, int width);         /* one paragraph, nothing if no size was open */
void report_tool_json(Json *j, const char *command);                 /* schema_version, tool, command */
