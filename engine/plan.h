/* A plan: one model made runnable for one set of input shapes.
 *
 * plan_build walks the graph in order. For each node it asks the operator's row for the output facts, now with numbers in place of symbols; nodes whose inputs
 * are all known are run at once and disappear (constant folding). Then steps that can share a pass over their values are fused (engine/fuse.h), each step is
 * asked for a way to run (Op.prep), and memory is planned: one block, one offset a value. plan_run then only runs step after step.
 *
 * Shapes that depend on data (NonZero, Loop, a Reshape by a computed shape ...) are not known when the plan is made. A step that reads or
 * makes such a value is `late`: it is inferred and prepared again in every run, when its inputs are there, and takes its memory from the plan's
 * late arena. Everything before it stays planned.
 *
 * A new set of input shapes is a new plan. Plans of one model are independent of each other: threads may build and run them at the same time, each plan in one
 * thread at a time. */
#pragma once
#include "engine/infer.h"

typedef struct Buffer Buffer; typedef struct Fused Fused;      /* engine/fuse.h */
typedef struct Planes Planes;                  /* engine/planes.h */
typedef Err StepRun(Plan *plan, Step *step);

typedef struct List List;                      /* engine/list.h */

/* A value as the plan runs it: dense, row-major. */
struct Buffer {
    const char *name;
    DType   dtype;             /* DT_NONE: not known before it runs */
    Shape   shape;             /* rank -1: not known before it runs; otherwise all numbers */
    int64_t count;             /* elements; 0 while the shape is not known */
    size_t  bytes;
    int     panel;             /* 0, or its tokens lie in panels of so many, or it has a Layout: engine/panels.h */
    void   *data;              /* final after plan_build for constants and planned values; set in the run for inputs, views and late values */
    bool    constant;          /* data is known while planning and never changes */
    Constant *stored;          /* not NULL: a constant whose data is NULL as long as no step wants it */
    Buffer *halves;            /* not NULL: the same of a constant that is made from this one, of half precision */
    Fact    fact;              /* what infer functions are told; element or real set for small constants */
    List   *list;              /* not NULL: no tensor but a sequence, an optional or a map; then shape.rank is -1 */
    Buffer *base;              /* not NULL: a view, data is base's from byte base_at on; planning keeps the base alive */
    size_t base_at;
    int number;                /* among the plan's buffers */
    Step *writer; int readers; /* while steps are fused: who makes it (NULL: nobody, or a late step), and how many steps and outputs read it */
    int first, last;           /* memory planning: steps between which it must keep its bytes */
    size_t offset;
};
static inline Tensor buffer_tensor(const Buffer *b) { return (Tensor){ b->dtype, b->shape, b->bytes, b->data }; }      /* the elements stay the buffer's */

/* How out[0] and some inputs of a step may lie: Buffer.panel. Bits of inputs. */
enum { LAYOUTS = 2 };
typedef struct Allowed { int panel; unsigned inputs, alike; bool output; } Allowed;

struct Step {
    const Node *node; const Op *op;
    int64_t opset;             /* of the node's domain */
    Buffer **in, **out;        /* NULL: left out. in has at least op->max_in entries, out at least op->max_out */
    int n_in, n_out;           /* as the node states them */
    Buffer **capture; int n_capture;   /* values of this plan that the node's bodies read */
    Plan *body[2];             /* plans of the node's bodies, kept from run to run; made and replaced by run, freed with the plan */
    Fused  *fused;             /* what other steps became part of this one; NULL: none */
    int     at;                /* its place among the plan's steps */
    /* Set by prep: */
    StepRun *run;
    const void *state;         /* whatever run needs: plan_alloc. run does not write it: the pieces of a batch share it between threads */
    size_t  scratch_bytes;     /* memory wanted during run, uninitialized, shared with other steps */
    bool   joins;              /* out[0] is its inputs end to end, and run leaves out those that lie there already */
    bool   joins_channels;     /* so if it lies BY_CHANNEL */
    Buffer *over;              /* an input of out[0]'s size that run may write out[0] over, element by element; NULL: none */
    Allowed allowed[LAYOUTS];  /* besides row-major, until one of panel 0: engine/panels.h */
    const Planes *planes;      /* how to run a part of it; NULL: not possible */
    const Step *joined;        /* the step that became part of this one after prep; NULL: none */
    const char *variant;       /* what prep chose and why, for reports; NULL: nothing to choose */
    /* Set by the plan: */
    char   *scratch;
    bool    late;
    double  seconds, total;    /* of the last run, and of all; measured only with PlanOptions.timed */
};

typedef void Tap(void *user, const Step *step);    /* called after a step; its inputs and outputs can be looked at */

typedef struct PlanOptions {
    int    threads;            /* 0: OpenMP's default */
    size_t memory_limit;       /* bytes for everything that the plan allocates; 0: three quarters of the machine's memory */
    double seconds_limit;      /* of building and of every run, looked at before each step; 0: none */
    Tap   *tap; void *tap_user;
    bool   timed;
    bool   dense;              /* products run dense whatever their zeros: to compare with */
    struct Packs *packs;       /* where packed weights are shared with other plans of the model, which outlives them; NULL: each plan has its own */
    struct Workspaces *workspaces;     /* what plans share that never run at the same time, likewise */
    bool   keep;               /* every value keeps memory of its own, so that all can be looked at after the run: nothing is fused */
    bool   whole;              /* batches are not split */
} PlanOptions;

/* A value of an enclosing scope, as it was when a body was planned. */
typedef struct Capture { Buffer *buffer; DType dtype; Shape shape; } Capture;
typedef struct BufferMap { const Value **key; Buffer **buffer; int n, room; } BufferMap;

/* A value that a stage reads or makes, of the whole batch. */
typedef struct Passed {
    Buffer *whole;
    bool    local;             /* only from stage to stage: memory holds the samples of one piece of the last stage for each thread */
    int64_t together;          /* 0, or so many samples lie BY_CHANNEL */
    int64_t step;              /* 1, or of each image every step-th pixel of every step-th row is passed: engine/thin.h */
} Passed;

/* A part of the steps of a batch that is split: one plan for each thread, which take pieces of the batch. A piece of a later stage has a multiple of the samples. */
enum { STAGES = 3 };
typedef struct Stage {
    Plan  **piece; int n_piece;
    int64_t pieces, samples;   /* of the batch, and in each */
    Passed *in, *out;
} Stage;

struct Plan {
    Model  *model;
    Plan   *outer;             /* of a body's plan: the plan of the enclosing graph */
    Arena  *arena;             /* steps, constants, packed weights, the block */
    Arena  *late;              /* emptied at the start of every run */
    Arena  *now;               /* which of the two plan_alloc takes from */
    ArenaMark late_start;
    PlanOptions options;
    int     threads;
    size_t  used_by_outer;     /* memory of the enclosing plans, counted against the limit */
    double  deadline;          /* of the run that goes on, as plan_clock tells the time; infinity: none */
    BufferMap map;
    Buffer **buffer; int n_buffer, room_buffer;
    Step  **step;    int n_step, room_step;
    Buffer **in, **out; int n_in, n_out;
    const bool *any_layout;    /* of each input, then of each output: it may lie BY_CHANNEL, if the plan chooses so; NULL: none may */
    Capture *capture; int n_capture, room_capture; /* what a body's plan reads from outer plans */
    struct Election *election; int n_election, room_election;      /* variants that were measured: engine/choose.c */
    char   *block; size_t block_bytes;
    struct Workspace *workspace;       /* whose memory the block is; NULL: the arena's */
    Stage stage[STAGES]; int n_stage;  /* of a batch that is split, instead of steps */
    int     depth;             /* of nested bodies and functions */
};

/* A shape for a graph input. rank -1: the input is no tensor, and the data of its Tensor in plan_run is a List. */
typedef struct PlanInput { const char *name; DType dtype; Shape shape; } PlanInput;

/* The inputs that a plan of m wants: graph inputs without a default, in order. *names lives in the model's arena. */
Err plan_inputs(const Model *m, const Value ***input, int *n);
/* Whether every operator of m can run. Needs ops_bind. ERR_UNSUPPORTED names the operator, the node and the opset. */
Err plan_check(const Model *m);
size_t plan_memory_limit(void);                /* the default: three quarters of the machine's memory */
/* Plans m for inputs of these shapes (one entry for each of plan_inputs, in any order). Needs ops_bind. The model must stay unchanged until plan_free.
 * ERR_UNSUPPORTED names operator, node and opset; ERR_SHAPE; ERR_ARG for input names or types that do not fit; ERR_NOMEM also beyond the memory limit;
 * ERR_TIME. */
Err plan_build(Model *m, const PlanInput *input, int n, const PlanOptions *options, Plan **out);
void plan_free(Plan *plan);
/* Runs once. in: data of the graph inputs in plan_inputs' order, with the planned types and shapes; borrowed during the call.
 * Outputs are plan->out[i], valid until the next run. */
Err plan_run(Plan *plan, const Tensor *in, int n_in);
/* Whether steps are timed in the runs to come, those of pieces of a batch too, and what is called after each (NULL: nothing); pieces call it from several threads. */
void plan_watch(Plan *plan, bool timed, Tap *tap, void *user);

/* For operators ------------------------------------------------------------------------------------------------------------------- */

/* Memory that lives as long as the step's preparation. Zeroed, aligned as arena_alloc. ERR_NOMEM with a sentence about the limit. */
Err plan_alloc(Plan *plan, size_t bytes, void **out);
/* Room for n elements of size bytes; *out untouched on failure. */
Err plan_array(Plan *plan, int64_t n, size_t size, void *out);
/* Gives output i its type, shape and memory while the step runs: for operators whose output shape depends on data. Also legal, without effect, when
 * planning already gave the same shape. */
Err step_output(Plan *plan, Step *step, int i, DType dtype, const Shape *shape);
/* Memory for the time of a prep, uncounted afterwards. */
Err plan_temporary(Plan *plan, size_t bytes, void **out);
/* Makes output i a view of input j: the same memory, from byte `at` on. Called by prep. */
void step_view(Step *step, int i, int j, size_t at);
StepRun view_run;
/* "Add does not run on string (input 'x')." */
Err step_refuse(const Step *step, const char *what, const Buffer *b);

/* A plan for a body of `step`, with these types and shapes of the body's inputs (in[i]->data is not read unless constant). Values of the enclosing scopes are
 * found through outer. Freed with plan_free by its owner. */
Err plan_body(Plan *outer, const Graph *body, Buffer *const *in, int n_in, Plan **out);
/* Runs a body's plan; data of its inputs is read from in[i]->data. */
Err plan_body_run(Plan *plan, Buffer *const *in, int n_in);
/* Whether a body's plan still fits: same types and shapes of inputs and of everything that it captured. */
bool plan_body_fits(const Plan *plan, Buffer *const *in, int n_in);

/* Places buffers in one block: lifetimes [first, last] that overlap get disjoint bytes. Greedy by size (Pisarchyk & Lee 2020,
 * arXiv 2001.03288). Reads first, last, bytes; sets offset (64-byte aligned). ERR_NOMEM when the total overflows. */
Err memplan(Arena *scratch, Buffer *const *buffer, int n, size_t *total);
