/* One line on stderr that says how far long work is: only on a terminal, only after 0.3 s, gone when the work is done. */
#pragma once
#include "engine/cli/console.h"

typedef struct ProgressLine {
    bool on;               /* stderr is a terminal and the user did not ask for quiet */
    bool shown;            /* the line stands on the screen */
    double start, last;    /* seconds: of the work, of the last drawing */
} ProgressLine;

ProgressLine progress_start(const Settings *s);
/* For Progress.tell (recipes/prune.h): user is the ProgressLine. total 0: only the words. */
void progress_show(void *user, const char *what, int64_t done, int64_t total);
void progress_end(ProgressLine *p);
