#include "engine/cli/console.h"
#include "engine/cli/foreign.h"
#include "onnx/file.h"
#include "recipes/digest.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int exit_code(Err e, bool reading)
{
    switch (e) {
    case OK:              return EXIT_DONE;
    case ERR_NOMEM: case ERR_TIME: return EXIT_SYSTEM;
    case ERR_IO:          return reading ? EXIT_MODEL : EXIT_SYSTEM;
    case ERR_FORMAT: case ERR_SHAPE: case ERR_NUMERIC: return EXIT_MODEL;
    case ERR_UNSUPPORTED: return EXIT_UNSUPPORTED;
    case ERR_ARG:         return EXIT_USAGE;
    }
    return EXIT_INTERNAL;
}

static bool colored(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return !(no && *no) && isatty(fd) && !(term && strcmp(term, "dumb") == 0);
}

static void say(Arena *arena, const char *kind, const char *color, const char *sentence)
{
    const char *shown = name_shown(arena, sentence);
    bool paint = colored(STDERR_FILENO);
    fprintf(stderr, "oneshot: %s%s:%s %s\n", paint ? color : "", kind, paint ? "\033[0m" : "", shown ? shown : "out of memory");
}

int console_error(Arena *arena, Err e, bool reading)
{
    say(arena, "error", "\033[1;31m", err_text());
    return exit_code(e, reading);
}

void console_warn(Console *c, const char *format, ...)
{
    Text t = { .arena = c->arena };
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    text_add(&t, "%s", line);
    say(c->arena, "warning", "\033[1;33m", line);
    if (c->n_warning < WARNINGS_MAX && !t.failed) c->warning[c->n_warning++] = text_done(&t);
}

Err console_print(const Text *t)
{
    TRY(text_check(t));
    fwrite(text_done(t), 1, t->length, stdout);
    if (fflush(stdout) != 0 || ferror(stdout)) return err_set(ERR_IO, "cannot write to the standard output: %s", strerror(errno));
    return OK;
}

static Err file_write(Arena *arena, const char *path, const Text *t)
{
    OutFile f;
    TRY(text_check(t));
    TRY(out_open(arena, path, &f));
    Span piece = { (const uint8_t *)text_done(t), t->length };
    Err e = out_write(&f, &piece, 1);              /* not synced: a report can be made again */
    if (e == OK) e = out_commit(&f);
    out_close(&f);
    return e;
}

Err console_json(Arena *arena, const char *path, const Text *t)
{
    struct stat st;
    if (strcmp(path, "-") == 0) return console_print(t);
    if (stat(path, &st) != 0 || S_ISREG(st.st_mode)) return file_write(arena, path, t);
    FILE *f = fopen(path, "w");                    /* a pipe or a device: nothing to replace */
    if (!f) return err_set(ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    bool written = !text_check(t) && fwrite(text_done(t), 1, t->length, f) == t->length;
    if ((fclose(f) != 0) | !written) return err_set(ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    return OK;
}

Err report_check(Arena *arena, const char *what, const char *path, const char *a, const char *b)
{
    struct stat st;
    if (!path || strcmp(path, "-") == 0) return OK;
    if ((a && same_file(path, a)) || (b && same_file(path, b))) return err_set(ERR_ARG, "%s '%s' would replace a model.", what, path);
    if (stat(path, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) return out_check(arena, path);
    return access(path, W_OK) == 0 ? OK : err_set(ERR_IO, "cannot write '%s': %s", path, strerror(errno));
}

int console_width(void)
{
    enum { NARROWEST = 60 };
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 0;
    return size.ws_col < NARROWEST ? NARROWEST : size.ws_col;
}

const char *console_bold(bool on)
{
    if (!colored(STDOUT_FILENO)) return "";
    return on ? "\033[1m" : "\033[0m";
}

Err file_spares(const char *what, const char *path, const char *const *file, int n)
{
    for (int i = 0; i < n; i++)
        if (same_file(path, file[i])) return err_set(ERR_ARG, "%s '%s' would replace %s.", what, path, i ? "data of a model" : "a model");
    return OK;
}

Err report_spares(const char *what, const char *path, Model *m)
{
    const char **file;
    int n;
    if (!path || strcmp(path, "-") == 0) return OK;
    TRY(model_files(m, &file, &n));
    return file_spares(what, path, file, n);
}

/* Where an option sends a report; NULL: nowhere. */
enum { REPORTS = 3 };
typedef struct Report { const char *option, *path; } Report;
typedef struct Reports { Report at[REPORTS]; } Reports;

static Reports reports_of(const Settings *s)
{
    return (Reports){ { { "--json", s->json }, { "--profile", s->profile }, { "--svg", s->svg } } };
}

Err reports_check(Arena *arena, const Settings *s, const char *a, const char *b)
{
    Reports r = reports_of(s);
    for (int i = 0; i < REPORTS; i++) {
        TRY(report_check(arena, r.at[i].option, r.at[i].path, a, b));
        for (int k = 0; k < i; k++)
            if (same_place(arena, r.at[k].path, r.at[i].path)) return err_set(ERR_ARG, "%s and %s cannot both go to '%s'.", r.at[k].option, r.at[i].option, r.at[i].path);
    }
    return OK;
}

Err reports_spare(const Settings *s, Model *m)
{
    Reports r = reports_of(s);
    for (int i = 0; i < REPORTS; i++) TRY(report_spares(r.at[i].option, r.at[i].path, m));
    return OK;
}

bool model_open(Arena *arena, const Settings *s, const char *path, Model **out, int *code)
{
    Model *m = NULL;
    Err e = model_load(path, &m);
    bool loaded = e == OK;
    if (loaded) e = reports_spare(s, m);
    if (e == OK) {
        *out = m;
        return true;
    }
    *code = console_error(arena, e, true);
    if (loaded) model_free(m);
    else if (e == ERR_UNSUPPORTED || e == ERR_FORMAT || e == ERR_IO) foreign_help(arena, path);
    return false;
}

bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static const char *name_in_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A file is replaced by its name, links are not followed; a pipe or a device takes any number of writers. */
bool same_place(Arena *arena, const char *a, const char *b)
{
    struct stat st;
    if (!a || !b || (stat(a, &st) == 0 && !S_ISREG(st.st_mode))) return false;
    const char *folder_a = folder_of(arena, a), *folder_b = folder_of(arena, b);
    return folder_a && folder_b && same_file(folder_a, folder_b) && strcmp(name_in_folder(a), name_in_folder(b)) == 0;
}

int64_t peak_memory(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (int64_t)use.ru_maxrss * 1024 : 0;
}
