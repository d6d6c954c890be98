/* The samples of --data, one after the other. */
#pragma once
#include "engine/cli/console.h"
#include "recipes/samples.h"

typedef struct SampleLoop {
    const Settings *s;
    Arena *scratch;                    /* emptied after each sample */
    const Value **input; int n_input;  /* of plan_inputs */
    Samples samples;
    bool   failed;                     /* an error was one of the samples, not of what runs on them */
    double seconds;                    /* that all took */
} SampleLoop;

/* Lists them, in arena. */
Err samples_find(SampleLoop *l, Arena *arena);
/* Calls each(user, tensors of the inputs, path, number) up to the first error, with a line of progress. */
Err samples_each(SampleLoop *l, Err (*each)(void *user, const Tensor *in, const char *path, int number), void *user);
