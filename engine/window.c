/* https://onnx.ai/onnx/operators/onnx__Conv.html and __MaxPool.html */
#include "engine/window.h"
#include <string.h>

static Err read_list(const Node *n, const char *name, int rank, int64_t low, int64_t *out)
{
    const int64_t *v;
    int count = attr_is(n, name, &v);
    if (!count) return OK;
    if (count != rank) return err_set(ERR_SHAPE, "%s has %d entries for %d spatial axes", name, count, rank);
    for (int i = 0; i < rank; i++) {
        if (v[i] < low || v[i] > INT32_MAX) return err_set(ERR_SHAPE, "%s holds %lld", name, (long long)v[i]);
        out[i] = v[i];
    }
    return OK;
}

static Err read_pads(const Node *n, Window *w)
{
    int64_t pads[2 * MAX_RANK] = { 0 };
    TRY(read_list(n, "pads", 2 * w->rank, -INT32_MAX, pads));
    memcpy(w->pad_begin, pads, (size_t)w->rank * sizeof *pads);
    memcpy(w->pad_end, pads + w->rank, (size_t)w->rank * sizeof *pads);
    return OK;
}

Err window_read(const Node *n, int rank, const int64_t *kernel, Window *out)
{
    Window w = { .rank = rank };
    if (!kernel && !node_attr(n, "kernel_shape")) return err_set(ERR_SHAPE, "the attribute kernel_shape is missing");
    for (int i = 0; i < rank; i++) {
        w.stride[i] = w.dilation[i] = 1;
        if (kernel) w.kernel[i] = kernel[i];
    }
    TRY(read_list(n, "kernel_shape", rank, 0, w.kernel));
    for (int i = 0; kernel && i < rank; i++)
        if (dim_differ(kernel[i], w.kernel[i]))
            return err_set(ERR_SHAPE, "kernel_shape says %lld where the weight has %lld", (long long)w.kernel[i], (long long)kernel[i]);
    TRY(read_list(n, "strides", rank, 1, w.stride));
    TRY(read_list(n, "dilations", rank, 1, w.dilation));
    w.ceil_mode = attr_i(n, "ceil_mode", 0) != 0;
    if (attr_s_is(n, "auto_pad", "SAME_UPPER", false)) w.auto_pad = PAD_SAME_UPPER;
    else if (attr_s_is(n, "auto_pad", "SAME_LOWER", false)) w.auto_pad = PAD_SAME_LOWER;
    else if (attr_s_is(n, "auto_pad", "VALID", false)) w.auto_pad = PAD_VALID;
    else TRY(read_pads(n, &w));
    *out = w;
    return OK;
}

Err window_output(Inference *x, const Window *w, int i, int64_t in, int64_t *out)
{
    if (w->auto_pad == PAD_SAME_UPPER || w->auto_pad == PAD_SAME_LOWER) return dim_arith(x, 'c', in, w->stride[i], out);
    int64_t reach, span;
    TRY(dim_arith(x, '-', w->kernel[i], 1, &reach));
    TRY(dim_arith(x, '*', reach, w->dilation[i], &reach));
    TRY(dim_arith(x, '+', reach, 1, &reach));
    TRY(dim_arith(x, '+', in, w->pad_begin[i] + w->pad_end[i], &span));
    TRY(dim_arith(x, '-', span, reach, &span));
    TRY(dim_arith(x, w->ceil_mode ? 'c' : '/', span, w->stride[i], out));
    TRY(dim_arith(x, '+', *out, 1, out));
    bool numbers = dim_is_number(*out) && dim_is_number(in);
    if (w->ceil_mode && numbers && (*out - 1) * w->stride[i] >= in + w->pad_begin[i]) (*out)--;
    return OK;
}

void window_same_pads(Window *w, int i, int64_t in)
{
    if (w->auto_pad != PAD_SAME_UPPER && w->auto_pad != PAD_SAME_LOWER) return;
    int64_t reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
    int64_t out = (in + w->stride[i] - 1) / w->stride[i];
    int64_t pads = (out - 1) * w->stride[i] + reach - in;
    if (pads < 0) pads = 0;
    int64_t small = pads / 2;
    w->pad_begin[i] = w->auto_pad == PAD_SAME_UPPER ? small : pads - small;
    w->pad_end[i] = pads - w->pad_begin[i];
}
