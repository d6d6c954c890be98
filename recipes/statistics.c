#include "recipes/statistics.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

Err series_add(Series *s, double x)
{
    double *at = arena_grow(s->arena, s->at, s->n, sizeof *at);
    if (!at) return err_set(ERR_NOMEM, "not enough memory for the measurements");
    s->at = at;
    s->at[s->n++] = x;
    return OK;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void series_sort(Series *s)
{
    if (s->n) qsort(s->at, (size_t)s->n, sizeof *s->at, compare);
}

double series_quantile(const Series *s, double q)
{
    if (!s->n) return NAN;
    double place = q * (s->n - 1);
    int low = (int)place, high = low + 1 < s->n ? low + 1 : low;
    return s->at[low] + (place - low) * (s->at[high] - s->at[low]);
}

double series_mean(const Series *s)
{
    double sum = 0;
    for (int i = 0; i < s->n; i++) sum += s->at[i];
    return sum / s->n;
}

double series_deviation(const Series *s)
{
    double mean = series_mean(s), sum = 0;
    for (int i = 0; i < s->n; i++) sum += (s->at[i] - mean) * (s->at[i] - mean);
    return sqrt(sum / s->n);
}

double series_median(const Series *s)
{
    Series sorted = { s->arena, arena_array(s->arena, (size_t)s->n, sizeof(double)), s->n };
    if (!sorted.at || !s->n) return NAN;
    memcpy(sorted.at, s->at, (size_t)s->n * sizeof(double));
    series_sort(&sorted);
    return series_quantile(&sorted, 0.5);
}
