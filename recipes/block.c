#include "recipes/block.h"
#include "recipes/replace.h"
#include <string.h>

enum { MANY = 1 << 16 };           /* elements from which threads share the work */

/* Where a block lies: row numbers [first_row, first_row + rows) in the order of the groups, and columns [in, in + columns) at one tap. */
typedef struct Place { int64_t first_row, tap, in; int rows, columns; } Place;

static Place place_of(const Blocks *b, int64_t u)
{
    const Matrix *m = b->task->matrix;
    int64_t in = u % b->in_groups * b->columns, tap = u / b->in_groups % m->tap.count, group = u / b->in_groups / m->tap.count;
    int64_t out = group % b->out_groups * b->rows;
    Place p = { .first_row = group / b->out_groups * m->out.count + out, .tap = tap, .in = in };
    p.rows = m->out.count - out < b->rows ? (int)(m->out.count - out) : b->rows;
    p.columns = m->in.count - in < b->columns ? (int)(m->in.count - in) : b->columns;
    return p;
}

static int64_t row_number(const Blocks *b, int64_t row)
{
    return b->order ? b->order[row] : row;
}

/* Position of the first element of the block's j-th row. */
static int64_t row_start(const Blocks *b, const Place *p, int j)
{
    const Matrix *m = b->task->matrix;
    return matrix_row(m, row_number(b, p->first_row + j)) + axis_offset(&m->tap, p->tap);
}

static void score(const Blocks *b, int64_t u, uint32_t *bits, uint32_t *cost)
{
    const Elements *e = b->task->elements;
    Place p = place_of(b, u);
    double sum = 0;
    *cost = 0;
    for (int j = 0; j < p.rows; j++) {
        int64_t row = row_start(b, &p, j);
        for (int i = 0; i < p.columns; i++) {
            uint32_t magnitude = elements_magnitude(e, row + axis_offset(&b->task->matrix->in, p.in + i));
            float w;
            memcpy(&w, &magnitude, sizeof w);
            sum += (double)w * (double)w;
            *cost += magnitude != 0;
        }
    }
    float mean = (float)(sum / ((double)p.rows * p.columns));
    memcpy(bits, &mean, sizeof *bits);
    *bits = *bits == 0 && *cost ? 1 : *bits & MAGNITUDE_BITS;
}

Err blocks_new(const MaskTask *t, const Pattern *p, const int32_t *order, Blocks *b)
{
    const Matrix *m = t->matrix;
    *b = (Blocks) { .task = t, .rows = p->rows, .columns = p->columns, .order = order };
    b->out_groups = (m->out.count + p->rows - 1) / p->rows;
    b->in_groups = (m->in.count + p->columns - 1) / p->columns;
    b->count = m->batch.count * b->out_groups * m->tap.count * b->in_groups;
    uint32_t *bits = block_new((size_t)b->count * sizeof *bits), *cost = block_new((size_t)b->count * sizeof *cost);
    b->scores = (Magnitudes) { .count = b->count, .bits = bits, .cost = cost };
    if (!bits || !cost)
        return err_set(ERR_NOMEM, "out of memory for the scores of %lld blocks", (long long)b->count);
    int64_t weights = 0;
    #pragma omp parallel for schedule(static) reduction(+ : weights) if (t->elements->count > MANY)
    for (int64_t u = 0; u < b->count; u++) {
        score(b, u, &bits[u], &cost[u]);
        weights += cost[u];
    }
    b->weights = weights;
    return OK;
}

void blocks_free(Blocks *b)
{
    block_free((void *)(uintptr_t)b->scores.bits);
    block_free((void *)(uintptr_t)b->scores.cost);
    b->scores = (Magnitudes) { 0 };
}

/* True when the block holds a weight of its j-th row. */
static bool has_row(const Blocks *b, const Place *p, int j)
{
    int64_t row = row_start(b, p, j);
    for (int i = 0; i < p->columns; i++)
        if (elements_magnitude(b->task->elements, row + axis_offset(&b->task->matrix->in, p->in + i)) != 0)
            return true;
    return false;
}

/* Blocks of one group of rows are numbered consecutively: the group's first block and how many there are. */
static int64_t group_size(const Blocks *b)
{
    return b->task->matrix->tap.count * b->in_groups;
}

/* The last block in order that holds weights of the j-th row of the group that starts at block `group`; -1: the row is all zeros. */
static int64_t largest_of_row(const Blocks *b, int64_t group, int j)
{
    int64_t best = -1;
    for (int64_t u = group; u < group + group_size(b); u++) {
        Place p = place_of(b, u);
        if ((best < 0 || b->scores.bits[u] >= b->scores.bits[best]) && has_row(b, &p, j))
            best = u;
    }
    return best;
}

static bool is_largest(const void *user, int64_t u)
{
    const Blocks *b = user;
    Place p = place_of(b, u);
    for (int j = 0; j < p.rows; j++)
        if (largest_of_row(b, u - u % group_size(b), j) == u)
            return true;
    return false;
}

/* A row survives when a block that stays holds a weight of it. */
static bool row_survives(const Blocks *b, Cut cut, int64_t group, int j)
{
    for (int64_t u = group; u < group + group_size(b); u++) {
        Place p = place_of(b, u);
        if (!cut_takes(cut, b->scores.bits[u], u) && has_row(b, &p, j))
            return true;
    }
    return false;
}

/* Marks the blocks before the cut that must stay, and counts their weights. */
static int64_t keep_largest(const Blocks *b, Cut cut, uint8_t *stays)
{
    int64_t kept = 0;
    #pragma omp parallel for schedule(static) reduction(+ : kept) if (b->task->elements->count > MANY)
    for (int64_t group = 0; group < b->count; group += group_size(b)) {
        Place p = place_of(b, group);
        for (int j = 0; j < p.rows; j++) {
            int64_t u = row_survives(b, cut, group, j) ? -1 : largest_of_row(b, group, j);
            if (u >= 0 && !stays[u]) {
                stays[u] = 1;
                kept += b->scores.cost[u];
            }
        }
    }
    return kept;
}

static void zero_block(const Blocks *b, int64_t u)
{
    Place p = place_of(b, u);
    for (int j = 0; j < p.rows; j++) {
        int64_t row = row_start(b, &p, j);
        for (int i = 0; i < p.columns; i++) {
            int64_t at = row + axis_offset(&b->task->matrix->in, p.in + i);
            if (elements_magnitude(b->task->elements, at) != 0)
                elements_zero(b->task->elements, at);
        }
    }
}

static void zero_blocks(const Blocks *b, Cut cut, const uint8_t *stays, const Replacements *also)
{
    /* rows of packed types share bytes */
    #pragma omp parallel for schedule(static) if (b->task->elements->count > MANY && dtype_bits(b->task->elements->dtype) >= 8)
    for (int64_t u = 0; u < b->count; u++)
        if (cut_takes(cut, b->scores.bits[u], u) && !stays[u])
            zero_block(b, u);
    for (int64_t i = 0; i < also->n; i++)
        zero_block(b, also->position[i]);
}

static int64_t count_before(const Blocks *b, Cut cut)
{
    int64_t n = 0;
    for (int64_t u = 0; u < b->count; u++)
        n += cut_takes(cut, b->scores.bits[u], u);
    return n;
}

Err mask_blocks(const Blocks *b, int64_t zeros, bool write, int64_t *after)
{
    int64_t before = b->task->elements->count - b->weights, budget = zeros > before ? zeros - before : 0, taken;
    Cut cut;
    TRY(select_first(&(Candidates) { .n = 1, .count = &b->count, .costs = true, .only = &b->scores }, budget, b->task->kernels, &cut, &taken, NULL));
    uint8_t *stays = block_new((size_t)b->count + 1);
    if (!stays)
        return err_set(ERR_NOMEM, "out of memory for the marks of %lld blocks", (long long)b->count);
    memset(stays, 0, (size_t)b->count);
    int64_t kept = b->task->empty_channels ? 0 : keep_largest(b, cut, stays);
    Replacements instead = { 0 };
    Err err = OK;
    int64_t left = budget - taken + kept;
    if (left > 0 && !b->task->empty_channels)      /* every block behind the cut costs something, or must stay for one of the rows */
        err = replace_find(&(Replace) { .from = &b->scores, .kernels = b->task->kernels, .cut = cut, .rank = count_before(b, cut), .budget = left,
                                        .few = 2 * left + 8, .enough = left + b->task->matrix->rows, .must_stay = is_largest, .user = b }, &instead);
    if (err == OK && write)
        zero_blocks(b, cut, stays, &instead);
    *after = before + taken - kept + instead.cost;
    block_free(stays);
    block_free(instead.position);
    return err;
}
