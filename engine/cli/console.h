/* What the commands say and where: results on stdout, warnings and errors on stderr, files whole or not at all. */
#pragma once
#include "engine/cli/options.h"
#include "engine/seconds.h"

/* Exit codes, documented in docs/oneshot.1. */
enum {
    EXIT_DONE = 0, EXIT_INTERNAL = 1, EXIT_USAGE = 2, EXIT_MODEL = 3, EXIT_UNSUPPORTED = 4, EXIT_SAMPLES = 5, EXIT_ACCURACY = 6, EXIT_TARGET = 7,
    EXIT_SYSTEM = 8, EXIT_DIFFERENT = 9,
};

/* Every command's run function keeps what it has to say and to clean up here. */
enum { WARNINGS_MAX = 16 };
typedef struct Console {
    Arena *arena;
    const Settings *settings;
    const char *warning[WARNINGS_MAX]; int n_warning;
} Console;

/* Prints "oneshot: error: <err_text()>" and returns the exit code of e. ERR_IO is the model's fault while reading, the system's later. */
int  console_error(Arena *arena, Err e, bool reading);
/* Prints the warning at once and keeps it for the report. */
void console_warn(Console *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes all of the text to stdout. ERR_IO. */
Err  console_print(const Text *t);
/* Writes a report where --json says ("-": stdout). ERR_IO. */
Err  console_json(Arena *arena, const char *path, const Text *t);
/* Finds out before the work whether a report can be written where an option says, `what` ("-", NULL: yes). ERR_ARG: it would replace model a or b (NULL:
 * none); ERR_IO. */
Err  report_check(Arena *arena, const char *what, const char *path, const char *a, const char *b);
/* The same for all reports of the settings, no two of which may go to one file. */
Err  reports_check(Arena *arena, const Settings *s, const char *a, const char *b);
/* The columns of the terminal that stdout is; 0 when it is none. */
int  console_width(void);
/* Title words in bold when stdout is a terminal and NO_COLOR is not set (https://no-color.org); "" otherwise. */
const char *console_bold(bool on);

/* Finds out whether a file that is to be written, `what`, would replace one of those of a model: itself, then its data. ERR_ARG. */
Err  file_spares(const char *what, const char *path, const char *const *file, int n);
/* The same for a report and a loaded model ("-", NULL: no file). ERR_ARG; ERR_NOMEM. */
Err  report_spares(const char *what, const char *path, Model *m);
/* And for all reports of the settings. */
Err  reports_spare(const Settings *s, Model *m);
/* Loads the model, whose files no report of the settings may replace. On failure says why, and for files of other frameworks how to export them, and
 * returns false with the exit code. */
bool model_open(Arena *arena, const Settings *s, const char *path, Model **out, int *code);
/* True when both paths lead to one existing file. */
bool same_file(const char *a, const char *b);
/* True when what is written to one path (NULL: none) replaces what is written to the other, there already or not. */
bool same_place(Arena *arena, const char *a, const char *b);
int64_t peak_memory(void);             /* bytes */
