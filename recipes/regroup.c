#include "recipes/regroup.h"
#include <math.h>
#include <string.h>

#define MOST_WORK 0x1p34
enum { FEWEST_COLUMNS = 256, MANY = 1 << 15 };

typedef struct Rows {
    const Kernels *kernels;
    float *w;                      /* (n, columns) magnitudes */
    float *norm, *similarity;      /* (n) */
    bool *taken;                   /* (n) */
    int64_t n, columns;
} Rows;

/* How many of a row's columns are compared: all, or as many as the work allows. */
static int64_t columns_compared(const Matrix *m, int rows)
{
    double n = (double)m->out.count, most = MOST_WORK * 2 * rows / (n * n);
    int64_t columns = most < FEWEST_COLUMNS ? FEWEST_COLUMNS : most > 1e9 ? 1000000000 : (int64_t)most;
    return columns < m->columns ? columns : m->columns;
}

static void load(const Elements *e, const Matrix *m, int64_t first, Rows *r)
{
    #pragma omp parallel for schedule(static) if (r->n * r->columns > MANY)
    for (int64_t i = 0; i < r->n; i++) {
        float *w = r->w + i * r->columns;
        for (int64_t j = 0; j < r->columns; j++) {
            int64_t column = (int64_t)((double)j * (double)m->columns / (double)r->columns);
            uint32_t bits = elements_magnitude(e, matrix_row(m, first + i) + axis_offset(&m->tap, column / m->in.count) + axis_offset(&m->in, column % m->in.count));
            memcpy(&w[j], &bits, sizeof bits);
        }
        r->norm[i] = sqrtf(r->kernels->dot_f32(w, w, (size_t)r->columns));
        r->taken[i] = false;
    }
}

/* The row that is left with the largest key; -1: none is left. NaN is smaller than everything. */
static int64_t best_left(const Rows *r, const float *key)
{
    int64_t best = -1;
    for (int64_t i = 0; i < r->n; i++)
        if (!r->taken[i] && (best < 0 || key[i] > key[best] || (isnan(key[best]) && !isnan(key[i]))))
            best = i;
    return best;
}

static void compare(const Rows *r, int64_t seed)
{
    #pragma omp parallel for schedule(static) if (r->n * r->columns > MANY)
    for (int64_t i = 0; i < r->n; i++)
        if (!r->taken[i])
            r->similarity[i] =
                r->norm[i] > 0 ? r->kernels->dot_f32(r->w + seed * r->columns, r->w + i * r->columns, (size_t)r->columns) / r->norm[i] : 0;
}

static void group(Rows *r, int64_t first, int rows, int32_t *order)
{
    for (int64_t done = 0; done < r->n;) {
        int64_t seed = best_left(r, r->norm);
        r->taken[seed] = true;
        order[done++] = (int32_t)(first + seed);
        compare(r, seed);
        for (int j = 1; j < rows && done < r->n; j++) {
            int64_t next = best_left(r, r->similarity);
            r->taken[next] = true;
            order[done++] = (int32_t)(first + next);
        }
    }
}

Err regroup_rows(const Elements *e, const Matrix *m, int rows, const Kernels *k, int32_t *order)
{
    Rows r = { .kernels = k, .n = m->out.count, .columns = columns_compared(m, rows) };
    size_t n = (size_t)r.n;
    r.w = block_new(n * (size_t)r.columns * sizeof *r.w);
    r.norm = block_new(n * sizeof *r.norm);
    r.similarity = block_new(n * sizeof *r.similarity);
    r.taken = block_new(n * sizeof *r.taken);
    Err err = OK;
    if (r.w && r.norm && r.similarity && r.taken)
        for (int64_t batch = 0; batch < m->batch.count; batch++) {
            load(e, m, batch * r.n, &r);
            group(&r, batch * r.n, rows, order + batch * r.n);
        }
    else
        err = err_set(ERR_NOMEM, "out of memory for comparing %lld output channels", (long long)r.n);
    block_free(r.w);
    block_free(r.norm);
    block_free(r.similarity);
    block_free(r.taken);
    return err;
}
