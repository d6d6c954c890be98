/* The ONNX graph in memory: what a file says, in structures that passes can edit.
 *
 * Loading maps the file and copies nothing that is large: names and numbers go into the model's arena, the elements of tensors stay in the file
 * until somebody asks (constant_fetch), who then gets an aligned copy; the mapping itself is never written to. Every object keeps `source`, the
 * bytes that it was read from; saving emits these bytes again for whatever was not edited. So what we do not touch, we do not change: unknown
 * fields, unknown operators, odd encodings and all.
 *
 * "Derived" fields are written only by graph_refresh, which passes call after they edited. */
#pragma once
#include <pthread.h>
#include "onnx/tensor.h"

typedef struct Span { const uint8_t *at; size_t size; } Span;      /* a run of bytes inside the mapped file; at == NULL: none */

typedef struct Attr Attr; typedef struct Node Node; typedef struct Graph Graph; typedef struct Value Value; typedef struct Model Model;
struct Op;                                     /* a row of the operator table, engine/op.h */

/* How the file holds a constant's elements. Saving keeps the form unless `oneshot convert` asks for another. */
typedef enum Storage {
    STORED_RAW,        /* TensorProto.raw_data */
    STORED_TYPED,      /* float_data, int32_data, int64_data, double_data, uint64_data, string_data */
    STORED_EXTERNAL,   /* a file beside the model */
    STORED_SPARSE,     /* SparseTensorProto: values and sorted indices */
} Storage;

/* A tensor that the file carries: an initializer or a tensor attribute. */
typedef struct Constant {
    const char *name;              /* "" for most attributes */
    Tensor   tensor;               /* dtype, shape and bytes from load on; data == NULL until constant_fetch. Strings: data is Span[] */
    Storage  storage;
    bool     edited;               /* set by constant_edited; data is authoritative, source is not */
    Span     source;               /* TensorProto, or SparseTensorProto if STORED_SPARSE */
    Span     payload;              /* the element bytes where the file holds them as they are (raw, packed float or double) */
    bool     in_attribute;         /* source is the AttributeProto of a Constant node's value_float(s), value_int(s) or value_string(s) */
    struct Constant *values, *indices;     /* STORED_SPARSE: the two tensors of the SparseTensorProto; indices (nnz) linear or (nnz, rank) */
    const char *location;          /* STORED_EXTERNAL: path relative to the model's folder, checked to stay inside it ... */
    int64_t  offset, length;       /* ... and the bytes in that file; length -1: to its end */
    int64_t  nonzeros;             /* STORED_SPARSE: stored values; otherwise -1 */
    struct Mapping *mapping;       /* the memory behind tensor.data while fetched */
    int64_t  stored;               /* edited elements that were released: offset in Model.store plus one; 0: none there */
    struct { Storage form; int64_t offset, nonzeros; const char *location; } saved;    /* what model_save is making of it */
} Constant;

typedef enum AttrKind {            /* numbers of AttributeProto.AttributeType */
    ATTR_NONE = 0, ATTR_F = 1, ATTR_I = 2, ATTR_S = 3, ATTR_T = 4, ATTR_G = 5, ATTR_FS = 6, ATTR_IS = 7, ATTR_SS = 8, ATTR_TS = 9, ATTR_GS = 10,
    ATTR_SPARSE = 11, ATTR_SPARSES = 12, ATTR_TYPE = 13, ATTR_TYPES = 14,
} AttrKind;
struct Attr {
    const char *name;
    AttrKind kind;
    const char *reference;         /* inside a local function: the name of the function's attribute; else NULL */
    int n;                         /* elements of the plural kinds */
    union { float f; int64_t i; Span s; Constant *t; Graph *g; const float *fs; const int64_t *is; const Span *ss; Constant **ts; Graph **gs; };
    bool edited; Span source;
};

/* What is known of a value before anything runs. infer() completes what the file states. */
typedef struct Fact {
    bool    is_tensor;             /* false: sequence, map, optional or sparse tensor; the rest means nothing then */
    DType   dtype;                 /* DT_NONE: unknown */
    Shape   shape;                 /* rank -1: unknown */
    const int64_t *element;        /* elements of a small tensor (shape arithmetic) if all are whole numbers or symbols; NULL: unknown */
    const double *real;            /* the same of a float tensor with fractions; at most one of the two is set */
} Fact;

/* An edge: one name, one producer, many users. A name used in a subgraph but defined outside is the outer graph's Value. */
struct Value {
    const char *name;
    Fact stated;                   /* what the file says (value_info, graph inputs and outputs), or nothing: set by loading and by passes */
    Fact fact;                     /* derived by infer(), which starts from `stated`; equal to it before */
    Constant *constant;            /* initializer, or the tensor of the Constant node that produces it; else NULL */
    Graph *graph;                  /* that defines the name */
    Node *producer;                /* derived; NULL for graph inputs and initializers */
    Node **user; int n_user;       /* derived; a node that reads the value twice stands here twice; users inside subgraphs included */
    bool is_input, is_output;      /* derived: listed in the in, out of a graph */
};
struct Node {
    const char *op_type, *domain, *name;    /* domain "" is ai.onnx */
    const struct Op *op;                    /* NULL: unknown operator, kept and saved but never run or rewritten */
    Graph *graph;
    int index;                              /* derived: graph->node[index] is this node */
    int n_in, n_out, n_attr;
    Value **in, **out;                      /* NULL: optional one left out */
    Attr *attr;
    bool edited; Span source;
};
struct Graph {
    const char *name;
    Model *model;
    Graph *outer; Node *owner;              /* of an If, Loop or Scan body: the enclosing graph and the node; else NULL */
    Node  **node;  int n_node;              /* topological after model_refresh, in the file's order if that is (as ONNX demands) */
    Value **value; int n_value;             /* every value that this graph defines */
    Value **in, **out; int n_in, n_out;
    const char *domain;                     /* of a local function; NULL for graphs */
    const struct OpsetImport *opset; int n_opset;    /* the model's, or the function's own */
    const char **attr_name; int n_attr_name;         /* of a local function: attributes that callers may set */
    bool edited;                            /* its node or value lists changed: saving writes them anew */
    Span source;
    struct Names *names;                    /* name -> Value of `value` */
};
typedef struct OpsetImport { const char *domain; int64_t version; } OpsetImport;
typedef struct Property { const char *key, *value; } Property;

struct Model {
    Arena *arena;
    const char *path, *folder;              /* the file, and where its external data lies */
    Span source;                            /* the whole file, mapped read-only */
    size_t memory_limit;                    /* for the elements of one constant, in bytes; from loading on three quarters of the machine's memory */
    int64_t ir_version;
    const char *producer_name, *producer_version;
    Graph *graph;
    Graph **function; int n_function;       /* local functions */
    OpsetImport *opset; int n_opset;
    Property *property; int n_property;     /* metadata_props */
    const char **symbol; int n_symbol;      /* names of symbolic sizes: "batch", or an expression such as "(height + 1) / 2" */
    struct Names *symbols;                  /* name -> symbol */
    bool edited;                            /* any of producer_*, property changed */
    struct Store *store;                    /* see model_store */
    struct Mapping *mapping;                /* everything mapped or fetched */
    pthread_mutex_t lock;                   /* of fetched elements: constants may be fetched from several threads */
};

/* Reads a model. ERR_IO; ERR_FORMAT with what is wrong and where (byte offset); ERR_NOMEM; ERR_UNSUPPORTED for another format's file.
 * *out is untouched on failure. Free with model_free. Values that no node produces and no graph defines are errors. */
Err  model_load(const char *path, Model **out);
/* The same from memory: bytes stay the caller's, are neither copied nor kept changed, and must outlive the model. Tests, fuzzing. */
Err  model_parse(const void *bytes, size_t size, Model **out);
void model_free(Model *m);

typedef struct SaveOptions {
    enum { DATA_AS_IS, DATA_INLINE, DATA_EXTERNAL } data;   /* external: tensors from 1 KiB on go to <name>.data beside the model */
    enum { FORM_AS_IS, FORM_DENSE, FORM_SPARSE } form;      /* sparse: initializers whose sparse form is smaller */
    bool force;                                             /* path may be the file that the model was loaded from */
} SaveOptions;
/* Writes the model: to a temporary file in path's folder, fsync, rename; on failure what stood at path stands there still.
 * An unedited model comes out byte for byte. Beyond 2 GiB tensors move to external data by themselves. */
Err  model_save(Model *m, const char *path, const SaveOptions *o);

/* Whether model_save will write external data, or may have to, when the model is edited. */
Err  model_saves_data(Model *m, const SaveOptions *o, bool *yes);
/* Finds out before long work whether model_save could begin after it, when the model is edited: ERR_ARG, ERR_IO, ERR_UNSUPPORTED as there. */
Err  model_save_check(Model *m, const char *path, const SaveOptions *o);

/* The bytes that model_save would write, in a block for block_free. ERR_ARG for an edited model with external data. */
Err  model_serialize(Model *m, const SaveOptions *o, uint8_t **bytes, size_t *size);

/* Makes c->tensor.data point at the elements: a private mapping of the external file, or a copy in memory. Writable, aligned to the element
 * size, until constant_release or model_free. Strings are Span[]. Several threads may fetch at a time. ERR_IO, ERR_FORMAT when bytes and shape disagree, ERR_NOMEM
 * when out of memory or beyond m->memory_limit, ERR_UNSUPPORTED for an element type that this program does not know. */
Err  constant_fetch(Model *m, Constant *c);
/* The elements for reading only, at any alignment: where they stand in the file if that holds them as they are, else fetched. Until constant_release.
 * Errors of constant_fetch. */
Err  constant_read(Model *m, Constant *c, const void **elements);
/* Says that elements that stand in the file will not be read again soon: their pages need no memory until then. Nothing that was fetched changes. */
void constant_forget(Model *m, const Constant *c);
/* Declares that c->tensor.data was changed. */
void constant_edited(Constant *c);
/* Gives the memory of the elements back; tensor.data is NULL until the next fetch. Edited elements of external tensors go to the store first;
 * other edited ones stay in memory. */
Err  constant_release(Model *m, Constant *c);
/* From now on edited external tensors are kept in a file beside the future output, not in memory: models larger than memory. */
Err  model_store(Model *m, const char *output_path);

/* Structural edits; call model_refresh after a series of them. Everything but the elements of a constant is copied into the model's arena.
 * ERR_NOMEM; ERR_ARG when the graph has a value of that name. */
Err  graph_add_value(Graph *g, const char *name, Value **out);
/* A new initializer; tensor->data is borrowed until the model is freed. */
Err  graph_add_constant(Graph *g, const char *name, const Tensor *tensor, Value **out);
/* A node with the operator, name, inputs, outputs and attributes of `like`, as node `at` (0 ... n_node) of the list. */
Err  graph_add_node(Graph *g, int at, const Node *like, Node **out);
/* Takes a node and the values that it produces (producer must be up to date) out of the graph; nothing may read them any more. */
void graph_remove_node(Graph *g, const Node *n);

/* Recomputes every derived field except shapes. ERR_FORMAT: a cycle, a name defined twice, an input that nothing defines. */
Err  model_refresh(Model *m);
/* Sets or replaces a metadata_props entry; key and value are copied. */
Err  model_set_property(Model *m, const char *key, const char *value);
const char *model_property(const Model *m, const char *key);          /* NULL if absent */
/* The symbol with this name, made on first use. */
Err  model_symbol(Model *m, const char *name, int64_t *dim);
int64_t graph_opset(const Graph *g, const char *domain);              /* version imported; 0 if none */

const Attr *node_attr(const Node *n, const char *name);               /* NULL if absent */
int64_t attr_i(const Node *n, const char *name, int64_t otherwise);
float   attr_f(const Node *n, const char *name, float otherwise);
int     attr_is(const Node *n, const char *name, const int64_t **v);  /* count, 0 if absent */
bool    attr_s_is(const Node *n, const char *name, const char *text, bool otherwise);

/* Calls visit for every graph of the model: the main graph, bodies inside nodes, local functions; outer before inner. Stops at the first error. */
Err  model_each_graph(Model *m, Err (*visit)(Graph *, void *user), void *user);
/* The same for every tensor that the file carries: initializers, tensors in attributes, values in the attributes of Constant nodes. */
Err  model_each_constant(Model *m, Err (*visit)(Constant *, void *user), void *user);
/* SHA-256 of the file's bytes as lower-case hexadecimal digits. External data does not count. ERR_NOMEM. */
Err  model_sha256_source(const Model *m, char hex[65]);
