/* The command `oneshot`: finds the command's row, parses its options, runs it. Everything else is in one file a command. */
#include "engine/cli/console.h"
#include "engine/cli/processor.h"
#include <fcntl.h>
#include <omp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const Command *const table[] = {
    &command_sparsify, &command_inspect, &command_diff, &command_convert, &command_run, &command_compare, &command_bench, &command_tune,
};
enum { N_COMMAND = sizeof table / sizeof *table };

static const Command *find_command(const char *name)
{
    for (int i = 0; i < N_COMMAND; i++)
        if (strcmp(table[i]->name, name) == 0) return table[i];
    return NULL;
}

static int unknown_command(Arena *arena, const char *word)
{
    const char *names[N_COMMAND + 2] = { [N_COMMAND] = "help" };
    size_t n = strlen(word);
    for (int i = 0; i < N_COMMAND; i++) names[i] = table[i]->name;
    const char *near = nearest(word, names);
    Err e;
    if (strcmp(word, "prune") == 0) e = err_set(ERR_ARG, "pruning needs no word: oneshot --model model.onnx --sparsity 0.8");
    else if (near) e = err_set(ERR_ARG, "'%s' is no command; did you mean '%s'?", word, near);
    else if ((n > 5 && strcmp(word + n - 5, ".onnx") == 0) || access(word, F_OK) == 0)
        e = err_set(ERR_ARG, "'%s' is no command; to prune it: oneshot --model %s --sparsity 0.8", word, word);
    else e = err_set(ERR_ARG, "'%s' is no command; `oneshot help` lists them.", word);
    return console_error(arena, e, false);
}

/* `oneshot help [COMMAND]` and the hidden `oneshot complete COMMAND`, which the bash completion asks. */
static int help(Arena *arena, int n, char **word, bool completion)
{
    Text t = { .arena = arena };
    const Command *c = n ? find_command(word[0]) : NULL;
    if (n && !c && strcmp(word[0], "help") != 0 && word[0][0] != '-') return unknown_command(arena, word[0]);
    if (completion && c) help_completion(&t, c);
    else if (completion)
        for (int i = 0; i < N_COMMAND; i++) text_add(&t, "%s\n", table[i]->name);
    else if (c) help_full(&t, c);
    else help_commands(&t, table, N_COMMAND);
    Err e = console_print(&t);
    return e == OK ? EXIT_DONE : console_error(arena, e, false);
}

static int run_command(Arena *arena, const Command *c, int n, char **word)
{
    Settings s;
    Text t = { .arena = arena };
    Err e = options_parse(arena, c, n, word, &s);
    if (e == OK && !s.help && !s.version) return c->run(arena, &s);
    if (e == OK) {
        if (s.help) help_screen(&t, c, table, N_COMMAND);
        else text_add(&t, "oneshot %s\n", ONESHOT_VERSION);
        e = console_print(&t);
    }
    return e == OK ? EXIT_DONE : console_error(arena, e, false);
}

static int run(Arena *arena, int n, char **word)
{
    if (n == 0) {
        Text t = { .arena = arena };
            help_screen(&t, &command_sparsify, table, N_COMMAND);
        fputs(text_done(&t), stderr);
        return EXIT_USAGE;
    }
    if (strcmp(word[0], "help") == 0) return help(arena, n - 1, word + 1, false);
    if (strcmp(word[0], "complete") == 0) return help(arena, n - 1, word + 1, true);
    if (word[0][0] == '-') return run_command(arena, &command_sparsify, n, word);
    const Command *c = find_command(word[0]);
    return c ? run_command(arena, c, n - 1, word + 1) : unknown_command(arena, word[0]);
}

/* A mapped file that another program cuts short raises SIGBUS where it is read, in several threads perhaps, of which one speaks; nothing can be saved then. */
static void file_shrank(int signal_number)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    static const char text[] = "oneshot: error: a file was shortened while it was read (or the disk failed). Nothing was written.\n";
    (void)signal_number;
    while (atomic_flag_test_and_set(&said)) pause();
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(EXIT_SYSTEM);
}

/* A file opened under number 0, 1 or 2 would receive what is printed. */
static void occupy_standard_files(void)
{
    for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR))
        if (fd > STDERR_FILENO) {
            close(fd);
            return;
        }
}

/* Where a control group grants less time than the CPUs have, more threads than that only wait for each other. */
static void respect_quota(Arena *arena)
{
    Processor p;
    if (!getenv("OMP_NUM_THREADS") && processor_read(arena, &p) == OK && p.available < omp_get_max_threads()) omp_set_num_threads(p.available);
}

int main(int argc, char **argv)
{
    occupy_standard_files();
    signal(SIGBUS, file_shrank);
    signal(SIGXFSZ, SIG_IGN);              /* beyond `ulimit -f`, writing fails with a message instead */
    Arena *arena = arena_new();
    if (!arena) {
        fputs("oneshot: error: not enough memory to start\n", stderr);
        return EXIT_SYSTEM;
    }
    respect_quota(arena);
    int code = run(arena, argc - 1, argv + 1);
    arena_free(arena);
    return code;
}
