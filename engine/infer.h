/* Shape inference: types, shapes and small integer contents of all values, with symbolic sizes kept.
 *
 * The driver walks a graph in order and asks each operator's row. Shape arithmetic (Shape, Gather, Concat, Mul, Slice ...) is carried in
 * Fact.element. A size that depends on a symbol becomes a symbol named after its expression ("floor((height + 1)/2)"); equal expressions get equal
 * symbols (engine/symbolic.c). A size that nothing tells gets a symbol of its own, named "value:axis". */
#pragma once
#include "engine/op.h"

struct Inference {
    Model *model;              /* owns the symbols */
    Arena *arena;              /* for Fact.element: the model's */
    int64_t opset;             /* of the node's domain */
    struct Symbolic *symbolic; /* expressions behind the symbols */
    struct Walk *walk;         /* the driver's own */
};

enum { INFER_ELEMENTS = 4096 };    /* larger integer tensors are not followed */

/* A number for a symbolic size: a dim_param's name ("batch"), or "input:axis" ("images:0") for a size without a name. */
typedef struct Binding { const char *name; int64_t size; } Binding;

/* Completes the facts of every value: constants, graph inputs as the file states them with the bindings put in, then node by node, bodies included.
 * A local function's body holds the facts that are true for all its calls. Starts anew from Value.stated at each call, so it may be called with other
 * bindings. Never fails for what it does not know. A contradiction stops nothing: the first one is described in *complaint (arena text; NULL if none;
 * complaint itself may be NULL).
 * ERR_NOMEM; ERR_ARG for a binding that names nothing or is negative. */
Err infer(Model *m, const Binding *binding, int n_binding, const char **complaint);

/* ---- for rows ---- */

/* A size or element that a row does not know. The driver turns it into a symbol of its own; it is never seen outside inference. */
#define DIM_UNKNOWN (SYMBOL_BASE + MAX_SYMBOLS - 1)

/* Helpers understand symbols; results are symbols where an operand is. op is one of + - * / (floor) c (ceil division) m (min) M (max).
 * DIM_UNKNOWN where an operand is, on overflow and on division by zero. Only ERR_NOMEM. */
Err  dim_arith(Inference *x, char op, int64_t a, int64_t b, int64_t *result);
Err  dim_product(Inference *x, const int64_t *dim, int n, int64_t *product);
bool dim_same(int64_t a, int64_t b);                             /* certainly equal */
bool dim_differ(int64_t a, int64_t b);                           /* certainly different: unequal numbers */
bool dim_at_least(Inference *x, int64_t a, int64_t b);           /* certainly a >= b, taking sizes as >= 0 */
static inline bool dim_is_number(int64_t d) { return !dim_is_symbol(d); }
/* What is known of a size from two sources: the number, else the named symbol. ERR_SHAPE for two unequal numbers. */
Err  dim_merge(int64_t a, int64_t b, int64_t *merged);

/* Numpy broadcasting: https://onnx.ai/onnx/repo-docs/Broadcasting.html . A symbol against a number > 1 becomes the number. ERR_SHAPE. */
Err  shape_broadcast(Inference *x, const Shape *a, const Shape *b, Shape *out);
Shape shape_unknown_dims(int rank);                              /* of that rank, sizes DIM_UNKNOWN */

static inline bool fact_shaped(const Fact *f) { return f && f->is_tensor && f->shape.rank >= 0; }
/* Elements of f that are followed (f->element or f->real), 0 up to INFER_ELEMENTS; -1: none. */
int  fact_count(const Fact *f);
/* Room for the elements of out, whose shape is known: all DIM_UNKNOWN. NULL: too many elements to follow. ERR_NOMEM. */
Err  fact_elements(Inference *x, const Fact *out, int64_t **element);
/* Makes the n numbers v the elements of f. ERR_NOMEM. */
Err  fact_reals(Inference *x, const double *v, int n, Fact *f);
/* Element i as a number. False: unknown or symbolic. */
bool fact_number(const Fact *f, int i, double *v);
/* f as numbers or symbols: f->element, also where f is left out or not followed (NULL). */
static inline const int64_t *fact_ints(const Fact *f) { return f ? f->element : NULL; }

/* Elements of out, whose shape is set, from f: position (i0, i1 ...) of out reads f's element base + sum of i * stride. */
Err  follow_strided(Inference *x, const Fact *f, int64_t base, const int64_t *stride, Fact *out);
/* The same where out holds f's elements in their order. */
void follow_moved(const Fact *f, Fact *out);
/* Sizes from elements: those of f, or DIM_UNKNOWN as many as f has. Rank -1 when even that is unknown. ERR_SHAPE: not a list, more than MAX_RANK, below `low`. */
Err  shape_from_elements(const Fact *f, int64_t low, Shape *out);
void shape_strides(const Shape *s, int64_t *stride);            /* of a dense tensor, in elements; the shape is numbers */

/* One axis, counted from the end if negative. ERR_SHAPE outside [-rank, rank). */
Err  axis_read(int64_t axis, int rank, int *out);
/* Axes from the attribute `name` or else the input: *n < 0 when they are unknown, `absent` true when neither is there. */
typedef struct Axes { int n; int axis[MAX_RANK]; bool absent; } Axes;
Err  axes_read(const Node *n, const char *name, const Fact *input, int rank, Axes *out);

#define FACT_UNKNOWN ((Fact){ .is_tensor = true, .shape = { .rank = -1 } })
/* a becomes what is true of both a and b. */
void fact_join(Fact *a, const Fact *b);
bool fact_equal(const Fact *a, const Fact *b);
/* Body of an If, Loop or Scan: facts for its inputs in, those of its outputs out. Values of outer graphs are seen. silent: contradictions in it do
 * not count, since it never runs or is only tried. */
typedef struct Body { Graph *graph; const Fact *in; int n_in; Fact *out; int n_out; bool silent; } Body;
Err  infer_body(Inference *x, const Body *body);

/* Rules that many rows share. "Follow" means that elements are computed where they are known. */
Err infer_same(Inference *x, const Node *n, const Fact *const *in, Fact *out);        /* out[0]: type and shape of in[0] */
Err infer_identity(Inference *x, const Node *n, const Fact *const *in, Fact *out);    /* the same, elements followed */
Err infer_first(Inference *x, const Node *n, const Fact *const *in, Fact *out);       /* every output like in[0] */
Err infer_broadcast(Inference *x, const Node *n, const Fact *const *in, Fact *out);   /* all inputs broadcast, type of in[0] */
Err infer_compare(Inference *x, const Node *n, const Fact *const *in, Fact *out);     /* all inputs broadcast, bool */
Err infer_nothing(Inference *x, const Node *n, const Fact *const *in, Fact *out);     /* outputs stay unknown tensors */
Err infer_not_tensor(Inference *x, const Node *n, const Fact *const *in, Fact *out);  /* out[0] is a sequence, map or optional */
