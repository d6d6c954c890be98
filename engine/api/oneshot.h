/* oneshot: prunes ONNX models and runs them. The library's interface; link with `pkg-config --cflags --libs oneshot`.
 *
 *     oneshot_model *m;
 *     if (oneshot_load("model.onnx", &m) != ONESHOT_OK) return fail(oneshot_error());
 *     oneshot_prune_options o = oneshot_prune_defaults();
 *     o.sparsity = 0.8;
 *     if (oneshot_prune(m, &o) != ONESHOT_OK || oneshot_save(m, "sparse.onnx", 0) != ONESHOT_OK) ...
 *     oneshot_free(m);
 *
 * Errors: functions that can fail return a status; results are written only when it is ONESHOT_OK. The library never prints, never ends the process
 * and never changes signal handlers, so a program that wants to survive a file being cut short while it is mapped handles SIGBUS itself.
 * Threads: models are independent of each other; one model is used by one thread at a time, except by plans: while nobody prunes, saves, inspects or frees a
 * model, any number of threads may make and run plans of it, each plan in one thread at a time. Functions use OpenMP inside; pruning gives the same result for
 * any number of threads.
 * Strings are UTF-8 as far as the file's are; those returned belong to the model and live until oneshot_free unless stated otherwise. */
#ifndef ONESHOT_H
#define ONESHOT_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined __GNUC__
#define ONESHOT_API __attribute__((visibility("default")))
#else
#define ONESHOT_API
#endif

typedef enum oneshot_status {
    ONESHOT_OK = 0,
    ONESHOT_ERROR_MEMORY = 1,          /* an allocation failed */
    ONESHOT_ERROR_IO = 2,              /* open, read, write, sync or rename failed */
    ONESHOT_ERROR_FORMAT = 3,          /* not a valid ONNX model */
    ONESHOT_ERROR_UNSUPPORTED = 4,     /* valid, but not implemented here */
    ONESHOT_ERROR_SHAPE = 5,           /* types or shapes contradict each other */
    ONESHOT_ERROR_ARGUMENT = 6,        /* an argument is out of range or names nothing */
    ONESHOT_ERROR_NUMERIC = 7,         /* NaN or infinity where a number is needed */
    ONESHOT_ERROR_TIME = 8,            /* the time limit of a plan has passed */
} oneshot_status;

typedef struct oneshot_model oneshot_model;

ONESHOT_API const char *oneshot_version(void);         /* "0.1.0"; static */
/* One sentence about the last failure in the calling thread; valid until its next call of a function of this library. Never NULL. */
ONESHOT_API const char *oneshot_error(void);

/* Reads an ONNX model; free it with oneshot_free. Elements stay in the file, which is mapped and must not be changed until then. */
ONESHOT_API oneshot_status oneshot_load(const char *path, oneshot_model **model);
ONESHOT_API void           oneshot_free(oneshot_model *model);       /* NULL is allowed */
/* A size that the file leaves open, for counting multiply-adds: "batch=8", "ids=1,128". Before the first call of the functions below; otherwise sizes are
 * assumed as the command does (1 for batches, 224 for image sides, 128 for sequences). ERROR_ARGUMENT when called too late; what the text
 * names is checked by the first function below. The text is copied. */
ONESHOT_API oneshot_status oneshot_set_size(oneshot_model *model, const char *choice);

typedef struct oneshot_prune_options {
    double sparsity;                   /* share of the prunable weights that shall be zero, [0,1) */
    const char *scope;                 /* "uniform", "global", "erk", "lamp" */
    const char *pattern;               /* "unstructured", "N:M" such as "2:4", "RxC" blocks such as "4x1" */
    int regroup;                       /* blocks: choose output channels that share a mask by similarity */
    int allow_empty_channels;          /* an output channel may lose all its weights */
    const char *const *include;        /* NULL-terminated names, globs or "re:..." of layers to prune against the defaults; NULL: none */
    const char *const *exclude;        /* ... to leave alone; NULL: none */
} oneshot_prune_options;
/* Sparsity 0, uniform, unstructured. Start from these, so that fields added later have their defaults. */
ONESHOT_API oneshot_prune_options oneshot_prune_defaults(void);
/* Sets weights to zero by magnitude, in memory, and writes into the metadata what was done. May be called again with a higher sparsity. Weights in external
 * data are held in memory until the model is saved; call oneshot_keep_edits first where that is too much.
 * After a failure the model may be partly pruned: free it. */
ONESHOT_API oneshot_status oneshot_prune(oneshot_model *model, const oneshot_prune_options *options);
/* From now on pruned external tensors are kept in a file beside output_path, where oneshot_save must then write: models larger than memory. */
ONESHOT_API oneshot_status oneshot_keep_edits(oneshot_model *model, const char *output_path);

enum {
    ONESHOT_SAVE_EXTERNAL = 1,         /* tensors of 1 KiB and more to <path>.data */
    ONESHOT_SAVE_INLINE = 2,           /* external tensors into the file */
    ONESHOT_SAVE_SPARSE = 4,           /* sparse_initializer where that is smaller */
    ONESHOT_SAVE_DENSE = 8,            /* the other way round */
    ONESHOT_SAVE_FORCE = 16,           /* path may be the file that the model was read from */
};
/* Writes the model: whole or not at all; on failure what stood at path stands there still. flags: ONESHOT_SAVE_*, or'ed. */
ONESHOT_API oneshot_status oneshot_save(oneshot_model *model, const char *path, unsigned flags);

typedef struct oneshot_numbers {
    int64_t nodes, layers;             /* layers: weights that multiply activations */
    int64_t parameters, zeros;         /* of all weights and other floating-point constants, each once */
    int64_t prunable, prunable_zeros;  /* of the layers that are pruned by default; after oneshot_prune, of those that it pruned */
    int64_t macs, macs_left;           /* multiply-adds of one inference: dense, and without those by zero; -1: unknown */
} oneshot_numbers;
ONESHOT_API oneshot_status oneshot_inspect(oneshot_model *model, oneshot_numbers *numbers);

typedef struct oneshot_layer {
    const char *node, *weight, *op_type;   /* names; node may be "" */
    const int64_t *shape; int rank;        /* of the weight as the file stores it */
    int64_t elements, zeros, macs;         /* macs: dense; -1: unknown */
    int prunable;                          /* by default; after oneshot_prune: whether it was pruned */
    const char *reason;                    /* why not, or what was special; NULL: nothing to say */
} oneshot_layer;
/* Layer number index, from 0 to oneshot_numbers.layers - 1, in the order of their first use. ERROR_ARGUMENT beyond. */
ONESHOT_API oneshot_status oneshot_inspect_layer(oneshot_model *model, int64_t index, oneshot_layer *layer);

/* Running. A plan runs one model; several plans may run one model at the same time:
 *
 *     oneshot_plan *p;
 *     float x[3 * 224 * 224] = { ... }, *scores;
 *     oneshot_tensor in = { .type = ONESHOT_FLOAT32, .rank = 4, .shape = { 1, 3, 224, 224 }, .data = x }, out;
 *     if (oneshot_plan_new(m, NULL, &p) != ONESHOT_OK || oneshot_run(p, &in, 1, &out, 1) != ONESHOT_OK) return fail(oneshot_error());
 *     scores = out.data;
 *     oneshot_plan_free(p);
 *
 * What depends on the shapes of the inputs (which memory, which loops) is decided at the first run with them and kept for the next: a run with shapes that were
 * used lately decides nothing. Weights are packed at the first run of all; shapes share them. */
typedef struct oneshot_plan oneshot_plan;

/* Element types; the numbers of ONNX's TensorProto.DataType. Types below 8 bits are packed from the low bits up. */
typedef enum oneshot_type {
    ONESHOT_FLOAT32 = 1, ONESHOT_UINT8 = 2, ONESHOT_INT8 = 3, ONESHOT_UINT16 = 4, ONESHOT_INT16 = 5, ONESHOT_INT32 = 6, ONESHOT_INT64 = 7, ONESHOT_BOOL = 9,
    ONESHOT_FLOAT16 = 10, ONESHOT_FLOAT64 = 11, ONESHOT_UINT32 = 12, ONESHOT_UINT64 = 13, ONESHOT_BFLOAT16 = 16, ONESHOT_UINT4 = 21, ONESHOT_INT4 = 22,
} oneshot_type;
enum { ONESHOT_MAX_RANK = 12 };

typedef struct oneshot_tensor {
    const char *name;                  /* NULL for inputs that are given in the model's order */
    int type;                          /* oneshot_type; 0: the model does not say */
    int rank;                          /* -1: the model does not say */
    int64_t shape[ONESHOT_MAX_RANK];   /* -1: the model leaves the size open */
    void *data;                        /* dense, row-major */
    size_t bytes;                      /* of data; of inputs it is not read */
} oneshot_tensor;

typedef struct oneshot_plan_options {
    int threads;                       /* 0: OpenMP's default, one for each processor */
    size_t memory_limit;               /* bytes; what needs more is refused before it is allocated. 0: three quarters of the machine's memory */
    double seconds_limit;              /* of a run, looked at before each operator; 0: none */
    int shapes_kept;                   /* sets of input shapes for which the decisions are kept; those used longest ago go first. 0: 8 */
} oneshot_plan_options;
/* All 0. Start from these, so that fields added later have their defaults. */
ONESHOT_API oneshot_plan_options oneshot_plan_defaults(void);
/* Makes a plan; options may be NULL. It runs the weights as they are now: a model with plans cannot be pruned. Free it before the model.
 * ERROR_UNSUPPORTED names the first operator that cannot run. */
ONESHOT_API oneshot_status oneshot_plan_new(oneshot_model *model, const oneshot_plan_options *options, oneshot_plan **plan);
ONESHOT_API void           oneshot_plan_free(oneshot_plan *plan);    /* NULL is allowed */
ONESHOT_API int            oneshot_plan_inputs(const oneshot_plan *plan);   /* how many */
ONESHOT_API int            oneshot_plan_outputs(const oneshot_plan *plan);
/* What the model says of input or output number index: name, type and shape; data is NULL. ERROR_ARGUMENT beyond. */
ONESHOT_API oneshot_status oneshot_plan_input(const oneshot_plan *plan, int index, oneshot_tensor *tensor);
ONESHOT_API oneshot_status oneshot_plan_output(const oneshot_plan *plan, int index, oneshot_tensor *tensor);
/* Runs once. input: all inputs, in the model's order or by name; their data is only read, during the call. output: filled with the first n_output outputs, whose
 * data belongs to the plan and lives until its next run. ERROR_MEMORY also beyond the limit, ERROR_TIME, ERROR_ARGUMENT for inputs that do not fit,
 * ERROR_SHAPE when the shapes do not work in the model. */
ONESHOT_API oneshot_status oneshot_run(oneshot_plan *plan, const oneshot_tensor *input, int n_input, oneshot_tensor *output, int n_output);

#ifdef __cplusplus
}
#endif
#endif
