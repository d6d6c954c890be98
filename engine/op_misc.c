/* Signals, strings, losses, and what belongs to no family. */
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <string.h>

static int64_t first_element(const Fact *f) { return fact_count(f) >= 1 && f->element ? f->element[0] : DIM_UNKNOWN; }

/* ---- signals: the last axis holds real and imaginary part ---- */

static Err half_and_one(Inference *x, int64_t length, int64_t *bins)
{
    TRY(dim_arith(x, '/', length, 2, bins));
    return dim_arith(x, '+', *bins, 1, bins);
}

/* X (B, sizes, 1 or 2), length of the transform, axis (an attribute in opset 17). One-sided: half of the spectrum, and its inverse is real. */
static Err dft_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    if (!fact_shaped(in[0])) return OK;
    int rank = in[0]->shape.rank, axis;
    bool half = attr_i(n, "onesided", 0) != 0, inverse = attr_i(n, "inverse", 0) != 0;
    if (rank < 2) return err_set(ERR_SHAPE, "the input has rank %d, expected at least 2", rank);
    int64_t *dim = out[0].shape.dim;
    dim[rank - 1] = half && inverse ? 1 : 2;
    int64_t at = in[2] ? first_element(in[2]) : attr_i(n, "axis", x->opset < 20 ? 1 : -2);
    if (at == DIM_UNKNOWN) {
        for (int i = 0; i < rank - 1; i++) dim[i] = DIM_UNKNOWN;
        return OK;
    }
    TRY(axis_read(at, rank, &axis));
    int64_t length = in[1] ? first_element(in[1]) : dim[axis];
    if (!in[1] && half && inverse) {
        TRY(dim_arith(x, '-', length, 1, &length));
        TRY(dim_arith(x, '*', length, 2, &length));
    }
    dim[axis] = length;
    return half && !inverse ? half_and_one(x, length, &dim[axis]) : OK;
}

/* signal (B,L,1 or 2), step, window, frame length: (B, frames, bins, 2) */
static Err stft_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0]) || in[0]->shape.rank < 2) return OK;
    int64_t length = in[3] ? first_element(in[3]) : fact_shaped(in[2]) && in[2]->shape.rank == 1 ? in[2]->shape.dim[0] : DIM_UNKNOWN;
    int64_t frames, bins = length;
    TRY(dim_arith(x, '-', in[0]->shape.dim[1], length, &frames));
    TRY(dim_arith(x, '/', frames, first_element(in[1]), &frames));
    TRY(dim_arith(x, '+', frames, 1, &frames));
    if (attr_i(n, "onesided", 1)) TRY(half_and_one(x, length, &bins));
    out[0].shape = shape_of(4, (int64_t[]){ in[0]->shape.dim[0], frames, bins, 2 });
    return OK;
}

/* ---- losses ---- */

/* reduction none: one number for each target; else one number. out[1]: log of the probabilities */
static Err loss_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, &out[1]));
    if (in[0]) out[0].dtype = in[0]->dtype;
    out[0].shape.rank = 0;
    if (attr_s_is(n, "reduction", "none", false)) out[0].shape = in[1] ? in[1]->shape : (Shape){ .rank = -1 };
    return OK;
}

/* ---- strings ---- */

static Err match_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    out[0].dtype = DT_BOOL;
    return OK;
}

static Err string_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n, (void)in;
    out[0].dtype = DT_STRING;
    return OK;
}

/* Pieces along a new last axis, and how many each string gave. */
static Err string_split_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, &out[1]));
    out[0] = out[1];
    out[1].dtype = DT_I64;
    if (out[0].shape.rank >= 0 && out[0].shape.rank < MAX_RANK) out[0].shape.dim[out[0].shape.rank++] = DIM_UNKNOWN;
    return OK;
}

/* A score for each n-gram of the vocabulary. */
static Err tfidf_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    const int64_t *index;
    int count = attr_is(n, "ngram_indexes", &index);
    out[0].dtype = DT_F32;
    if (!fact_shaped(in[0]) || in[0]->shape.rank < 1) return OK;
    int64_t size = 0;
    for (int i = 0; i < count; i++)
        if (index[i] >= size && index[i] < INT32_MAX) size = index[i] + 1;
    out[0].shape = in[0]->shape;
    out[0].shape.dim[out[0].shape.rank - 1] = size;
    return OK;
}

/* ---- others ---- */

/* (..., m, m): a number for each matrix */
static Err det_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    if (!fact_shaped(in[0])) return OK;
    if (in[0]->shape.rank < 2) return err_set(ERR_SHAPE, "the input has rank %d, expected at least 2", in[0]->shape.rank);
    out[0].shape.rank -= 2;
    return OK;
}

static Err image_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)in;
    out[0].dtype = DT_U8;
    out[0].shape = shape_of(3, (int64_t[]){ DIM_UNKNOWN, DIM_UNKNOWN, attr_s_is(n, "pixel_format", "Grayscale", false) ? 1 : 3 });
    return OK;
}

const Op op_DFT = { "DFT", "", 17, 1, 3, 1, 1, .infer = dft_infer, .prep = dft_prep };
const Op op_Det = { "Det", "", 11, 1, 1, 1, 1, .infer = det_infer, .prep = det_prep };
const Op op_ImageDecoder = { "ImageDecoder", "", 20, 1, 1, 1, 1, .infer = image_infer };
const Op op_NegativeLogLikelihoodLoss = { "NegativeLogLikelihoodLoss", "", 12, 2, 3, 1, 1, .infer = loss_infer, .prep = loss_prep };
const Op op_RegexFullMatch = { "RegexFullMatch", "", 20, 1, 1, 1, 1, .infer = match_infer };
const Op op_STFT = { "STFT", "", 17, 2, 4, 1, 1, .infer = stft_infer, .prep = stft_prep };
const Op op_SoftmaxCrossEntropyLoss = { "SoftmaxCrossEntropyLoss", "", 12, 2, 3, 1, 2, .infer = loss_infer, .prep = loss_prep };
const Op op_StringConcat = { "StringConcat", "", 20, 2, 2, 1, 1, .infer = infer_broadcast, .prep = string_concat_prep };
const Op op_StringNormalizer = { "StringNormalizer", "", 10, 1, 1, 1, 1, .infer = string_infer, .prep = string_normalizer_prep };
const Op op_StringSplit = { "StringSplit", "", 20, 1, 1, 2, 2, .infer = string_split_infer, .prep = string_split_prep };
const Op op_TfIdfVectorizer = { "TfIdfVectorizer", "", 9, 1, 1, 1, 1, .infer = tfidf_infer, .prep = tfidf_prep };
