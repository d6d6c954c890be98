/* NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.   scores (N,C,d...), target (N,d...), weight (C)
 *   loss[n,d] = -weight[t] * log p[n,t,d], t = target[n,d]; 0 where t is ignore_index. mean: sum of losses / sum of weights. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

/* max + log(sum exp(x - max)) over the classes of one row */
static double log_sum(const Buffer *x, int64_t at, int64_t classes, int64_t inner)
{
    double most = -INFINITY, sum = 0;
    for (int64_t c = 0; c < classes; c++) most = fmax(most, number_at(x, at + c * inner));
    for (int64_t c = 0; c < classes; c++) sum += exp(number_at(x, at + c * inner) - most);
    return most + log(sum);
}

static Err loss_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *target = s->in[1], *weight = s->in[2];
    Buffer *y = s->out[0], *log_p = s->n_out > 1 ? s->out[1] : NULL;
    int64_t classes = x->shape.dim[1], inner = shape_span(&x->shape, 2, x->shape.rank), ignored = attr_i(s->node, "ignore_index", INT64_MIN);
    bool softmax = !strncmp(s->op->type, "Softmax", 7), none = attr_s_is(s->node, "reduction", "none", false), mean = attr_s_is(s->node, "reduction", "mean", true);
    double total = 0, weights = 0;
    (void)plan;
    for (int64_t i = 0; i < target->count; i++) {
        int64_t t, at = i / inner * classes * inner + i % inner;
        double shift = softmax ? log_sum(x, at, classes, inner) : 0;
        for (int64_t c = 0; log_p && c < classes; c++) {
            double v = number_at(x, at + c * inner) - shift;
            elements_from_f64(log_p->dtype, &v, 1, log_p->data, at + c * inner);
        }
        t = whole_at(target, i);
        double loss = 0;
        if (t != ignored) {
            if (t < 0 || t >= classes) return err_set(ERR_ARG, "The class %lld does not exist among %lld.", (long long)t, (long long)classes);
            double w = weight ? number_at(weight, t) : 1;
            loss = -w * (number_at(x, at + t * inner) - shift);
            weights += w;
        }
        total += loss;
        if (none) elements_from_f64(y->dtype, &loss, 1, y->data, i);
    }
    if (mean) total /= weights;
    if (!none) elements_from_f64(y->dtype, &total, 1, y->data, 0);
    return OK;
}

Err loss_prep(Plan *plan, Step *s)
{
    const Shape *x = &s->in[0]->shape, *t = &s->in[1]->shape;
    (void)plan;
    if (!dtype_is_float(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    if (!dtype_is_whole(s->in[1]->dtype)) return step_refuse(s, "target", s->in[1]);
    if (x->rank < 2 || t->rank != x->rank - 1 || t->dim[0] != x->dim[0] || s->in[1]->count * x->dim[1] != s->in[0]->count)
        return err_set(ERR_SHAPE, "Scores and targets do not fit together.");
    if (s->in[2] && s->in[2]->count != x->dim[1]) return err_set(ERR_SHAPE, "There are %lld weights for %lld classes.", (long long)s->in[2]->count, (long long)x->dim[1]);
    int64_t wanted = attr_s_is(s->node, "reduction", "none", false) ? s->in[1]->count : 1;
    if (s->out[0] && s->out[0]->count != wanted) return err_set(ERR_SHAPE, "The loss has another shape than was inferred.");
    s->run = loss_run;
    return OK;
}
