/* Recurrent operators: RNN, GRU, LSTM.   https://onnx.ai/onnx/operators/onnx__LSTM.html
 * Plain loops for everything that engine/recur_rows.c does not take. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/recur.h"
#include "engine/run_ops.h"
#include "engine/widen.h"
#include "kernels/whole.h"

static double activate(const Cell *c, int which, double x)
{
    const CellFunction *a = &c->activation[which];
    if (x > c->clip) x = c->clip;
    if (x < -c->clip) x = -c->clip;
    switch (a->f) {
    case SIGMOID: return 1 / (1 + exp(-x));
    case TANH: return tanh(x);
    case RELU: return x < 0 ? 0 : x;
    case AFFINE: return a->alpha * x + a->beta;
    case LEAKY_RELU: return x < 0 ? a->alpha * x : x;
    case THRESHOLDED_RELU: return x > a->alpha ? x : 0;
    case SCALED_TANH: return a->alpha * tanh(a->beta * x);
    case HARD_SIGMOID: return fmin(fmax(a->alpha * x + a->beta, 0), 1);
    case ELU: return x < 0 ? a->alpha * expm1(x) : x;
    case SOFTSIGN: return x / (1 + fabs(x));
    default: return log1p(exp(-fabs(x))) + fmax(x, 0);
    }
}

#define LOOPS "engine/loops_recur.inc"
#include "engine/reals.inc"

static bool same_name(const Span *s, const char *name)
{
    size_t n = strlen(name);
    if (s->size != n) return false;
    for (size_t i = 0; i < n; i++) if ((s->at[i] | 32) != (name[i] | 32)) return false;
    return true;
}

/* Activation i of the list `activations`; alpha and beta are taken in order by the functions that have them. */
static Err read_activations(const Step *s, Recur *u, int each)
{
    static const struct { const char *name; bool alpha, beta; double a, b; } TABLE[N_FUNCTIONS] = {
        { "Sigmoid", 0, 0, 0, 0 }, { "Tanh", 0, 0, 0, 0 }, { "Relu", 0, 0, 0, 0 }, { "Affine", 1, 1, 1, 0 }, { "LeakyRelu", 1, 0, 0.01, 0 },
        { "ThresholdedRelu", 1, 0, 1, 0 },
        { "ScaledTanh", 1, 1, 1, 1 }, { "HardSigmoid", 1, 1, 0.2, 0.5 }, { "Elu", 1, 0, 1, 0 }, { "Softsign", 0, 0, 0, 0 }, { "Softplus", 0, 0, 0, 0 } };
    const Attr *list = node_attr(s->node, "activations"), *alpha = node_attr(s->node, "activation_alpha"), *beta = node_attr(s->node, "activation_beta");
    int at_alpha = 0, at_beta = 0;
    for (int k = 0; k < u->directions * each; k++) {
        CellFunction *a = &u->cell[k / each].activation[k % each];
        a->f = each == 1 || k % each > 0 ? TANH : SIGMOID;
        if (!list || list->kind != ATTR_SS) continue;
        if (list->n != u->directions * each) return err_set(ERR_SHAPE, "%s has %d activations, expected %d.", s->op->type, list->n, (int)u->directions * each);
        int f = 0;
        while (f < N_FUNCTIONS && !same_name(&list->ss[k], TABLE[f].name)) f++;
        if (f == N_FUNCTIONS) return err_set(ERR_UNSUPPORTED, "%s has the unknown activation '%.*s'.", s->op->type, (int)list->ss[k].size, (const char *)list->ss[k].at);
        *a = (CellFunction){ (Function)f, TABLE[f].a, TABLE[f].b };
        if (TABLE[f].alpha && alpha && alpha->kind == ATTR_FS && at_alpha < alpha->n) a->alpha = (double)alpha->fs[at_alpha++];
        if (TABLE[f].beta && beta && beta->kind == ATTR_FS && at_beta < beta->n) a->beta = (double)beta->fs[at_beta++];
    }
    return OK;
}

static size_t memory_of(const Recur *u)
{
    int64_t n = u->cell[0].hidden;
    return to_line((size_t)(u->cell[0].gates * n + 4 * n) * sizeof(double));
}

static Err recur_run(Plan *plan, Step *s)
{
    const Recur *u = s->state;
    if (s->in[4])
        for (int64_t b = 0; b < u->batch; b++) {
            int64_t length = whole_at(s->in[4], b);
            if (length < 0 || length > u->length) return err_set(ERR_ARG, "A sequence length of %lld does not fit.", (long long)length);
        }
    #pragma omp parallel for num_threads(plan->threads)
    for (int64_t i = 0; i < u->directions * u->batch; i++) {
        char *memory = s->scratch + (size_t)i * memory_of(u);
        if (s->in[0]->dtype == DT_F32) recur_sequence_f32(u, s, i % u->directions, i / u->directions, memory);
        else recur_sequence_f64(u, s, i % u->directions, i / u->directions, memory);
    }
    return OK;
}

static Err has_count(const Step *s, int i, int64_t count)
{
    if (i >= s->n_in || !s->in[i] || s->in[i]->count == count) return OK;
    return err_set(ERR_SHAPE, "'%s' has %lld elements, expected %lld.", s->in[i]->name, (long long)s->in[i]->count, (long long)count);
}

static Err check_operands(const Step *s, const Recur *u)
{
    int64_t h = u->cell[0].hidden, rows = u->cell[0].gates * h, d = u->directions;
    TRY(has_count(s, 1, d * rows * u->inputs));
    TRY(has_count(s, 2, d * rows * h));
    TRY(has_count(s, 3, d * 2 * rows));
    TRY(has_count(s, 4, u->batch));
    TRY(has_count(s, 5, d * u->batch * h));
    TRY(has_count(s, 6, d * u->batch * h));
    TRY(has_count(s, 7, d * 3 * h));
    for (int i = 1; i < s->n_in; i++)
        if (s->in[i] && i != 4 && s->in[i]->dtype != s->in[0]->dtype) return err_set(ERR_SHAPE, "%s has operands of different types.", s->op->type);
    return s->n_in > 4 && s->in[4] && !dtype_is_whole(s->in[4]->dtype) ? step_refuse(s, "lengths", s->in[4]) : OK;
}

Err recur_prep(Plan *plan, Step *s)
{
    Err e;
    Recur *u;
    if (widened(plan, s, recur_prep, &e)) return e;
    const Shape *x = &s->in[0]->shape, *r = &s->in[2]->shape;
    bool lstm = !strcmp(s->op->type, "LSTM"), gru = !strcmp(s->op->type, "GRU"), backward = attr_s_is(s->node, "direction", "reverse", false);
    if (x->rank != 3 || r->rank != 3) return err_set(ERR_SHAPE, "%s needs X and R of rank 3.", s->op->type);
    TRY(plan_array(plan, 1, sizeof *u, &u));
    u->batch_first = attr_i(s->node, "layout", 0);
    u->length = x->dim[u->batch_first]; u->batch = x->dim[!u->batch_first]; u->inputs = x->dim[2];
    u->directions = attr_s_is(s->node, "direction", "bidirectional", false) ? 2 : 1;
    Cell c = { .gates = lstm ? 4 : gru ? 3 : 1, .hidden = r->dim[2], .input_forget = attr_i(s->node, "input_forget", 0),
               .linear_before_reset = attr_i(s->node, "linear_before_reset", 0), .clip = node_attr(s->node, "clip") ? (double)attr_f(s->node, "clip", 0) : INFINITY };
    for (int d = 0; d < 2; d++) { u->cell[d] = c; u->cell[d].reverse = d || backward; }
    TRY(read_activations(s, u, lstm ? 3 : gru ? 2 : 1));
    TRY(check_operands(s, u));
    if (recur_rows_fit(s, u)) return recur_rows_prep(plan, s, u);
    s->state = u;
    s->scratch_bytes = memory_of(u) * (size_t)(u->directions * u->batch);
    s->run = recur_run;
    return s->in[0]->dtype == DT_F32 || s->in[0]->dtype == DT_F64 ? OK : step_refuse(s, "input", s->in[0]);
}
