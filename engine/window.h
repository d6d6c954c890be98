/* Sliding windows of convolutions and pools: kernel, strides, dilations and padding along each spatial axis.
 *
 *   reach = (kernel - 1) * dilation + 1          positions that a window covers
 *   out   = floor((in + pads - reach) / stride) + 1, rounded up with ceil_mode (a last window must start inside the input or its left padding) */
#pragma once
#include "engine/infer.h"

typedef struct Window {
    int rank;                                          /* spatial axes */
    int64_t kernel[MAX_RANK], stride[MAX_RANK], dilation[MAX_RANK];
    int64_t pad_begin[MAX_RANK], pad_end[MAX_RANK];    /* of auto_pad NOTSET; VALID: 0; SAME_*: window_same_pads */
    enum { PAD_NOTSET, PAD_SAME_UPPER, PAD_SAME_LOWER, PAD_VALID } auto_pad;
    bool ceil_mode;
} Window;

/* Reads kernel_shape, strides, dilations, pads, auto_pad, ceil_mode. kernel: sizes where kernel_shape is absent (of a weight), NULL: it must be there.
 * ERR_SHAPE: lists of another length, values out of range. */
Err  window_read(const Node *n, int rank, const int64_t *kernel, Window *w);
/* Output size along spatial axis i. Kernel and input may be symbols. Only ERR_NOMEM. */
Err  window_output(Inference *x, const Window *w, int i, int64_t in, int64_t *out);
/* Sets the padding that SAME_UPPER or SAME_LOWER means for this input size; leaves NOTSET and VALID as they are. */
void window_same_pads(Window *w, int i, int64_t in);
