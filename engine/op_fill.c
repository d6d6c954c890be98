/* Operators that make a tensor from sizes: Constant, ConstantOfShape, Range, EyeLike, windows of signal processing. */
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <math.h>

static DType type_attr(const Node *n, const char *name, DType otherwise)
{
    int64_t t = attr_i(n, name, otherwise);
    return t > 0 && t < DT_COUNT ? (DType)t : DT_NONE;
}

/* The forms without a tensor; the driver reads the tensor of `value`. */
static Err constant_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)in;
    for (int i = 0; i < n->n_attr; i++) {
        const Attr *a = &n->attr[i];
        bool list = a->kind == ATTR_FS || a->kind == ATTR_IS || a->kind == ATTR_SS;
        if (a->kind != ATTR_F && a->kind != ATTR_I && a->kind != ATTR_S && !list) continue;
        out[0].dtype = a->kind == ATTR_F || a->kind == ATTR_FS ? DT_F32 : a->kind == ATTR_I || a->kind == ATTR_IS ? DT_I64 : DT_STRING;
        out[0].shape = list ? shape_of(1, (int64_t[]){ a->n }) : shape_of(0, NULL);
        int count = list ? a->n : 1;
        if (out[0].dtype == DT_I64) {
            int64_t *element;
            TRY(fact_elements(x, &out[0], &element));
            for (int k = 0; element && k < count; k++) {
                element[k] = list ? a->is[k] : a->i;
                if (dim_is_symbol(element[k])) element[k] = SYMBOL_BASE + MAX_SYMBOLS;
            }
            out[0].element = element;
        } else if (out[0].dtype == DT_F32 && count <= 64) {
            double v[64];
            for (int k = 0; k < count; k++) v[k] = list ? (double)a->fs[k] : (double)a->f;
            TRY(fact_reals(x, v, count, &out[0]));
        }
    }
    return OK;
}

/* The value is a tensor of one element; zero, float32 without it. */
static Err constant_of_shape_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    const Attr *a = node_attr(n, "value");
    Constant *value = a && a->kind == ATTR_T ? a->t : NULL;
    out[0].dtype = value ? value->tensor.dtype : DT_F32;
    TRY(shape_from_elements(in[0], 0, &out[0].shape));
    int64_t *element, one = 0;
    TRY(fact_elements(x, &out[0], &element));
    if (!element) return OK;
    if (value) {
        if (constant_fetch(x->model, value) != OK) return OK;      /* who needs the element says what is wrong with it */
        const Tensor *t = &value->tensor;
        if (t->dtype == DT_I64) one = *(const int64_t *)t->data;
        else if (t->dtype == DT_I32) one = *(const int32_t *)t->data;
        else if (t->dtype == DT_BOOL) one = *(const uint8_t *)t->data;
        else if (t->dtype != DT_F32) return OK;
        else if (fabsf(*(const float *)t->data) < 0x1p62f && *(const float *)t->data == floorf(*(const float *)t->data)) one = (int64_t)*(const float *)t->data;
        else return OK;
    }
    int64_t count;
    if (shape_count(&out[0].shape, &count) != OK || dim_is_symbol(one)) return OK;
    for (int64_t i = 0; i < count; i++) element[i] = one;
    out[0].element = element;
    return OK;
}

/* start, start + delta, ... below limit:  max(ceil((limit - start) / delta), 0) numbers */
static Err range_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    if (in[0]) out[0].dtype = in[0]->dtype;
    out[0].shape = shape_unknown_dims(1);
    double start, limit, delta;
    if (fact_number(in[0], 0, &start) && fact_number(in[1], 0, &limit) && fact_number(in[2], 0, &delta)) {
        double count = delta == 0 ? 0 : fmax(ceil((limit - start) / delta), 0);
        if (count > 0x1p62) return OK;
        out[0].shape.dim[0] = (int64_t)count;
    } else if (fact_ints(in[0]) && fact_ints(in[1]) && fact_ints(in[2])) {
        int64_t span;
        TRY(dim_arith(x, '-', in[1]->element[0], in[0]->element[0], &span));
        TRY(dim_arith(x, 'c', span, in[2]->element[0], &out[0].shape.dim[0]));
    }
    int64_t *element;
    TRY(fact_elements(x, &out[0], &element));
    if (!element || !fact_ints(in[0]) || !fact_ints(in[2])) return OK;
    int64_t v = in[0]->element[0];
    for (int64_t i = 0; i < out[0].shape.dim[0]; i++) {
        element[i] = v;
        TRY(dim_arith(x, '+', v, in[2]->element[0], &v));
    }
    out[0].element = element;
    return OK;
}

static Err eye_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    DType t = type_attr(n, "dtype", DT_NONE);
    if (t != DT_NONE) out[0].dtype = t;
    return OK;
}

static int64_t first_element(const Fact *f) { return fact_count(f) >= 1 && f->element ? f->element[0] : DIM_UNKNOWN; }

/* A window of the given length. */
static Err window_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    out[0].dtype = type_attr(n, "output_datatype", DT_F32);
    out[0].shape = shape_of(1, (int64_t[]){ first_element(in[0]) });
    return OK;
}

/* (dft_length / 2 + 1, num_mel_bins) */
static Err mel_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    out[0].dtype = type_attr(n, "output_datatype", DT_F32);
    int64_t bins;
    TRY(dim_arith(x, '/', first_element(in[1]), 2, &bins));
    TRY(dim_arith(x, '+', bins, 1, &bins));
    out[0].shape = shape_of(2, (int64_t[]){ bins, first_element(in[0]) });
    return OK;
}

static Err multinomial_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    out[0].dtype = type_attr(n, "dtype", DT_I32);
    int64_t batch = fact_shaped(in[0]) && in[0]->shape.rank == 2 ? in[0]->shape.dim[0] : DIM_UNKNOWN;
    out[0].shape = shape_of(2, (int64_t[]){ batch, attr_i(n, "sample_size", 1) });
    return OK;
}

const Op op_BlackmanWindow = { "BlackmanWindow", "", 17, 1, 1, 1, 1, .infer = window_infer, .prep = window_prep, };
const Op op_Constant = { "Constant", "", 1, 0, 0, 1, 1, .infer = constant_infer, .prep = constant_prep, };
const Op op_ConstantOfShape = { "ConstantOfShape", "", 9, 1, 1, 1, 1, .infer = constant_of_shape_infer, .prep = constant_of_shape_prep, };
const Op op_EyeLike = { "EyeLike", "", 9, 1, 1, 1, 1, .infer = eye_infer, .prep = eye_prep, };
const Op op_HammingWindow = { "HammingWindow", "", 17, 1, 1, 1, 1, .infer = window_infer, .prep = window_prep, };
const Op op_HannWindow = { "HannWindow", "", 17, 1, 1, 1, 1, .infer = window_infer, .prep = window_prep, };
const Op op_MelWeightMatrix = { "MelWeightMatrix", "", 17, 5, 5, 1, 1, .infer = mel_infer, .prep = mel_prep };
const Op op_Multinomial = { "Multinomial", "", 7, 1, 1, 1, 1, .infer = multinomial_infer };
const Op op_Range = { "Range", "", 11, 3, 3, 1, 1, .infer = range_infer, .prep = range_prep, };
