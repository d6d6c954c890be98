/* The processors that this process may use, and how to stay on them. */
#pragma once
#include "onnx/arena.h"
#include "onnx/error.h"
#include <stdbool.h>

typedef struct Processor {
    const char *name;          /* "AMD EPYC 9124 16-Core Processor"; "unknown" */
    int *cpu; int n_cpu;       /* numbers of the CPUs in the affinity mask, or of OpenMP's places: one of each core first, then their siblings */
    int  available;            /* n_cpu, or fewer where a cgroup grants less CPU time; at least 1 */
} Processor;

/* ERR_NOMEM; ERR_IO when the affinity mask cannot be read. */
Err processor_read(Arena *arena, Processor *out);
/* Lets the calling thread run on these CPUs only; false when the system refuses. */
bool processor_pin(const int *cpu, int n);
