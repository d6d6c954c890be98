/* The command line: one table of options for each command. The table drives parsing, --help, `oneshot help COMMAND` and bash completion (through the
 * hidden `oneshot complete`), and a test compares the manual page with it, so that none of them can drift. */
#pragma once
#include "recipes/report_text.h"
#include <stddef.h>

typedef struct Words { const char **at; int n; } Words;      /* at ends with NULL; at is NULL while n is 0 */

/* The settings of all commands. A command's options fill the fields that they name; the others keep their defaults. */
typedef struct Settings {
    const char *model, *data, *random, *output, *json, *scope, *pattern, *format, *profile, *against, *python, *dense, *sweep, *svg;
    double sparsity, seconds, warmup;  /* < 0: not given */
    double time_limit;                 /* seconds; 0: none */
    size_t memory_limit;               /* bytes; 0: not given */
    int  threads, batch, streams;      /* 0: not given */
    Words include, exclude, layer, shape;
    bool regroup, allow_empty_channels, dry_run, quiet, verbose, force, external_data, inline_data, help, version, per_layer, dense_of_itself, bench;
    const char *argument[2]; int n_argument;
} Settings;

typedef enum OptionKind { OPTION_FLAG, OPTION_TEXT, OPTION_FILE, OPTION_CHOICE, OPTION_COUNT, OPTION_SHARE, OPTION_SECONDS, OPTION_SIZE, OPTION_WORDS } OptionKind;

typedef struct Option {
    const char *name;                  /* without the dashes */
    char letter;                       /* 0: none */
    OptionKind kind;
    size_t field;                      /* offsetof in Settings */
    const char *value;                 /* what its value is called; NULL for flags */
    const char *choices;               /* OPTION_CHOICE: "a|b|c" */
    const char *brief;                 /* its line on the screen of --help; NULL: there it is only named */
    const char *help;                  /* sentences for `oneshot help COMMAND` */
} Option;

/* Rows that commands share. */
#define FIELD(name) offsetof(Settings, name)
#define ROW_MODEL_TO_RUN \
    { "model", 0, OPTION_FILE, FIELD(model), "FILE", NULL, "the ONNX model to run", "The ONNX model to run." }
#define ROW_THREADS \
    { "threads", 0, OPTION_COUNT, FIELD(threads), "N", NULL, "default: one for each processor", "How many threads to use. Default: one for each processor." }
#define ROW_LIMITS \
    { "memory-limit", 0, OPTION_SIZE, FIELD(memory_limit), "SIZE", NULL, "default: three quarters of the machine's", \
      "How much memory the model may take, such as 500M or 8G; what needs more is refused before it is allocated. Default: three quarters of the machine's." }, \
    { "time-limit", 0, OPTION_SECONDS, FIELD(time_limit), "S", NULL, "per sample; default: none", \
      "How many seconds a sample may take. The clock is looked at before each operator and each turn of a loop. Default: no limit." }
#define ROW_QUIET \
    { "quiet", 'q', OPTION_FLAG, FIELD(quiet), NULL, NULL, "print nothing", "Print nothing; warnings and errors remain." }
#define ROW_HELP \
    { "help", 'h', OPTION_FLAG, FIELD(help), NULL, NULL, "print this", "Print one screen of help and exit." }

typedef struct Command {
    const char *name;
    const char *arguments;             /* positional ones as the usage line shows them, "" for none */
    int n_argument_min, n_argument_max;
    const char *summary;               /* one line */
    const char *about;                 /* paragraphs for `oneshot help COMMAND`, separated by \n */
    const char *note;                  /* a sentence for the screen of --help; NULL: none */
    const char *examples;              /* lines */
    const Option *option; int n_option;
    int (*run)(Arena *arena, const Settings *s);   /* returns the exit code */
} Command;

/* Fills s from the words after the command. ERR_ARG with a sentence for the user; ERR_NOMEM. */
Err options_parse(Arena *arena, const Command *c, int n, char **word, Settings *s);
/* A share from "0.8" or "80%", in [0,1). ERR_ARG; what names the option in the sentence. */
Err share_parse(const char *text, const char *what, double *share);
/* The one among candidates (NULL-terminated) that word is probably a slip of; NULL if none is near. */
const char *nearest(const char *word, const char *const *candidates);

enum { HELP_LINES = 24, HELP_COLUMNS = 80 };
void help_screen(Text *t, const Command *c, const Command *const *all, int n);    /* --help: at most HELP_LINES x HELP_COLUMNS */
void help_full(Text *t, const Command *c);                                  /* `oneshot help COMMAND` */
void help_commands(Text *t, const Command *const *all, int n);                     /* `oneshot help` */
/* `oneshot complete COMMAND`: a line for each option: its name with dashes, a tab, and what follows it: "-" nothing, "file", "text" or the choices. */
void help_completion(Text *t, const Command *c);

/* The commands. sparsify comes first and is the one that runs when no command is named. */
extern const Command command_sparsify, command_inspect, command_diff, command_convert, command_run, command_compare, command_bench, command_tune;
