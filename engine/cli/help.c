/* What --help, `oneshot help` and completion print, made from the tables. */
#include "engine/cli/options.h"
#include <string.h>

enum { OPTION_COLUMN = 24 };          /* where the explanations start */

/* "-o, --output FILE" */
static void add_option_name(Text *t, const Option *o)
{
    if (o->letter) text_add(t, "-%c, ", o->letter);
    text_add(t, o->value ? "--%s %s" : "--%s", o->name, o->value);
}

static bool is_default(const Command *c)
{
    return strcmp(c->name, command_sparsify.name) == 0;
}

static void add_usage(Text *t, const Command *c)
{
    if (is_default(c)) text_add(t, "Usage: oneshot --model M.onnx --sparsity S [OPTION]...\n");
    else text_add(t, "Usage: oneshot %s %s [OPTION]...\n", c->name, c->arguments);
    text_add(t, "%s\n\n", c->summary);
}

static void add_examples(Text *t, const Command *c)
{
    text_add(t, "\nExamples:\n");
    for (const char *line = c->examples; *line;) {
        size_t length = strcspn(line, "\n");
        text_add(t, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

void help_screen(Text *t, const Command *c, const Command *const *all, int n)
{
    add_usage(t, c);
    Text more = { .arena = t->arena };
    for (int i = 0; i < c->n_option; i++) {
        const Option *o = &c->option[i];
        if (!o->brief) {
            text_add(&more, more.length ? ", " : "Also: ");
            text_add(&more, o->value ? "--%s %s" : "--%s", o->name, o->value);
            continue;
        }
        size_t before = t->length;
        text_add(t, "  ");
        add_option_name(t, o);
        text_fill(t, ' ', OPTION_COLUMN - (int)(t->length - before));
        text_add(t, "%s\n", o->brief);
    }
    if (more.length) {
        text_add(&more, ".");
        text_wrap(t, text_done(&more), 2, HELP_COLUMNS);
    }
    if (c->note) text_wrap(t, c->note, 2, HELP_COLUMNS);
    Text others = { .arena = t->arena };
    if (is_default(c)) {
        text_add(&others, "Other commands:");
        for (int i = 0; i < n; i++)
            if (!is_default(all[i])) text_add(&others, " %s,", all[i]->name);
        text_add(&others, " help; ");
    }
    text_add(&others, "all about this one: oneshot help %s", c->name);
    text_wrap(t, text_done(&others), 2, HELP_COLUMNS);
    t->failed |= more.failed || others.failed;
    add_examples(t, c);
}

void help_full(Text *t, const Command *c)
{
    add_usage(t, c);
    for (const char *p = c->about; *p;) {
        size_t length = strcspn(p, "\n");
        const char *paragraph = arena_strndup(t->arena, p, length);
        text_wrap(t, paragraph ? paragraph : "", 0, HELP_COLUMNS);
        text_add(t, "\n");
        p += length + (p[length] == '\n');
    }
    text_add(t, "Options:\n");
    for (int i = 0; i < c->n_option; i++) {
        text_add(t, "  ");
        add_option_name(t, &c->option[i]);
        text_add(t, "\n");
        text_wrap(t, c->option[i].help, 6, HELP_COLUMNS);
    }
    add_examples(t, c);
}

void help_commands(Text *t, const Command *const *all, int n)
{
    text_add(t, "oneshot makes ONNX models sparse in one shot.\n\n");
    for (int i = 0; i < n; i++) {
        size_t before = t->length;
        if (is_default(all[i])) text_add(t, "  oneshot --model M.onnx");
        else text_add(t, "  oneshot %s %s", all[i]->name, all[i]->arguments);
        text_fill(t, ' ', 32 - (int)(t->length - before));
        text_add(t, "  %s\n", all[i]->summary);
    }
    text_add(t, "  %-30s  %s\n", "oneshot help [COMMAND]", "Explains a command: all options in full.");
    text_add(t, "\nThe command without a word is called sparsify: `oneshot help sparsify`, or one screen\nof it with `oneshot --help`. "
                "The manual page lists exit codes and files: man oneshot\n");
}

void help_completion(Text *t, const Command *c)
{
    for (int i = 0; i < c->n_option; i++) {
        const Option *o = &c->option[i];
        text_add(t, "--%s\t", o->name);
        switch (o->kind) {
        case OPTION_FLAG:   text_add(t, "-\n"); break;
        case OPTION_FILE:   text_add(t, "file\n"); break;
        case OPTION_CHOICE: text_add(t, "%s\n", o->choices); break;
        case OPTION_TEXT: case OPTION_COUNT: case OPTION_SHARE: case OPTION_SECONDS: case OPTION_SIZE: case OPTION_WORDS: text_add(t, "text\n"); break;
        }
    }
}
