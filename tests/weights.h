/* Weights made by hand, and a slow pruner that says what is right. */
#pragma once
#include "recipes/prune.h"
#include "tests/random.h"

/* How a made weight lies in memory: the ways in which ONNX stores output channels, input channels and taps. */
typedef enum Layout { LAYOUT_OIHW, LAYOUT_IOHW, LAYOUT_KN, LAYOUT_NK, LAYOUT_LSTM, LAYOUT_UNKNOWN, LAYOUTS } Layout;

typedef struct MadeModel { Model model; Weight *weight; int n; } MadeModel;

/* An empty model whose n weights are added by made_weight; freed with made_free. */
MadeModel made_model(int n);
/* out x in channels and taps (batch 2 for LSTM), zeroed elements; named "w<i>", used by node "layer<i>". Returns the weight; counts nothing yet. */
Weight *made_weight(MadeModel *m, int i, DType dtype, Layout layout, const int64_t out_in_taps[3]);
/* Random elements: few_values makes ties, zeros is the share of elements that are zero. Counts Weight.zeros. float32 only. */
void    made_fill(Weight *w, bool few_values, double zeros, Random *r);
void    made_free(MadeModel *m);

/* Zeroes elements of x (a copy of the weight's floats) in order of (|w|, position) until `zeros` are zero; a row's last one stays unless empty_channels.
 * Returns how many are zero then. */
int64_t reference_unstructured(const Weight *w, float *x, int64_t zeros, bool empty_channels);
/* Row (batch, output channel), tap and input channel of a stored element. */
void    made_place(const Weight *w, int64_t at, int64_t *row, int64_t *tap, int64_t *in);
