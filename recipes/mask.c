#include "recipes/mask.h"
#include <stdlib.h>

enum { CHUNK = 1 << 15, MANY_ROWS = 1 << 12 };

/* An element that is treated apart from the cut: kept although before it, or zeroed although behind it. */
typedef struct Exception { int64_t position; uint64_t bits; uint32_t magnitude; } Exception;

static Err first(const MaskTask *t, int64_t k, Cut *cut)
{
    const Magnitudes m = { .count = t->elements->count, .elements = t->elements };
    int64_t taken;
    return select_first(&(Candidates) { .n = 1, .count = &m.count, .only = &m }, k, t->kernels, cut, &taken);
}

static int64_t zero_before(const MaskTask *t, Cut cut)
{
    const Elements *e = t->elements;
    int64_t chunks = (e->count + CHUNK - 1) / CHUNK, zeros = 0;
    #pragma omp parallel for schedule(static) reduction(+ : zeros) if (chunks > 4)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t begin = c * CHUNK, n = e->count - begin < CHUNK ? e->count - begin : CHUNK;
        int64_t ties = cut.position - begin < 0 ? 0 : cut.position - begin > n ? n : cut.position - begin;
        zeros += elements_zero_below(e, begin, ties, cut.magnitude + 1, t->kernels);
        zeros += elements_zero_below(e, begin + ties, n - ties, cut.magnitude, t->kernels);
    }
    return zeros;
}

static bool row_survives(const MaskTask *t, Cut cut, int64_t r)
{
    const Matrix *m = t->matrix;
    int64_t row = matrix_row(m, r);
    for (int64_t i = 0; i < m->tap.count; i++) {
        int64_t tap = row + axes_offset(&m->tap, i);
        for (int64_t j = 0; j < m->in.count; j++) {
            int64_t at = tap + axes_offset(&m->in, j);
            if (!cut_takes(cut, elements_magnitude(t->elements, at), at))
                return true;
        }
    }
    return false;
}

static int64_t doomed_rows(const MaskTask *t, Cut cut)
{
    int64_t rows = t->matrix->rows, doomed = 0;
    #pragma omp parallel for schedule(static) reduction(+ : doomed) if (rows > MANY_ROWS)
    for (int64_t r = 0; r < rows; r++)
        doomed += !row_survives(t, cut, r);
    return doomed;
}

/* The largest weight of each row that the cut would empty; rows that are all zeros already have none. */
static int64_t find_kept(const MaskTask *t, Cut cut, Exception *kept)
{
    int64_t n = 0;
    for (int64_t r = 0; r < t->matrix->rows; r++) {
        if (row_survives(t, cut, r))
            continue;
        Largest l = matrix_largest(t->matrix, t->elements, r);
        if (l.magnitude)
            kept[n++] = (Exception) { l.position, elements_get(t->elements, l.position), l.magnitude };
    }
    return n;
}

static int by_order(const void *a, const void *b)
{
    const Exception *x = a, *y = b;
    if (x->magnitude != y->magnitude)
        return x->magnitude < y->magnitude ? -1 : 1;
    return x->position < y->position ? -1 : 1;
}

/* What lies between two cuts, in order. */
static int64_t find_between(const MaskTask *t, Cut low, Cut high, Exception *list)
{
    int64_t n = 0;
    for (int64_t at = 0; at < t->elements->count; at++) {
        uint32_t magnitude = elements_magnitude(t->elements, at);
        if (cut_takes(high, magnitude, at) && !cut_takes(low, magnitude, at))
            list[n++] = (Exception) { at, 0, magnitude };
    }
    qsort(list, (size_t)n, sizeof *list, by_order);
    return n;
}

typedef struct Replacements { Exception *list; int64_t room, wanted, found; } Replacements;

/* For the elements that could not be zeroed, the next ones in order that are not the last of their row. Room elements behind the cut are looked at. */
static Err find_replacements(const MaskTask *t, Cut cut, int64_t zeros, Replacements *r)
{
    int64_t end = zeros + r->room < t->elements->count ? zeros + r->room : t->elements->count;
    Cut high;
    TRY(first(t, end, &high));
    int64_t n = find_between(t, cut, high, r->list);
    r->found = 0;
    for (int64_t i = 0; i < n && r->found < r->wanted; i++) {
        int64_t at = r->list[i].position;
        if (matrix_largest(t->matrix, t->elements, matrix_row_at(t->matrix, at)).position != at)
            r->list[r->found++] = r->list[i];
    }
    return OK;
}

/* Some rows would lose everything: their largest weights stay, others go instead. */
static Err mask_around_rows(const MaskTask *t, Cut cut, int64_t zeros, int64_t doomed, int64_t *after)
{
    Exception *kept = block_new((size_t)doomed * sizeof *kept);
    if (!kept)
        return err_set(ERR_NOMEM, "out of memory for the last weights of %lld output channels", (long long)doomed);
    int64_t n_kept = find_kept(t, cut, kept), rows = t->matrix->rows;
    Replacements next = { .wanted = n_kept };
    Err err = OK;
    /* a few more are looked at than are needed; as many as there are rows always suffice */
    for (int64_t room = 4 * n_kept + 64; next.found < n_kept && next.room < rows; room *= 8) {
        next.room = room < rows ? room : rows;
        block_free(next.list);
        next.list = block_new((size_t)next.room * sizeof *next.list);
        err = next.list ? find_replacements(t, cut, zeros, &next)
                        : err_set(ERR_NOMEM, "out of memory for %lld weights next to the threshold", (long long)next.room);
        if (err != OK)
            goto out;
    }
    *after = zero_before(t, cut) - n_kept + next.found;
    for (int64_t i = 0; i < n_kept; i++)
        elements_put(t->elements, kept[i].position, kept[i].bits);
    for (int64_t i = 0; i < next.found; i++)
        elements_zero(t->elements, next.list[i].position);
out:
    block_free(kept);
    block_free(next.list);
    return err;
}

Err mask_unstructured(const MaskTask *t, int64_t zeros, int64_t *after)
{
    Cut cut;
    TRY(first(t, zeros, &cut));
    int64_t doomed = t->empty_channels ? 0 : doomed_rows(t, cut);
    if (doomed)
        return mask_around_rows(t, cut, zeros, doomed, after);
    *after = zero_before(t, cut);
    return OK;
}

/* One group of input channels: zeroes all but the n largest, of equal ones the lower positions first. */
static int64_t group_n_of_m(const Elements *e, const int64_t *at, int channels, int n, bool write)
{
    uint32_t magnitude[N_OF_M_MAX];
    for (int i = 0; i < channels; i++)
        magnitude[i] = elements_magnitude(e, at[i]);
    int64_t zeros = 0;
    for (int i = 0; i < channels; i++) {
        int larger = 0;
        for (int j = 0; j < channels; j++)
            larger += magnitude[j] > magnitude[i] || (magnitude[j] == magnitude[i] && at[j] > at[i]);
        zeros += larger >= n || magnitude[i] == 0;
        if (write && larger >= n && magnitude[i] != 0)
            elements_zero(e, at[i]);
    }
    return zeros;
}

int64_t mask_n_of_m(const MaskTask *t, int n, int m, bool write)
{
    const Matrix *x = t->matrix;
    int64_t zeros = 0;
    /* rows of packed types share bytes */
    #pragma omp parallel for schedule(static) reduction(+ : zeros) if (t->elements->count > 4 * CHUNK && dtype_bits(t->elements->dtype) >= 8)
    for (int64_t r = 0; r < x->rows; r++)
        for (int64_t tap = 0; tap < x->tap.count; tap++) {
            int64_t base = matrix_row(x, r) + axes_offset(&x->tap, tap), at[N_OF_M_MAX];
            for (int64_t c = 0; c < x->in.count; c += m) {
                int channels = x->in.count - c < m ? (int)(x->in.count - c) : m;
                for (int i = 0; i < channels; i++)
                    at[i] = base + axes_offset(&x->in, c + i);
                zeros += group_n_of_m(t->elements, at, channels, n, write);
            }
        }
    return zeros;
}
