/* What `oneshot bench` consists of: contenders that run the same inputs, and the race that times them in turn.
 *
 * A contender is a model in this executor (dense or not), or another runtime in a process of its own. Each has been started (loaded, planned, run once, all of
 * it timed) before the race. In the race every round lets each contender run for a short time, one after the other, so that what the machine does meanwhile meets
 * all of them; figures of two contenders are compared round by round. */
#pragma once
#include "engine/cli/console.h"
#include "engine/cli/processor.h"
#include "engine/plan.h"
#include "recipes/statistics.h"

enum { MAX_STREAMS = 256 };

/* What all contenders of one call share. */
typedef struct Bench {
    Arena *arena;
    const Settings *settings;
    Processor processor;
    int  threads, streams;         /* of all streams; inferences in flight */
    bool pinned;
    double seconds, warmup;        /* of each contender */
    uint64_t seed;
    /* Inputs, in the order of plan_inputs of the first model: */
    const char **name; Tensor *input; int n_input;
    int n_sample;                  /* input holds n_sample * n_input tensors; runs take the samples in turn. All of one shape */
    int64_t batch;
    const char *const *choice;     /* the sizes that the user chose, for model_survey */
    const char *sizes;             /* a sentence about sizes that were assumed; NULL: none */
} Bench;

typedef struct Startup { double load, plan, first; int64_t peak_bytes; } Startup;      /* seconds; memory that it took at most, -1: unknown */

typedef struct Contender Contender;
struct Contender {
    const char *name;              /* "oneshot", "sparse", "dense", or the other runtime's */
    const char *version;           /* of another runtime; NULL: this program */
    const char *path;              /* of the model */
    Startup startup;
    /* Runs inferences for this long, at least one, and adds them to `latency` and `busy`. */
    Err (*round)(Bench *b, Contender *c, double seconds);
    void *state;
    Series latency;                /* seconds, of every inference; one that is the n-th of n in flight counts whole */
    Series pace;                   /* median latency of every round */
    double busy;                   /* seconds of all rounds */
    double error;                  /* how far its outputs are from the first contender's, relative to their largest magnitude; < 0: not compared */
};

/* bench_race.c: adds the latencies of a round (which it sorts) that took this long by the wall clock. */
Err contender_add(Contender *c, Series *round, double seconds);

/* bench_input.c: opens settings->model (or the given path) once to settle sizes and makes or reads the inputs. */
Err bench_inputs(Bench *b, const char *path, int *code);

/* bench_executor.c: this executor as a contender. */
typedef struct Executor {
    Model *model;
    Plan **plan; int n_plan;       /* one for each stream */
    Tensor *input;                 /* b->input in the order of this model's inputs */
    int64_t resident;              /* memory before the model was loaded */
    double load;
} Executor;
Err  executor_load(Bench *b, const char *path, Executor *out);
/* Plans and runs once. executor_load came before; the model may have been edited meanwhile. */
Err  executor_start(Bench *b, Executor *x, bool dense, Contender *out);
void executor_stop(Executor *x);

/* bench_rival.c: another runtime as a contender, in a Python process (bench_rival.py, which is built into the program). */
typedef struct Rival { const char *runtime; int pid, fd; } Rival;      /* "onnxruntime", "deepsparse" */
/* Starts settings->against with the model, the inputs, the threads and the CPUs of b; it has run once then. ERR_IO when there is no Python that has it, or it refuses
 * the model. rival_stop after failure too. */
Err  rival_start(Bench *b, const char *model, Rival *out, Contender *contender);
/* Fetches its outputs for the first sample: sets data of out[i], whose type and size say what is expected. */
Err  rival_outputs(Bench *b, const Rival *r, Tensor *out, int n);
void rival_stop(Rival *r);

/* bench_race.c ---- */
/* Warms up and races, all from the beginning; afterwards latency is sorted. */
Err bench_race(Bench *b, Contender *const *c, int n);
/* How many times as long a contender takes as another: the ratio of the medians over the rounds, and the quartiles of the rounds' ratios. Rounds count alike: a
 * contender runs more inferences while the machine is quiet, so the median of all of them would flatter whom the quiet met. */
typedef struct Ratio { double median, low, high; } Ratio;
Ratio ratio_of(const Bench *b, const Contender *first, const Contender *c);
/* How far outputs are from those of the plan's last run: the largest difference relative to the output's largest magnitude. ERR_SHAPE when types or shapes differ. */
Err outputs_compare(const Plan *p, const Tensor *other, double *error);

/* bench_sweep.c: speed against imposed sparsity. */
Err bench_sweep(Bench *b);
