/* Support vector machines.     https://onnx.ai/onnx/operators/onnx_aionnxml_SVMClassifier.html ; probabilities: Wu, Lin and Weng 2004, as libsvm computes them. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/ml.h"
#include "engine/run_ops.h"

typedef struct Svm {
    int64_t rows, columns, vectors, classes, pairs;
    const float *vector, *weight, *rho, *pa, *pb;
    const int64_t *per_class;
    enum { LINEAR, POLY, RBF, SIGMOID } kernel;
    double gamma, coef0, degree;
    MlLabels labels;
} Svm;

static double kernel(const Svm *m, const float *a, const float *b)
{
    double sum = 0;
    for (int64_t i = 0; i < m->columns; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += m->kernel == RBF ? d * d : (double)a[i] * (double)b[i];
    }
    switch (m->kernel) {
    case POLY: return pow(m->gamma * sum + m->coef0, m->degree);
    case RBF: return exp(-m->gamma * sum);
    case SIGMOID: return tanh(m->gamma * sum + m->coef0);
    default: return sum;
    }
}

static Err read_machine(Step *s, Svm *m)
{
    const float *p;
    const Node *n = s->node;
    TRY(ml_matrix(s, &m->rows, &m->columns));
    if (attr_s_is(n, "kernel_type", "POLY", false)) m->kernel = POLY;
    if (attr_s_is(n, "kernel_type", "RBF", false)) m->kernel = RBF;
    if (attr_s_is(n, "kernel_type", "SIGMOID", false)) m->kernel = SIGMOID;
    if (ml_floats(n, "kernel_params", &p) == 3) { m->gamma = (double)p[0]; m->coef0 = (double)p[1]; m->degree = (double)p[2]; }
    int numbers = ml_floats(n, "support_vectors", &m->vector);
    m->vectors = m->columns ? numbers / m->columns : 0;
    if (m->vectors * m->columns != numbers) return err_set(ERR_SHAPE, "The support vectors do not have %lld columns.", (long long)m->columns);
    return OK;
}

/* x as floats, then what the two operators keep behind it. */
static void load_row(const Svm *m, const Buffer *x, int64_t row, float *to)
{
    for (int64_t i = 0; i < m->columns; i++) {
        double v = number_at(x, row * m->columns + i);
        to[i] = (float)v;
    }
}

/* Regression: y = sum_j w[j] K(x, v[j]) + rho; without support vectors y = w x + rho -------------------------------------------------------- */

static Err regressor_run(Plan *plan, Step *s)
{
    const Svm *m = s->state;
    float *x = (float *)s->scratch;
    (void)plan;
    for (int64_t row = 0; row < m->rows; row++) {
        double sum = 0;
        load_row(m, s->in[0], row, x);
        for (int64_t j = 0; j < m->vectors; j++) sum += (double)m->weight[j] * kernel(m, x, m->vector + j * m->columns);
        if (!m->vectors) sum = kernel(m, x, m->weight);
        sum += (double)m->rho[0];
        ((float *)s->out[0]->data)[row] = attr_i(s->node, "one_class", 0) ? (sum > 0 ? 1 : -1) : (float)sum;
    }
    return OK;
}

static Err regressor_prep(Step *s, Svm *m)
{
    int weights = ml_floats(s->node, "coefficients", &m->weight);
    if (!attr_s_is(s->node, "post_transform", "NONE", true)) return err_set(ERR_UNSUPPORTED, "SVMRegressor with a post_transform cannot be run.");
    if (ml_floats(s->node, "rho", &m->rho) < 1 || weights != (m->vectors ? m->vectors : m->columns))
        return err_set(ERR_FORMAT, "The coefficients of an SVMRegressor do not fit.");
    s->scratch_bytes = (size_t)m->columns * sizeof(float);
    s->run = regressor_run;
    return OK;
}

/* Classification: a decision for each pair of classes -------------------------------------------------------------------------------------------- */

/* scores[pair] of classes i < j, positive for i; votes count them. */
static void decide(const Svm *m, const double *k, double *score, int64_t *votes)
{
    int64_t pair = 0, start_i = 0;
    memset(votes, 0, (size_t)m->classes * sizeof *votes);
    for (int64_t i = 0; i < m->classes; start_i += m->per_class[i++]) {
        int64_t start_j = start_i + m->per_class[i];
        for (int64_t j = i + 1; j < m->classes; start_j += m->per_class[j++], pair++) {
            double sum = 0;
            for (int64_t v = start_i; v < start_i + m->per_class[i]; v++) sum += (double)m->weight[(j - 1) * m->vectors + v] * k[v];
            for (int64_t v = start_j; v < start_j + m->per_class[j]; v++) sum += (double)m->weight[i * m->vectors + v] * k[v];
            score[pair] = sum + (double)m->rho[pair];
            votes[score[pair] > 0 ? i : j]++;
        }
    }
}

/* Probability of class i against j, for each pair: r (classes, classes) */
static void pair_probabilities(const Svm *m, const double *score, double *r)
{
    int64_t pair = 0, c = m->classes;
    for (int64_t i = 0; i < c; i++)
        for (int64_t j = i + 1; j < c; j++, pair++) {
            double p = 1 / (1 + exp(score[pair] * (double)m->pa[pair] + (double)m->pb[pair]));
            p = p < 1e-7 ? 1e-7 : p > 1 - 1e-7 ? 1 - 1e-7 : p;
            r[i * c + j] = p;
            r[j * c + i] = 1 - p;
        }
}

/* Probabilities of the classes that agree best with those of the pairs. q: scratch (classes, classes + 1) */
static void class_probabilities(int64_t c, const double *r, double *q, double *p)
{
    double *qp = q + c * c;
    for (int64_t t = 0; t < c; t++) {
        p[t] = 1.0 / (double)c;
        q[t * c + t] = 0;
        for (int64_t j = 0; j < c; j++) {
            if (j == t) continue;
            q[t * c + t] += r[j * c + t] * r[j * c + t];
            q[t * c + j] = -r[j * c + t] * r[t * c + j];
        }
    }
    for (int turn = 0; turn < 100; turn++) {
        double all = 0, worst = 0;
        for (int64_t t = 0; t < c; t++) {
            qp[t] = 0;
            for (int64_t j = 0; j < c; j++) qp[t] += q[t * c + j] * p[j];
            all += p[t] * qp[t];
        }
        for (int64_t t = 0; t < c; t++) if (fabs(qp[t] - all) > worst) worst = fabs(qp[t] - all);
        if (worst < 0.005 / (double)c) return;
        for (int64_t t = 0; t < c; t++) {
            double d = (all - qp[t]) / q[t * c + t];
            p[t] += d;
            all = (all + d * (d * q[t * c + t] + 2 * qp[t])) / (1 + d) / (1 + d);
            for (int64_t j = 0; j < c; j++) {
                qp[j] = (qp[j] + d * q[t * c + j]) / (1 + d);
                p[j] /= 1 + d;
            }
        }
    }
}

typedef struct Work { double *kernels, *score, *r, *q, *p; int64_t *votes; float *x, *f; } Work;

static Work work_of(const Svm *m, char *at)
{
    Work w;
    w.kernels = (double *)at;
    w.score = w.kernels + m->vectors;
    w.r = w.score + m->pairs;
    w.q = w.r + m->classes * m->classes;
    w.p = w.q + m->classes * (m->classes + 1);
    w.votes = (int64_t *)(w.p + m->classes);
    w.x = (float *)(w.votes + m->classes);
    w.f = w.x + m->columns;
    return w;
}

static size_t work_bytes(const Svm *m)
{
    int64_t c = m->classes;
    return (size_t)(m->vectors + m->pairs + c * (2 * c + 3)) * sizeof(double) + (size_t)(m->columns + m->pairs + c + 2) * sizeof(float);
}

static Err classifier_run(Plan *plan, Step *s)
{
    const Svm *m = s->state;
    Work w = work_of(m, s->scratch);
    int64_t width = s->out[1]->shape.dim[1];
    (void)plan;
    for (int64_t row = 0; row < m->rows; row++) {
        int64_t best = 0, n = m->pa ? m->classes : m->pairs;
        load_row(m, s->in[0], row, w.x);
        for (int64_t j = 0; j < m->vectors; j++) w.kernels[j] = kernel(m, w.x, m->vector + j * m->columns);
        decide(m, w.kernels, w.score, w.votes);
        if (m->pa) {
            pair_probabilities(m, w.score, w.r);
            class_probabilities(m->classes, w.r, w.q, w.p);
        }
        for (int64_t i = 1; i < m->classes; i++) if (w.votes[i] > w.votes[best]) best = i;      /* also with probabilities, which may favour another */
        for (int64_t i = 0; i < n; i++) w.f[i] = (float)(m->pa ? w.p[i] : w.score[i]);
        if (n == 1) ml_two_scores(s->node, w.f, !attr_s_is(s->node, "post_transform", "NONE", true));
        else ml_transform(s->node, w.f, n);
        ml_put_label(&m->labels, s->out[0], row, best);
        memcpy((float *)s->out[1]->data + row * width, w.f, (size_t)width * sizeof(float));
    }
    return OK;
}

static Err classifier_prep(Step *s, Svm *m)
{
    const Node *n = s->node;
    TRY(ml_labels(n, &m->labels));
    m->classes = attr_is(n, "vectors_per_class", &m->per_class);
    if (!m->vectors || !m->classes) return err_set(ERR_UNSUPPORTED, "SVMClassifier without support vectors cannot be run.");
    int64_t c = m->classes, count = 0;
    m->pairs = c * (c - 1) / 2;
    for (int64_t i = 0; i < c; i++) count += m->per_class[i] < 0 ? m->vectors + 1 : m->per_class[i];
    int a = ml_floats(n, "prob_a", &m->pa), b = ml_floats(n, "prob_b", &m->pb);
    if (c < 2 || m->labels.n != c || count != m->vectors || ml_floats(n, "coefficients", &m->weight) != (c - 1) * m->vectors ||
        ml_floats(n, "rho", &m->rho) != m->pairs || ((a || b) && (a != m->pairs || b != m->pairs)))
        return err_set(ERR_FORMAT, "The attributes of an SVMClassifier do not fit together.");
    if (s->out[1]->shape.dim[1] != (m->pa || c == 2 ? c : m->pairs)) return err_set(ERR_SHAPE, "The scores of an SVMClassifier have another shape.");
    s->scratch_bytes = work_bytes(m);
    s->run = classifier_run;
    return OK;
}

Err svm_prep(Plan *plan, Step *s)
{
    Svm *m;
    TRY(plan_array(plan, 1, sizeof *m, &m));
    TRY(read_machine(s, m));
    s->state = m;
    return strcmp(s->op->type, "SVMClassifier") ? regressor_prep(s, m) : classifier_prep(s, m);
}
