/* Tiny models for tests, as the bytes of a ModelProto: written field by field, independent of the code under test.
 *
 *     Build *b = build_new();
 *     build_input(b, "x", DT_F32, "batch,3,8,8");
 *     build_init(b, "w", DT_F32, "4,3,3,3", NULL);                     // NULL: 1, 2, 3 ... converted to the type
 *     build_node(b, "Conv", "x,w", "y", "pads:is=1,1,1,1 group:i=1");
 *     build_output(b, "y", DT_F32, "batch,4,8,8");
 *     Bytes bytes = build_finish(b, 8, 17);                             // IR version, opset; frees b
 *
 * Lists are separated by commas without blanks. dims: numbers, names of symbolic sizes, "?" for unknown sizes, "" for a scalar, NULL for no shape.
 * attributes: blank-separated name:kind=value with kind f i s fs is ss or ref (name of a function's attribute). A node stays open for
 * build_attr_* until the next node. Everything aborts when out of memory. */
#pragma once
#include "onnx/tensor.h"
#include "tests/files.h"

/* A protobuf message under construction. Zeroed is empty. */
typedef struct Pb { uint8_t *at; size_t size, capacity; } Pb;
void pb_raw(Pb *p, const void *bytes, size_t size);                      /* as they are, without a tag */
void pb_varint(Pb *p, uint32_t field, uint64_t value);
void pb_float(Pb *p, uint32_t field, float value);
void pb_bytes(Pb *p, uint32_t field, const void *bytes, size_t size);
void pb_text(Pb *p, uint32_t field, const char *text);
void pb_child(Pb *p, uint32_t field, Pb *child);                         /* appends and frees child */
void pb_free(Pb *p);

typedef struct Build Build;
Build *build_new(void);                                                  /* a model's graph, a body, or the inside of a function */
void   build_input(Build *b, const char *name, DType t, const char *dims);
void   build_output(Build *b, const char *name, DType t, const char *dims);
void   build_value_info(Build *b, const char *name, DType t, const char *dims);
/* Initializers: raw_data of as many bytes as dims and type ask for. */
void   build_init(Build *b, const char *name, DType t, const char *dims, const void *data);
void   build_init_proto(Build *b, Pb *tensor);                           /* any TensorProto; frees it */
void   build_sparse_init_proto(Build *b, Pb *sparse);
void   build_node(Build *b, const char *op_type, const char *in, const char *out, const char *attributes);
void   build_node_name(Build *b, const char *name);                      /* of the open node */
void   build_node_domain(Build *b, const char *domain);
void   build_attr_tensor(Build *b, const char *name, Pb *tensor);        /* frees it */
void   build_attr_sparse(Build *b, const char *name, Pb *sparse);
void   build_attr_graph(Build *b, const char *name, Build *body);        /* frees it */
/* Bodies: of a Loop, so far with its inputs i and go; of one node without attributes that gives a float32. */
Build *build_loop_body(void);
Build *build_branch(const char *op_type, const char *in, const char *out, const char *dims);
void   build_opset(Build *b, const char *domain, int64_t version);       /* beside that of ai.onnx */
void   build_property(Build *b, const char *key, const char *value);
/* A local function whose nodes are those of `body` (freed); in, out and attributes are lists of names. It imports ai.onnx `opset`. */
typedef struct BuildFunction { const char *domain, *name, *in, *out, *attributes; int64_t opset; } BuildFunction;
void   build_function(Build *b, const BuildFunction *head, Build *body);
Pb    *build_graph_fields(Build *b);                                     /* to add odd fields to the GraphProto ... */
Pb    *build_model_fields(Build *b);                                     /* ... and to the ModelProto */
Bytes  build_finish(Build *b, int64_t ir_version, int64_t opset);

/* Fields of a TensorProto: dims, data_type, name (NULL: none); the caller adds the elements. */
Pb     tensor_head(const char *name, DType t, const char *dims);
/* The same with raw_data; data NULL: 1, 2, 3 ... */
Pb     tensor_raw(const char *name, DType t, const char *dims, const void *data);
/* A SparseTensorProto of n linear positions; values and positions in raw form. */
Pb     sparse_raw(const char *name, DType t, const char *dims, int n, const int64_t *position, const void *values);
