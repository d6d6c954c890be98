/* The race: rounds in turn, and what they come to. */
#include "engine/cli/bench.h"
#include "recipes/difference.h"
#include <unistd.h>

Err contender_add(Contender *c, Series *round, double seconds)
{
    series_sort(round);
    TRY(series_add(&c->pace, series_quantile(round, 0.5)));
    for (int i = 0; i < round->n; i++) TRY(series_add(&c->latency, round->at[i]));
    c->busy += seconds;
    return OK;
}

static void forget(Contender *c)
{
    c->latency.n = c->pace.n = 0;
    c->latency.at = c->pace.at = NULL;
    c->busy = 0;
}

Err bench_race(Bench *b, Contender *const *c, int n)
{
    enum { ROUNDS = 20, LEAST_ROUNDS = 5, PAUSE_US = 20000 };      /* the pause lets the threads of the one before stop spinning */
    for (int i = 0; i < n; i++) {
        TRY(c[i]->round(b, c[i], b->warmup));
        forget(c[i]);
    }
    double start = seconds_now();
    for (int r = 0; r < LEAST_ROUNDS || seconds_now() - start < b->seconds * n; r++)
        for (int i = 0; i < n; i++) {
            if (n > 1) usleep(PAUSE_US);
            TRY(c[i]->round(b, c[i], b->seconds / ROUNDS));
        }
    for (int i = 0; i < n; i++) series_sort(&c[i]->latency);
    return OK;
}

Ratio ratio_of(const Bench *b, const Contender *first, const Contender *c)
{
    Series s = { .arena = b->arena };
    for (int i = 0; i < first->pace.n && i < c->pace.n; i++)
        if (series_add(&s, c->pace.at[i] / first->pace.at[i]) != OK) break;
    series_sort(&s);
    return (Ratio){ series_median(&c->pace) / series_median(&first->pace), series_quantile(&s, 0.25), series_quantile(&s, 0.75) };
}

Err outputs_compare(const Plan *p, const Tensor *other, double *error)
{
    *error = 0;
    for (int i = 0; i < p->n_out; i++) {
        Difference d = { 0 };
        Tensor own = buffer_tensor(p->out[i]);
        TRY(difference_add(&d, &own, &other[i]));
        if (difference_relative(&d) > *error) *error = difference_relative(&d);
    }
    return OK;
}
