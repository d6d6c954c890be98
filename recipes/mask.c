#include "recipes/mask.h"
#include "recipes/replace.h"

enum { CHUNK = 1 << 15, MANY_ROWS = 1 << 12 };

/* The largest element of a row that the cut would empty. */
typedef struct Kept { int64_t position; uint64_t bits; } Kept;

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
        int64_t tap = row + axis_offset(&m->tap, i);
        for (int64_t j = 0; j < m->in.count; j++) {
            int64_t at = tap + axis_offset(&m->in, j);
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
static int64_t find_kept(const MaskTask *t, Cut cut, Kept *kept)
{
    int64_t n = 0;
    for (int64_t r = 0; r < t->matrix->rows; r++) {
        if (row_survives(t, cut, r))
            continue;
        Largest l = matrix_largest(t->matrix, t->elements, r);
        if (l.magnitude)
            kept[n++] = (Kept) { l.position, elements_get(t->elements, l.position) };
    }
    return n;
}

static bool is_largest(const void *user, int64_t at)
{
    const MaskTask *t = user;
    const Cut here = { elements_magnitude(t->elements, at), at + 1 };
    return !row_survives(t, here, matrix_row_at(t->matrix, at));
}

/* Some rows would lose everything: their largest weights stay, others go instead. */
static Err mask_around_rows(const MaskTask *t, Cut cut, Selection *selection, int64_t zeros, int64_t doomed, int64_t *after)
{
    const Elements *e = t->elements;
    Kept *kept = block_new((size_t)doomed * sizeof *kept);
    if (!kept)
        return err_set(ERR_NOMEM, "out of memory for the last weights of %lld output channels", (long long)doomed);
    int64_t n_kept = find_kept(t, cut, kept);
    const Magnitudes all = { .count = e->count, .elements = e };
    Replacements instead = { 0 };
    Err err = OK;
    if (n_kept)        /* of the ones behind the cut at most one of each row must stay */
        err = replace_find(&(Replace) { .from = &all, .kernels = t->kernels, .cut = cut, .rank = zeros, .budget = n_kept, .few = 2 * n_kept + 8,
                                        .enough = 2 * t->matrix->rows,
                                        .selection = selection, .must_stay = is_largest, .user = t }, &instead);
    if (err == OK) {
        *after = zero_before(t, cut) - n_kept + instead.n;
        for (int64_t i = 0; i < n_kept; i++)
            elements_put(e, kept[i].position, kept[i].bits);
        for (int64_t i = 0; i < instead.n; i++)
            elements_zero(e, instead.position[i]);
    }
    block_free(kept);
    block_free(instead.position);
    return err;
}

Err mask_unstructured(const MaskTask *t, int64_t zeros, int64_t *after)
{
    const Magnitudes m = { .count = t->elements->count, .elements = t->elements };
    int64_t taken;
    Cut cut;
    Selection *selection;
    Err err = select_first(&(Candidates) { .n = 1, .count = &m.count, .only = &m }, zeros, t->kernels, &cut, &taken, &selection);
    int64_t doomed = err == OK && !t->empty_channels ? doomed_rows(t, cut) : 0;
    if (doomed)
        err = mask_around_rows(t, cut, selection, zeros, doomed, after);
    else if (err == OK)
        *after = zero_before(t, cut);
    select_free(selection);
    return err;
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
            int64_t base = matrix_row(x, r) + axis_offset(&x->tap, tap), at[N_OF_M_MAX];
            for (int64_t c = 0; c < x->in.count; c += m) {
                int channels = x->in.count - c < m ? (int)(x->in.count - c) : m;
                for (int i = 0; i < channels; i++)
                    at[i] = base + axis_offset(&x->in, c + i);
                zeros += group_n_of_m(t->elements, at, channels, n, write);
            }
        }
    return zeros;
}
