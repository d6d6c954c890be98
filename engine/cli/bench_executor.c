/* This executor as a contender: plans of one model, one for each stream, in threads of their own. */
#include "engine/cli/bench.h"
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* A field of /proc/self/status in bytes: VmRSS, VmHWM; -1: unknown. */
static int64_t memory_field(const char *field)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long long kib = -1;
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, field, strlen(field))) sscanf(line + strlen(field), ": %lld", &kib);
    if (f) fclose(f);
    return kib < 0 ? -1 : kib * 1024;
}

/* From now on the peak is counted anew; false where the system does not let us. */
static bool forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    bool done = f && fputs("5", f) >= 0;
    return f && fclose(f) == 0 && done;
}

Err executor_load(Bench *b, const char *path, Executor *x)
{
    *x = (Executor){ .resident = forget_peak() ? memory_field("VmRSS") : -1 };
    double start = seconds_now();
    TRY(model_load(path, &x->model));
    TRY(ops_bind(x->model));
    x->load = seconds_now() - start;
    x->plan = arena_array(b->arena, (size_t)b->streams, sizeof *x->plan);
    return x->plan ? OK : err_set(ERR_NOMEM, "out of memory");
}

/* The shared inputs in the order of this model: by name, or by position where it names them differently. */
static Err match_inputs(Bench *b, Executor *x, const Value *const *input, int n, PlanInput *shape)
{
    if (n != b->n_input) return err_set(ERR_ARG, "'%s' has %d inputs, not %d.", x->model->path, n, b->n_input);
    x->input = arena_array(b->arena, (size_t)(n * b->n_sample) + 1, sizeof *x->input);
    if (!x->input) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < n && strcmp(b->name[k], input[i]->name)) k++;
        if (k == n) k = i;
        for (int s = 0; s < b->n_sample; s++) x->input[s * n + i] = b->input[s * n + k];
        shape[i] = (PlanInput){ input[i]->name, b->input[k].dtype, b->input[k].shape };
    }
    return OK;
}

/* Puts the calling thread and its OpenMP team on the CPUs of a stream. */
static void settle(const Bench *b, int stream)
{
    int threads = b->threads / b->streams;
    const int *cpu = b->processor.cpu + stream * threads;
    omp_set_num_threads(threads);
    if (!b->pinned) return;
    processor_pin(cpu, threads);       /* threads that the team starts inherit it */
    #pragma omp parallel num_threads(threads)
    processor_pin(cpu + omp_get_thread_num(), 1);
}

/* One stream of a round. */
typedef struct Stream {
    Bench *bench;
    const Executor *x;
    int number;
    pthread_t thread;
    double seconds, begin, end;    /* how long it shall run; when it did */
    Series latency;
    Err result;
    char text[1024];               /* of the error: messages belong to threads */
} Stream;

/* The first inference is not counted: it wakes threads and fills caches that others used meanwhile. */
static Err stream_run(Stream *s)
{
    const int n = s->bench->n_input;
    Plan *plan = s->x->plan[s->number];
    TRY(plan_run(plan, s->x->input, n));
    s->begin = s->end = seconds_now();
    for (int i = 0; !i || s->end - s->begin < s->seconds; i++) {
        double before = s->end;
        TRY(plan_run(plan, s->x->input + i % s->bench->n_sample * n, n));
        s->end = seconds_now();
        TRY(series_add(&s->latency, s->end - before));
    }
    return OK;
}

static void *stream_thread(void *user)
{
    Stream *s = user;
    settle(s->bench, s->number);
    s->result = stream_run(s);
    if (s->result != OK) snprintf(s->text, sizeof s->text, "%s", err_text());
    return NULL;
}

static Err run_streams(Stream *stream, int n)
{
    int started = 0;
    while (started < n && pthread_create(&stream[started].thread, NULL, stream_thread, &stream[started]) == 0) started++;
    for (int i = 0; i < started; i++) pthread_join(stream[i].thread, NULL);
    if (started < n) return err_set(ERR_NOMEM, "the threads of %d streams cannot be started", n);
    for (int i = 0; i < n; i++) if (stream[i].result != OK) return err_set(stream[i].result, "%s", stream[i].text);
    return OK;
}

/* Adds what the streams measured to the contender. */
static Err gather(Bench *b, Contender *c, const Stream *stream, int n)
{
    Series round = { .arena = b->arena };
    double begin = stream[0].begin, end = stream[0].end;
    for (int i = 0; i < n; i++) {
        if (stream[i].begin < begin) begin = stream[i].begin;
        if (stream[i].end > end) end = stream[i].end;
        for (int k = 0; k < stream[i].latency.n; k++) TRY(series_add(&round, stream[i].latency.at[k]));
    }
    return contender_add(c, &round, end - begin);
}

static Err executor_round(Bench *b, Contender *c, double seconds)
{
    int n = b->streams;
    Arena *scratch[MAX_STREAMS] = { NULL };
    Stream *stream = arena_array(b->arena, (size_t)n, sizeof *stream);
    Err e = stream ? OK : err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < n && e == OK; i++) {
        scratch[i] = arena_new();
        stream[i] = (Stream){ .bench = b, .x = c->state, .number = i, .seconds = seconds, .latency.arena = scratch[i] };
        if (!scratch[i]) e = err_set(ERR_NOMEM, "out of memory");
    }
    if (e == OK) e = n == 1 ? stream_run(&stream[0]) : run_streams(stream, n);
    if (e == OK) e = gather(b, c, stream, n);
    for (int i = 0; i < n; i++) arena_free(scratch[i]);
    return e;
}

Err executor_start(Bench *b, Executor *x, bool dense, Contender *out)
{
    const Value **input;
    int n;
    PlanOptions options = { .threads = b->threads / b->streams, .dense = dense };
    settle(b, 0);
    TRY(plan_inputs(x->model, &input, &n));
    PlanInput *shape = arena_array(b->arena, (size_t)n + 1, sizeof *shape);
    if (!shape) return err_set(ERR_NOMEM, "out of memory");
    TRY(match_inputs(b, x, input, n, shape));
    *out = (Contender){ .path = x->model->path, .round = executor_round, .state = x, .startup.load = x->load,
                        .latency.arena = b->arena, .pace.arena = b->arena, .error = -1 };
    double start = seconds_now();
    TRY(plan_build(x->model, shape, n, &options, &x->plan[x->n_plan]));
    double planned = seconds_now();
    TRY(plan_run(x->plan[x->n_plan++], x->input, n));
    out->startup.plan = planned - start;
    out->startup.first = seconds_now() - planned;
    if (x->resident >= 0) out->startup.peak_bytes = memory_field("VmHWM") - x->resident;
    else out->startup.peak_bytes = -1;
    for (; x->n_plan < b->streams; x->n_plan++) TRY(plan_build(x->model, shape, n, &options, &x->plan[x->n_plan]));
    return OK;
}

void executor_stop(Executor *x)
{
    for (int i = 0; i < x->n_plan; i++) plan_free(x->plan[i]);
    if (x->model) model_free(x->model);
    *x = (Executor){ 0 };
}
