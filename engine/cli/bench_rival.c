/* Another runtime as a contender: a Python process that is told over a socket what to run. */
#include "engine/cli/bench.h"
#include "recipes/report_table.h"
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char PROGRAM[] =
#include "engine/cli/bench_rival.inc"
;

/* Talking --------------------------------------------------------------------------------------------------------------------------------- */

static Err lost(const Rival *r) { return err_set(ERR_IO, "The process of %s ended without an answer.", r->runtime); }

static Err write_all(const Rival *r, const void *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = send(r->fd, (const char *)bytes + done, n - done, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return lost(r);
        done += (size_t)k;
    }
    return OK;
}

static Err read_all(const Rival *r, void *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = read(r->fd, (char *)bytes + done, n - done);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return lost(r);
        done += (size_t)k;
    }
    return OK;
}

/* "ok BYTES WORDS" and the bytes, or the sentence of an error. words has room for 1024 characters. */
static Err read_answer(const Rival *r, Arena *arena, char *words, void **bytes, size_t *n)
{
    char line[1024], *end;
    size_t length = 0;
    for (char c = 0; c != '\n';) {
        TRY(read_all(r, &c, 1));
        if (length < sizeof line - 1 && c != '\n') line[length++] = c;
    }
    line[length] = 0;
    if (!strncmp(line, "error missing ", 14)) return err_set(ERR_UNSUPPORTED, "%s", line + 14);
    if (strncmp(line, "ok ", 3) != 0) return err_set(ERR_IO, "%s: %s", r->runtime, strncmp(line, "error ", 6) ? line : line + 6);
    *n = strtoull(line + 3, &end, 10);
    *bytes = arena_alloc(arena, *n);
    if (!*bytes) return err_set(ERR_NOMEM, "out of memory");
    if (words) memcpy(words, end + (*end == ' '), strlen(end));
    return read_all(r, *bytes, *n);
}

/* Starting ------------------------------------------------------------------------------------------------------------------------------- */

static Err spawn(const char *python, Rival *r)
{
    extern char **environ;
    int fd[2];
    posix_spawn_file_actions_t actions;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0) return err_set(ERR_IO, "no socket can be had: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fd[1], STDOUT_FILENO);
    char *const argument[] = { (char *)python, "-c", (char *)PROGRAM, (char *)r->runtime, NULL };
    int why = posix_spawnp(&r->pid, python, &actions, NULL, argument, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fd[1]);
    r->fd = fd[0];
    if (!why) return OK;
    r->pid = 0;
    return err_set(ERR_IO, "'%s' cannot be started: %s", python, strerror(why));
}

static Err send_setup(Bench *b, const Rival *r, const char *model)
{
    Text t = { .arena = b->arena };
    Json j = { .out = &t };
    json_line(&j, NULL);
    json_string(&j, "model", model);
    json_int(&j, "threads", b->threads / b->streams);
    json_int(&j, "streams", b->streams);
    json_int(&j, "samples", b->n_sample);
    json_array(&j, "cpus");
    for (int i = 0; i < (b->pinned ? b->threads : b->processor.n_cpu); i++) json_int(&j, NULL, b->processor.cpu[i]);
    json_end(&j);
    json_array(&j, "inputs");
    for (int i = 0; i < b->n_input; i++) {
        json_object(&j, NULL);
        json_string(&j, "name", b->name[i]);
        json_string(&j, "dtype", dtype_name(b->input[i].dtype));
        json_shape(&j, "shape", &b->input[i].shape, NULL);
        json_int(&j, "bytes", (int64_t)b->input[i].bytes);
        json_end(&j);
    }
    json_end(&j);
    json_end(&j);
    TRY(text_check(&t));
    TRY(write_all(r, text_done(&t), t.length));
    for (int i = 0; i < b->n_sample * b->n_input; i++) TRY(write_all(r, b->input[i].data, b->input[i].bytes));
    return OK;
}

static Err rival_round(Bench *b, Contender *c, double seconds)
{
    double *time;
    void *bytes;
    size_t n;
    char command[64];
    const Rival *r = c->state;
    int length = snprintf(command, sizeof command, "round %.6f\n", seconds);
    TRY(write_all(r, command, (size_t)length));
    TRY(read_answer(r, b->arena, NULL, &bytes, &n));
    if (n < 2 * sizeof *time) return lost(r);
    time = bytes;
    return contender_add(c, &(Series){ b->arena, time + 1, (int)(n / sizeof *time) - 1 }, time[0]);
}

static Err connect_rival(Bench *b, const char *python, const char *model, Rival *r, Contender *out)
{
    void *bytes;
    size_t n;
    char words[1024];
    TRY(spawn(python, r));
    TRY(read_answer(r, b->arena, NULL, &bytes, &n));
    TRY(send_setup(b, r, model));
    TRY(read_answer(r, b->arena, words, &bytes, &n));
    if (n != 3 * sizeof(double)) return lost(r);
    const double *figure = bytes;
    *out = (Contender){ .name = r->runtime, .version = arena_printf(b->arena, "%s", words), .path = model, .round = rival_round, .state = r,
                        .startup = { figure[0], 0, figure[1], (int64_t)figure[2] }, .latency.arena = b->arena, .pace.arena = b->arena, .error = -1 };
    return out->version ? OK : err_set(ERR_NOMEM, "out of memory");
}

/* The first python3 on the PATH that has onnxruntime. */
static Err search_path(Bench *b, const char *model, Rival *r, Contender *out)
{
    const char *path = getenv("PATH");
    bool found = false;
    for (size_t n; path && *path; path += n + (path[n] == ':')) {
        n = strcspn(path, ":");
        const char *python = arena_printf(b->arena, "%.*s/python3", (int)n, path);
        if (!python) return err_set(ERR_NOMEM, "out of memory");
        if (access(python, X_OK) != 0) continue;
        found = true;
        Err e = connect_rival(b, python, model, r, out);
        if (e != ERR_UNSUPPORTED) return e;
        rival_stop(r);
    }
    return found ? err_set(ERR_IO, "no python3 on the PATH has %s; --python names one that has it (pip install %s).", r->runtime, r->runtime)
                 : err_set(ERR_IO, "there is no python3 on the PATH; --python names one that has %s.", r->runtime);
}

Err rival_start(Bench *b, const char *model, Rival *r, Contender *out)
{
    *r = (Rival){ b->settings->against, 0, -1 };
    const char *python = b->settings->python;
    if (!python) return search_path(b, model, r, out);
    Err e = connect_rival(b, python, model, r, out);
    if (e != ERR_UNSUPPORTED) return e;
    const char *why = arena_printf(b->arena, "%s", err_text());
    return err_set(ERR_IO, "'%s' has no %s (%s); pip install %s adds it.", python, r->runtime, why ? why : "", r->runtime);
}

Err rival_outputs(Bench *b, const Rival *r, Tensor *out, int n)
{
    for (int i = 0; i < n; i++) {
        char command[32];
        size_t bytes;
        int length = snprintf(command, sizeof command, "output %d\n", i);
        TRY(write_all(r, command, (size_t)length));
        TRY(read_answer(r, b->arena, NULL, &out[i].data, &bytes));
        if (bytes != out[i].bytes) return err_set(ERR_SHAPE, "The output %d of %s has %zu bytes, ours %zu.", i, r->runtime, bytes, out[i].bytes);
    }
    return OK;
}

void rival_stop(Rival *r)
{
    if (r->fd >= 0) close(r->fd);
    if (r->pid > 0) {
        kill(r->pid, SIGKILL);
        waitpid(r->pid, NULL, 0);
    }
    *r = (Rival){ r->runtime, 0, -1 };
}
