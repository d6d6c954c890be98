/* ai.onnx.ml: classic machine learning as skl2onnx and others write it.     https://onnx.ai/onnx/operators/index.html#ai-onnx-ml */
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <string.h>

static int list_length(const Node *n, const char *name)
{
    const Attr *a = node_attr(n, name);
    return a && (a->kind == ATTR_IS || a->kind == ATTR_SS || a->kind == ATTR_FS) ? a->n : 0;
}

static int64_t rows(const Fact *f) { return fact_shaped(f) && f->shape.rank == 2 ? f->shape.dim[0] : fact_shaped(f) && f->shape.rank == 1 ? 1 : DIM_UNKNOWN; }

/* Labels (N) and scores (N, classes). Operators name their label lists differently. */
static Err classifier_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    int strings = list_length(n, "classlabels_strings"), ints = list_length(n, "classlabels_ints") + list_length(n, "classlabels_int64s");
    out[0].dtype = strings ? DT_STRING : DT_I64;
    out[0].shape = shape_of(1, (int64_t[]){ rows(in[0]) });
    out[1].dtype = DT_F32;
    int64_t scores = strings ? strings : ints ? ints : DIM_UNKNOWN;
    bool by_pairs = !strcmp(n->op_type, "SVMClassifier") && !list_length(n, "prob_a") && scores > 2;
    out[1].shape = shape_of(2, (int64_t[]){ rows(in[0]), by_pairs ? scores * (scores - 1) / 2 : scores });
    return OK;
}

static Err regressor_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    bool trees = !strncmp(n->op_type, "TreeEnsemble", 12);
    out[0].dtype = !strcmp(n->op_type, "TreeEnsemble") && in[0] ? in[0]->dtype : DT_F32;
    out[0].shape = shape_of(2, (int64_t[]){ rows(in[0]), attr_i(n, trees ? "n_targets" : "targets", trees ? DIM_UNKNOWN : 1) });
    return OK;
}

static Err float_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    out[0].dtype = DT_F32;
    return OK;
}

static Err one_hot_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(float_infer(x, n, in, out));
    if (out[0].shape.rank < 0 || out[0].shape.rank == MAX_RANK) return OK;
    out[0].shape.dim[out[0].shape.rank++] = list_length(n, "cats_int64s") + list_length(n, "cats_strings");
    return OK;
}

/* Strings to numbers or back: the other type than the input's, unless values_* says which. */
static Err label_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    const Attr *tensor = node_attr(n, "values_tensor");
    if (tensor && tensor->kind == ATTR_T) out[0].dtype = tensor->t->tensor.dtype;
    else if (node_attr(n, "values_strings")) out[0].dtype = DT_STRING;
    else if (node_attr(n, "values_int64s")) out[0].dtype = DT_I64;
    else if (node_attr(n, "values_floats")) out[0].dtype = DT_F32;
    else out[0].dtype = in[0] && in[0]->dtype == DT_STRING ? DT_I64 : DT_STRING;
    return OK;
}

/* Columns of the last axis by index. */
static Err extract_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    if (!fact_shaped(in[0]) || in[0]->shape.rank < 1) return OK;
    int64_t count = DIM_UNKNOWN;
    if (fact_shaped(in[1])) TRY(dim_product(x, in[1]->shape.dim, in[1]->shape.rank, &count));
    if (in[0]->shape.rank == 1) out[0].shape = shape_of(2, (int64_t[]){ 1, count });
    else out[0].shape.dim[out[0].shape.rank - 1] = count;
    return OK;
}

static Err vectorizer_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    int64_t width = 0;
    out[0].dtype = DT_F32;
    for (int i = 0; i < n->n_in; i++)
        TRY(dim_arith(x, '+', width, fact_shaped(in[i]) && in[i]->shape.rank == 2 ? in[i]->shape.dim[1] : DIM_UNKNOWN, &width));
    out[0].shape = shape_of(2, (int64_t[]){ rows(in[0]), width });
    return OK;
}

const Op op_ml_ArrayFeatureExtractor = { "ArrayFeatureExtractor", "ai.onnx.ml", 1, 2, 2, 1, 1, .infer = extract_infer, .prep = extract_prep };
const Op op_ml_Binarizer = { "Binarizer", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = infer_same, .prep = binarizer_prep };
const Op op_ml_CastMap = { "CastMap", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = infer_nothing };
const Op op_ml_CategoryMapper = { "CategoryMapper", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = label_infer, .prep = label_prep };
const Op op_ml_DictVectorizer = { "DictVectorizer", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = infer_nothing };
const Op op_ml_FeatureVectorizer = { "FeatureVectorizer", "ai.onnx.ml", 1, 1, -1, 1, 1, .infer = vectorizer_infer, .prep = vectorizer_prep };
const Op op_ml_Imputer = { "Imputer", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = infer_same, .prep = imputer_prep };
const Op op_ml_LabelEncoder = { "LabelEncoder", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = label_infer, .prep = label_prep };
const Op op_ml_LinearClassifier = { "LinearClassifier", "ai.onnx.ml", 1, 1, 1, 2, 2, .infer = classifier_infer, .prep = linear_classifier_prep };
const Op op_ml_LinearRegressor = { "LinearRegressor", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = regressor_infer, .prep = linear_regressor_prep };
const Op op_ml_Normalizer = { "Normalizer", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = float_infer, .prep = normalizer_prep };
const Op op_ml_OneHotEncoder = { "OneHotEncoder", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = one_hot_infer, .prep = one_hot_encoder_prep };
const Op op_ml_SVMClassifier = { "SVMClassifier", "ai.onnx.ml", 1, 1, 1, 2, 2, .infer = classifier_infer, .prep = svm_prep };
const Op op_ml_SVMRegressor = { "SVMRegressor", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = regressor_infer, .prep = svm_prep };
const Op op_ml_Scaler = { "Scaler", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = float_infer, .prep = scaler_prep };
const Op op_ml_TreeEnsemble = { "TreeEnsemble", "ai.onnx.ml", 5, 1, 1, 1, 1, .infer = regressor_infer, .prep = trees_prep };
const Op op_ml_TreeEnsembleClassifier = { "TreeEnsembleClassifier", "ai.onnx.ml", 1, 1, 1, 2, 2, .infer = classifier_infer, .prep = trees_prep };
const Op op_ml_TreeEnsembleRegressor = { "TreeEnsembleRegressor", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = regressor_infer, .prep = trees_prep };
const Op op_ml_ZipMap = { "ZipMap", "ai.onnx.ml", 1, 1, 1, 1, 1, .infer = infer_not_tensor, .prep = zip_prep };
