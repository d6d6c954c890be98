/* Samples: inputs for a model, as files.
 *
 * A path is one sample file or a folder of them, taken in the order of their names:
 *   *.npz                  members named like the graph's inputs, or arr_0, arr_1 ... in their order; stored or deflated
 *   *.npy                  for models with one input
 *   test_data_set_N/       input_0.pb, input_1.pb ...: TensorProtos, in the order of the inputs or with their names
 * Arrays may lack the leading batch dimension (it is added). They must be in C order, little-endian, and of the input's type: nothing is converted. */
#pragma once
#include "engine/plan.h"

typedef struct Samples { const char **path; int n; } Samples;

/* Lists the samples at path. ERR_IO; ERR_ARG when there are none. */
Err samples_list(Arena *arena, const char *path, Samples *out);
/* Reads one sample: tensor[i] belongs to input[i] (of plan_inputs), all data in the arena. ERR_ARG, ERR_FORMAT, ERR_IO, ERR_NOMEM with the path. */
Err sample_read(Arena *arena, const char *path, const Value *const *input, int n, Tensor *tensor);

/* A named array as files hold it. */
typedef struct Array { const char *name; Tensor tensor; } Array;
/* The array in the bytes of a .npy file; its data points into them. ERR_FORMAT, ERR_UNSUPPORTED. */
Err npy_parse(Span bytes, Tensor *out);
/* All members of a .npz file, deflated ones unpacked into the arena (at most `limit` bytes). ERR_FORMAT, ERR_UNSUPPORTED, ERR_NOMEM. */
Err npz_parse(Arena *arena, Span bytes, size_t limit, Array **out, int *n);
/* Writes arrays as a .npz file without compression. Types that NumPy lacks (bfloat16 ...) are ERR_UNSUPPORTED. */
Err npz_write(Arena *arena, const char *path, const Array *array, int n);
/* Writes one TensorProto. */
Err pb_write(Arena *arena, const char *path, const Array *array);
