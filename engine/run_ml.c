/* ai.onnx.ml: linear models, scaling, encoding.     https://onnx.ai/onnx/operators/index.html#ai-onnx-ml */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/list.h"
#include "engine/ml.h"
#include "engine/move.h"
#include "engine/run_ops.h"

int ml_floats(const Node *n, const char *name, const float **v)
{
    const Attr *a = node_attr(n, name);
    *v = a && a->kind == ATTR_FS ? a->fs : NULL;
    return *v ? a->n : 0;
}

int ml_strings(const Node *n, const char *name, const Span **v)
{
    const Attr *a = node_attr(n, name);
    *v = a && a->kind == ATTR_SS ? a->ss : NULL;
    return *v ? a->n : 0;
}

Err ml_matrix(const Step *s, int64_t *rows, int64_t *columns)
{
    const Buffer *x = s->in[0];
    if (!dtype_is_real(x->dtype)) return step_refuse(s, "input", x);
    if (x->shape.rank < 1 || x->shape.rank > 2) return err_set(ERR_SHAPE, "%s needs a matrix.", s->op->type);
    *columns = x->shape.dim[x->shape.rank - 1];
    *rows = x->shape.rank == 2 ? x->shape.dim[0] : 1;
    return OK;
}

/* Scores ------------------------------------------------------------------------------------------------------------------------------ */

static float logistic(float v)
{
    float e = 1 / (1 + expf(-fabsf(v)));
    return v < 0 ? 1 - e : e;
}

/* Inverse of the normal distribution, as ONNX Runtime computes it: Winitzki's approximation of the inverse of erf. */
static float probit(float v)
{
    float x = 2 * v - 1, sign = x < 0 ? -1 : 1, l = logf((1 - x) * (1 + x)), a = 2 / (3.14159f * 0.147f) + 0.5f * l;
    return 1.41421356f * sign * sqrtf(sqrtf(a * a - l / 0.147f) - a);
}

/* zero: scores of 0 stay 0. */
static void softmax(float *s, int64_t n, bool zero)
{
    float most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) if (s[i] > most) most = s[i];
    for (int64_t i = 0; i < n; i++) sum += s[i] = zero && fabsf(s[i]) <= 1e-7f ? s[i] * expf(-most) : expf(s[i] - most);
    for (int64_t i = 0; i < n; i++) s[i] /= sum;
}

void ml_transform(const Node *n, float *s, int64_t count)
{
    if (attr_s_is(n, "post_transform", "SOFTMAX", false)) softmax(s, count, false);
    else if (attr_s_is(n, "post_transform", "SOFTMAX_ZERO", false)) softmax(s, count, true);
    else if (attr_s_is(n, "post_transform", "LOGISTIC", false)) for (int64_t i = 0; i < count; i++) s[i] = logistic(s[i]);
    else if (attr_s_is(n, "post_transform", "PROBIT", false)) for (int64_t i = 0; i < count; i++) s[i] = probit(s[i]);
}

void ml_two_scores(const Node *n, float s[2], bool probability)
{
    float score = s[0];
    bool transformed = attr_s_is(n, "post_transform", "LOGISTIC", false);
    if (attr_s_is(n, "post_transform", "PROBIT", false)) { s[1] = probit(score); s[0] = 1 - s[1]; return; }
    s[1] = transformed ? logistic(score) : score;
    s[0] = transformed ? logistic(-score) : probability ? 1 - score : -score;
}

/* Labels are int64s or strings; operators name their lists differently. */
Err ml_labels(const Node *n, MlLabels *l)
{
    l->n = ml_strings(n, "classlabels_strings", &l->strings);
    if (!l->n) l->n = attr_is(n, "classlabels_ints", &l->ints);
    if (!l->n) l->n = attr_is(n, "classlabels_int64s", &l->ints);
    return l->n ? OK : err_set(ERR_FORMAT, "%s has no class labels.", n->op_type);
}

void ml_put_label(const MlLabels *l, Buffer *y, int64_t row, int64_t label)
{
    if (l->strings) ((Span *)y->data)[row] = l->strings[label];
    else ((int64_t *)y->data)[row] = l->ints[label];
}

/* Linear models ----------------------------------------------------------------------------------------------------------------------- */

typedef struct Linear { int64_t rows, columns, targets; const float *weight, *bias; MlLabels labels; } Linear;

/* s[t] = sum_k x[k] * w[t][k] + b[t] */
static void linear_scores(const Linear *l, const Buffer *x, int64_t row, float *s)
{
    for (int64_t t = 0; t < l->targets; t++) s[t] = l->bias ? l->bias[t] : 0;
    for (int64_t k = 0; k < l->columns; k++) {
        double v = number_at(x, row * l->columns + k);
        for (int64_t t = 0; t < l->targets; t++) s[t] += (float)v * l->weight[t * l->columns + k];
    }
}

static Err linear_ready(Plan *plan, Step *s, bool classifier, Linear **out)
{
    Linear *l;
    TRY(plan_array(plan, 1, sizeof *l, &l));
    TRY(ml_matrix(s, &l->rows, &l->columns));
    int weights = ml_floats(s->node, "coefficients", &l->weight), biases = ml_floats(s->node, "intercepts", &l->bias);
    if (classifier) TRY(ml_labels(s->node, &l->labels));
    l->targets = classifier ? (l->columns ? weights / l->columns : 0) : attr_i(s->node, "targets", 1);
    bool two = classifier && l->targets == 1 && l->labels.n == 2;
    if (l->targets < 1 || weights != l->targets * l->columns || (biases && biases != l->targets) || (classifier && !two && l->targets != l->labels.n))
        return err_set(ERR_SHAPE, "%s has %d coefficients for %lld columns.", s->op->type, weights, (long long)l->columns);
    s->state = l;
    s->scratch_bytes = (size_t)(l->targets + 2) * sizeof(float);
    *out = l;
    return OK;
}

static Err linear_classifier_run(Plan *plan, Step *s)
{
    const Linear *l = s->state;
    float *score = (float *)s->scratch, *y = s->out[1]->data;
    (void)plan;
    for (int64_t row = 0; row < l->rows; row++) {
        int64_t best = 0;
        linear_scores(l, s->in[0], row, score);
        for (int64_t t = 1; t < l->targets; t++) if (score[t] > score[best]) best = t;
        if (l->targets == 1) {
            best = l->labels.n == 2 && score[0] > 0;
            ml_two_scores(s->node, score, false);
        } else ml_transform(s->node, score, l->targets);
        ml_put_label(&l->labels, s->out[0], row, best);
        memcpy(y + row * l->labels.n, score, (size_t)l->labels.n * sizeof *y);
    }
    return OK;
}

Err linear_classifier_prep(Plan *plan, Step *s)
{
    Linear *l;
    s->run = linear_classifier_run;
    return linear_ready(plan, s, true, &l);
}

static Err linear_regressor_run(Plan *plan, Step *s)
{
    const Linear *l = s->state;
    (void)plan;
    for (int64_t row = 0; row < l->rows; row++) {
        float *y = (float *)s->out[0]->data + row * l->targets;
        linear_scores(l, s->in[0], row, y);
        ml_transform(s->node, y, l->targets);
    }
    return OK;
}

Err linear_regressor_prep(Plan *plan, Step *s)
{
    Linear *l;
    s->run = linear_regressor_run;
    return linear_ready(plan, s, false, &l);
}

/* Columns ------------------------------------------------------------------------------------------------------------------------------- */

/* y = (x - offset) * scale, one of each or one for each column */
static Err scaler_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    const float *offset, *scale;
    int n_offset = ml_floats(s->node, "offset", &offset), n_scale = ml_floats(s->node, "scale", &scale);
    int64_t columns = x->shape.dim[x->shape.rank - 1];
    (void)plan;
    for (int64_t i = 0; i < x->count; i++) {
        double v;
        int64_t c = i % columns;
        v = number_at(x, i);
        ((float *)s->out[0]->data)[i] = ((float)v - (n_offset ? offset[n_offset > 1 ? c : 0] : 0)) * (n_scale ? scale[n_scale > 1 ? c : 0] : 1);
    }
    return OK;
}

Err scaler_prep(Plan *plan, Step *s)
{
    const float *v;
    int64_t rows, columns;
    (void)plan;
    TRY(ml_matrix(s, &rows, &columns));
    int n[2] = { ml_floats(s->node, "offset", &v), ml_floats(s->node, "scale", &v) };
    for (int i = 0; i < 2; i++) if (n[i] > 1 && n[i] != columns) return err_set(ERR_SHAPE, "A Scaler has %d numbers for %lld columns.", n[i], (long long)columns);
    s->run = scaler_run;
    return OK;
}

/* Rows divided by their largest element, the sum of magnitudes (L1) or the root of the sum of squares (L2); rows of zeros stay. */
static Err normalizer_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    int64_t rows, n;
    bool l1 = attr_s_is(s->node, "norm", "L1", false), l2 = attr_s_is(s->node, "norm", "L2", false);
    (void)plan;
    TRY(ml_matrix(s, &rows, &n));
    for (int64_t r = 0; r < rows; r++) {
        float *y = (float *)s->out[0]->data + r * n, norm = l1 || l2 ? 0 : -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            double v = number_at(x, r * n + i);
            y[i] = (float)v;
            if (l1) norm += fabsf(y[i]);
            else if (l2) norm += y[i] * y[i];
            else if (y[i] > norm) norm = y[i];
        }
        if (l2) norm = sqrtf(norm);
        for (int64_t i = 0; i < n && norm != 0; i++) y[i] /= norm;
    }
    return OK;
}

Err normalizer_prep(Plan *plan, Step *s)
{
    int64_t rows, columns;
    (void)plan;
    s->run = normalizer_run;
    return ml_matrix(s, &rows, &columns);
}

/* y = x > threshold */
static Err binarizer_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    (void)plan;
    for (int64_t i = 0; i < x->count; i++) {
        double v = number_at(x, i);
        v = v > (double)attr_f(s->node, "threshold", 0);
        elements_from_f64(x->dtype, &v, 1, s->out[0]->data, i);
    }
    return OK;
}

Err binarizer_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = binarizer_run;
    return dtype_is_real(s->in[0]->dtype) ? OK : step_refuse(s, "input", s->in[0]);
}

/* What equals replaced_value (NaN too) becomes the number of its column. */
static Err imputer_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    const float *reals;
    const int64_t *wholes;
    int n_real = ml_floats(s->node, "imputed_value_floats", &reals), n_whole = attr_is(s->node, "imputed_value_int64s", &wholes);
    bool whole = !dtype_is_float(x->dtype);
    double replaced = whole ? (double)attr_i(s->node, "replaced_value_int64", 0) : (double)attr_f(s->node, "replaced_value_float", 0);
    int64_t columns = x->shape.rank ? x->shape.dim[x->shape.rank - 1] : 1, n = whole ? n_whole : n_real;
    (void)plan;
    if (n < 1 || (n > 1 && n != columns)) return err_set(ERR_SHAPE, "An Imputer has %lld numbers for %lld columns.", (long long)n, (long long)columns);
    for (int64_t i = 0; i < x->count; i++) {
        double v = number_at(x, i);
        int64_t c = n > 1 ? i % columns : 0;
        if (v == replaced || (v != v && replaced != replaced)) v = whole ? (double)wholes[c] : (double)reals[c];
        elements_from_f64(x->dtype, &v, 1, s->out[0]->data, i);
    }
    return OK;
}

Err imputer_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = imputer_run;
    return dtype_is_real(s->in[0]->dtype) ? OK : step_refuse(s, "input", s->in[0]);
}

/* Columns of the last axis, by index. */
static Err extract_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *index = s->in[1];
    int64_t columns = x->shape.dim[x->shape.rank - 1], n = index->count, rows = columns ? x->count / columns : 0;
    size_t size = element_size(x->dtype);
    (void)plan;
    for (int64_t i = 0; i < n; i++) {
        int64_t c = whole_at(index, i);
        if (c < 0 || c >= columns) return err_set(ERR_ARG, "Column %lld is beyond the %lld of '%s'.", (long long)c, (long long)columns, x->name);
        for (int64_t r = 0; r < rows; r++)
            memcpy((char *)s->out[0]->data + (size_t)(r * n + i) * size, (const char *)x->data + (size_t)(r * columns + c) * size, size);
    }
    return OK;
}

Err extract_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (s->in[0]->shape.rank < 1) return err_set(ERR_SHAPE, "ArrayFeatureExtractor needs a matrix.");
    if (!dtype_is_whole(s->in[1]->dtype)) return step_refuse(s, "index", s->in[1]);
    s->run = extract_run;
    return movable(s, s->in[0]);
}

/* All inputs side by side, as floats. */
static Err vectorizer_run(Plan *plan, Step *s)
{
    int64_t at = 0, width = s->out[0]->shape.dim[1], rows = s->out[0]->shape.dim[0];
    (void)plan;
    for (int k = 0; k < s->n_in; k++) {
        const Buffer *x = s->in[k];
        int64_t n = x->shape.dim[x->shape.rank - 1];
        for (int64_t i = 0; i < rows * n; i++) {
            double v = number_at(x, i);
            ((float *)s->out[0]->data)[i / n * width + at + i % n] = (float)v;
        }
        at += n;
    }
    return OK;
}

Err vectorizer_prep(Plan *plan, Step *s)
{
    (void)plan;
    for (int i = 0; i < s->n_in; i++) {
        const Buffer *x = s->in[i];
        if (!x || x->shape.rank != 2 || x->shape.dim[0] != s->in[0]->shape.dim[0]) return err_set(ERR_SHAPE, "FeatureVectorizer needs matrices of as many rows.");
        if (!dtype_is_real(x->dtype)) return step_refuse(s, "input", x);
    }
    s->run = vectorizer_run;
    return OK;
}

/* ZipMap: a map from label to score for each row -------------------------------------------------------------------------------------------------- */

static Err column_buffer(Plan *plan, DType t, int64_t n, Buffer **out)
{
    Buffer *b;
    Shape shape = { .rank = 1, .dim = { n } };
    TRY(plan_array(plan, 1, sizeof *b, &b));
    TRY(buffer_set(b, t, &shape));
    TRY(plan_alloc(plan, b->bytes, &b->data));
    b->name = "";
    *out = b;
    return OK;
}

static Err zip_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    List *all;
    MlLabels labels;
    int64_t rows, columns;
    Buffer *keys;
    TRY(ml_labels(s->node, &labels));
    TRY(ml_matrix(s, &rows, &columns));
    if (columns != labels.n) return err_set(ERR_SHAPE, "A ZipMap has %d labels for %lld columns.", labels.n, (long long)columns);
    TRY(column_buffer(plan, labels.strings ? DT_STRING : DT_I64, columns, &keys));
    for (int64_t i = 0; i < columns; i++) ml_put_label(&labels, keys, i, i);
    TRY(list_new(plan, LIST_SEQUENCE, rows, &all));
    for (int64_t r = 0; r < rows; r++) {
        List *map;
        Buffer *values, *item;
        TRY(list_new(plan, LIST_MAP, 2, &map));
        TRY(column_buffer(plan, DT_F32, columns, &values));
        memcpy(values->data, (const float *)x->data + r * columns, values->bytes);
        map->item[0] = keys;
        map->item[1] = values;
        TRY(plan_array(plan, 1, sizeof *item, &item));
        item->name = "";
        buffer_hold(item, map);
        all->item[r] = item;
    }
    return step_list(s, 0, all);
}

Err zip_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = zip_run;
    return s->in[0]->dtype == DT_F32 ? OK : step_refuse(s, "input", s->in[0]);
}
