#include "recipes/difference.h"
#include <math.h>
#include "engine/element.h"

static double at(const Tensor *t, int64_t i)
{
    double v;
    elements_to_f64(t->dtype, t->data, i, 1, &v);
    return v;
}

static void add_element(Difference *d, double a, double b)
{
    if (a == b || (isnan(a) && isnan(b))) {
        if (isfinite(a)) { d->largest = fmax(d->largest, fabs(a)); d->dot += a * b; d->squares_a += a * a; d->squares_b += b * b; }
        return;
    }
    if (!isfinite(a) || !isfinite(b)) { d->worst = INFINITY; d->squares_error = INFINITY; return; }
    d->largest = fmax(d->largest, fabs(a));
    d->worst = fmax(d->worst, fabs(a - b));
    d->dot += a * b;
    d->squares_a += a * a;
    d->squares_b += b * b;
    d->squares_error += (a - b) * (a - b);
}

static double log_sum(const Tensor *t, int64_t start, int64_t n, int64_t *best)
{
    double most = -INFINITY, sum = 0;
    *best = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = at(t, start + i);
        if (v > most) { most = v; *best = i; }
    }
    for (int64_t i = 0; i < n; i++) sum += exp(at(t, start + i) - most);
    return most + log(sum);
}

/* A row of scores: softmax of both, KL(a || b) = sum p_a (log p_a - log p_b) */
static void add_row(Difference *d, const Tensor *a, const Tensor *b, int64_t start, int64_t n)
{
    int64_t best_a, best_b;
    double sum_a = log_sum(a, start, n, &best_a), sum_b = log_sum(b, start, n, &best_b), kl = 0;
    for (int64_t i = 0; i < n; i++) {
        double la = at(a, start + i) - sum_a, lb = at(b, start + i) - sum_b;
        if (exp(la) > 0) kl += exp(la) * (la - lb);
    }
    d->divergence += fmax(kl, 0);
    d->rows++;
    d->agree += best_a == best_b;
}

Err difference_add(Difference *d, const Tensor *a, const Tensor *b)
{
    int64_t n;
    if (a->dtype != b->dtype || !shape_equal(&a->shape, &b->shape)) {
        char x[128], y[128];
        shape_text(&a->shape, NULL, x, sizeof x);
        shape_text(&b->shape, NULL, y, sizeof y);
        return err_set(ERR_SHAPE, "one is %s %s, the other %s %s", dtype_name(a->dtype), x, dtype_name(b->dtype), y);
    }
    if (!dtype_is_real(a->dtype)) return err_set(ERR_UNSUPPORTED, "tensors of %s are not compared", dtype_name(a->dtype));
    TRY(shape_count(&a->shape, &n));
    for (int64_t i = 0; i < n; i++) add_element(d, at(a, i), at(b, i));
    d->elements += n;
    d->samples++;
    int64_t classes = a->shape.rank == 2 && dtype_is_float(a->dtype) ? a->shape.dim[1] : 0;
    for (int64_t i = 0; classes > 1 && i < n; i += classes) add_row(d, a, b, i, classes);
    return OK;
}

double difference_relative(const Difference *d) { return d->worst == 0 ? 0 : d->worst / d->largest; }
double difference_cosine(const Difference *d)
{
    return d->worst == 0 ? 1 : d->dot / sqrt(d->squares_a * d->squares_b);
}
double difference_sqnr(const Difference *d) { return d->squares_error == 0 ? INFINITY : 10 * log10(d->squares_a / d->squares_error); }
