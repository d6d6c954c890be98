#include "kernels/pack.h"
#include <string.h>

static float weight(const Weights *w, int m, int k)
{
    return w->w[(size_t)m * w->row + (size_t)k * w->column];
}

size_t weights_dense_count(const Weights *w, int k0, int k1, int width)
{
    return (size_t)(w->rows + width - 1) / (size_t)width * (size_t)width * (size_t)(k1 - k0);
}

/* Row by row: reads are contiguous, and `width` lines of the result are written at a time. */
void weights_pack_dense(const Weights *w, int k0, int k1, int width, float *out)
{
    size_t pitch = (size_t)width, k = (size_t)(k1 - k0);
    for (int m = 0; m < (w->rows + width - 1) / width * width; m++) {
        float *to = out + (size_t)(m / width) * k * pitch + (size_t)(m % width);
        const float *from = w->w + (size_t)m * w->row + (size_t)k0 * w->column;
        if (m >= w->rows)
            for (size_t i = 0; i < k; i++)
                to[i * pitch] = 0;
        else
            for (size_t i = 0; i < k; i++)
                to[i * pitch] = from[i * w->column];
    }
}

typedef uint32_t Four __attribute__((vector_size(16)));
typedef struct Row { uint64_t bit[SPARSE_BLOCK / 64]; int count; } Row;        /* which weights are not 0 */

/* Of 32 weights that follow each other. */
static uint64_t bits_of(const float *w)
{
    Four bits = { 0 }, place = { 1, 2, 4, 8 };
    for (int i = 0; i < 32; i += 4, place <<= 4) {
        Four x;
        memcpy(&x, w + i, sizeof x);
        bits |= (Four)(x << 1 != 0) & place;                   /* without the sign */
    }
    return bits[0] | bits[1] | bits[2] | bits[3];
}

static void row_set(Row *row, const Weights *w, int m, int k0, int k1)
{
    int k = k0;
    for (int i = 0; i < (k1 - k0 + 63) / 64; i++)
        row->bit[i] = 0;
    for (; w->column == 1 && k + 32 <= k1; k += 32)
        row->bit[(k - k0) / 64] |= bits_of(w->w + (size_t)m * w->row + (size_t)k) << (k - k0) % 64;
    for (; k < k1; k++)
        row->bit[(k - k0) / 64] |= (uint64_t)(weight(w, m, k) != 0) << (k - k0) % 64;
    row->count = 0;
    for (int i = 0; i < (k1 - k0 + 63) / 64; i++)
        row->count += __builtin_popcountll(row->bit[i]);
}

size_t weights_nonzeros(const Weights *w, int k0, int k1)
{
    Row row;
    size_t n = 0;
    for (int m = 0; m < w->rows; m++)
        for (int k = k0; k < k1; k += SPARSE_BLOCK) {
            row_set(&row, w, m, k, k1 - k < SPARSE_BLOCK ? k1 : k + SPARSE_BLOCK);
            n += (size_t)row.count;
        }
    return n;
}

/* Insertion sort, stable: the rows with most weights first. */
static void sort_rows(const Row *row, int rows, uint8_t *order)
{
    for (int m = 0; m < rows; m++) {
        int i = m;
        for (; i > 0 && row[order[i - 1]].count < row[m].count; i--)
            order[i] = order[i - 1];
        order[i] = (uint8_t)m;
    }
}

/* Two rows whose stream is made; the second one may be without weights. */
typedef struct Pair {
    const Weights *w;
    int k0, k1, words, pitch;
    int m[2], both, alone[2];              /* rows, weights that meet a row of the panel together and alone */
    uint64_t together[SPARSE_BLOCK / 64];  /* where */
    const Row *row[2];
} Pair;

static void pair_set(Pair *p, const Row *row, int first, int second)
{
    static const Row none;
    p->m[0] = first;
    p->m[1] = second;
    p->row[0] = &row[first];
    p->row[1] = first == second ? &none : &row[second];
    p->both = 0;
    for (int i = 0; i < p->words; i++) {
        p->together[i] = p->row[0]->bit[i] & p->row[1]->bit[i];
        p->both += __builtin_popcountll(p->together[i]);
    }
    for (int i = 0; p->both % SPARSE_TOGETHER; p->together[i] &= p->together[i] - 1, p->both--)
        while (!p->together[i])
            i++;
    for (int r = 0; r < 2; r++)
        p->alone[r] = p->row[r]->count - p->both;
}

static int steps_of(const Pair *p)
{
    int most = p->alone[0] > p->alone[1] ? p->alone[0] : p->alone[1];
    return (most + 1) / 2;
}

static uint8_t *put_both(const Pair *p, uint8_t *stream)
{
    for (int i = 0; i < p->words; i++)
        for (uint64_t left = p->together[i]; left; left &= left - 1, stream += SPARSE_BOTH) {
            int k = 64 * i + __builtin_ctzll(left);
            const float w[2] = { weight(p->w, p->m[0], p->k0 + k), weight(p->w, p->m[1], p->k0 + k) };
            uint16_t at = (uint16_t)(k * p->pitch);
            memcpy(stream, w, sizeof w);
            memcpy(stream + sizeof w, &at, sizeof at);
        }
    return stream;
}

/* The first of n weights that is 0; n: none is. */
static int zero_of(const Row *row, int n)
{
    int i = 0;
    while (64 * i < n && !~row->bit[i])
        i++;
    int k = 64 * i < n ? 64 * i + __builtin_ctzll(~row->bit[i]) : n;
    return k < n ? k : n;
}

/* Weight number n of those that only row r has: numbers r and r + 2 of each step. */
static void put_one(int n, int r, float w, uint16_t at, uint8_t *stream)
{
    int q = n % 2 * 2 + r;
    memcpy(stream + n / 2 * SPARSE_STEP + q * (int)sizeof w, &w, sizeof w);
    memcpy(stream + n / 2 * SPARSE_STEP + 4 * sizeof w + q * (int)sizeof at, &at, sizeof at);
}

/* The last steps are filled up with weights of 0 that meet a row where the weight is 0 anyhow, so that infinities there come to the same. */
static void put_alone(const Pair *p, int r, int steps, uint8_t *stream)
{
    int n = 0;
    for (int i = 0; i < p->words; i++)
        for (uint64_t left = p->row[r]->bit[i] & ~p->together[i]; left; left &= left - 1) {
            int k = 64 * i + __builtin_ctzll(left);
            put_one(n++, r, weight(p->w, p->m[r], p->k0 + k), (uint16_t)(k * p->pitch), stream);
        }
    int zero = zero_of(p->row[r], p->k1 - p->k0);
    for (uint16_t at = (uint16_t)(zero < p->k1 - p->k0 ? zero * p->pitch : 0); n < 2 * steps; n++)
        put_one(n, r, 0, at, stream);
}

size_t weights_pack_sparse(const Weights *w, int k0, int k1, int pitch, void *memory)
{
    Row row[SPARSE_ROWS];
    uint8_t order[SPARSE_ROWS];
    Pair p = { .w = w, .k0 = k0, .k1 = k1, .words = (k1 - k0 + 63) / 64, .pitch = pitch };
    SparseHead *head = memory;
    size_t bytes = (size_t)sparse_heads(w->rows) * sizeof *head;
    for (int m = 0; m < w->rows; m++)
        row_set(&row[m], w, m, k0, k1);
    sort_rows(row, w->rows, order);
    for (int i = 0; i < w->rows; i += 2) {
        pair_set(&p, row, order[i], order[i + 1 < w->rows ? i + 1 : i]);
        int steps = steps_of(&p);
        if (memory) {
            *head++ = (SparseHead) { { (uint16_t)p.m[0], (uint16_t)p.m[1] }, (uint16_t)p.both, (uint16_t)steps };
            uint8_t *stream = put_both(&p, (uint8_t *)memory + bytes);
            for (int r = 0; r < 2; r++)
                put_alone(&p, r, steps, stream);
        }
        bytes += (size_t)p.both * SPARSE_BOTH + (size_t)steps * SPARSE_STEP;
    }
    return bytes;
}

/* Row m in one lane of `steps` steps, filled up as above. */
static void put_lane(const Weights *w, int m, const int k01[2], GatherStep *step, int steps, int lane)
{
    Row row;
    int n = 0, zero = -1;
    for (int k = k01[0], end; k < k01[1]; k = end) {
        end = k01[1] - k < SPARSE_BLOCK ? k01[1] : k + SPARSE_BLOCK;
        row_set(&row, w, m, k, end);
        if (zero < 0 && row.count < end - k)
            zero = k - k01[0] + zero_of(&row, end - k);
        for (int i = 0; i < (end - k + 63) / 64; i++)
            for (uint64_t left = row.bit[i]; left; left &= left - 1, n++) {
                int at = k + 64 * i + __builtin_ctzll(left);
                step[n].w[lane] = weight(w, m, at);
                step[n].at[lane] = (uint16_t)(at - k01[0]);
            }
    }
    for (; n < steps; n++) {
        step[n].w[lane] = 0;
        step[n].at[lane] = (uint16_t)(zero < 0 ? 0 : zero);
    }
}

size_t weights_pack_gather(const Weights *w, int k0, int k1, void *memory)
{
    Row row[FEW_ROWS] = { 0 };                              /* only their counts; none beyond the last */
    uint8_t order[FEW_ROWS];
    const int groups = few_groups(w->rows), k01[2] = { k0, k1 };
    size_t bytes = gather_steps_at(groups);
    for (int m = 0; m < w->rows; m++)
        row[m].count = (int)weights_nonzeros(&(Weights) { w->w + (size_t)m * w->row, w->row, w->column, 1 }, k0, k1);
    sort_rows(row, groups * FEW_LANES, order);
    for (int h = 0; h < groups; h++) {
        GatherHead *head = memory ? (GatherHead *)memory + h : NULL;
        GatherStep *step = memory ? (GatherStep *)((char *)memory + bytes) : NULL;
        int steps = row[order[h * FEW_LANES]].count;
        for (int i = 0; memory && i < FEW_LANES; i++) {
            int m = order[h * FEW_LANES + i];
            head->row[i] = (uint8_t)m;
            head->steps = (uint16_t)steps;
            put_lane(w, m, m < w->rows ? k01 : (int[]) { 0, 0 }, step, steps, i);
        }
        bytes += (size_t)steps * sizeof *step;
    }
    return bytes;
}

/* One group: its bits at `bits`, its nonzeros at w; every weight is written, what is 0 over which the next one goes. Returns the end. */
static float *put_bits(const Weights *w, int m, const int k01[2], uint16_t *bits, float *to)
{
    int rows = w->rows - m < FEW_LANES ? w->rows - m : FEW_LANES;
    for (int k = k01[0]; k < k01[1]; k++) {
        unsigned set = 0;
        for (int r = 0; r < rows; r++) {
            *to = weight(w, m + r, k);
            unsigned keep = *to != 0;
            set |= keep << r;
            to += keep;
        }
        *bits++ = (uint16_t)set;
    }
    if ((k01[1] - k01[0]) % 2)
        *bits = 0;
    return to;
}

size_t weights_pack_bitmap(const Weights *w, int k0, int k1, void *memory)
{
    const int groups = few_groups(w->rows), columns = (k1 - k0 + 1) / 2 * 2, k01[2] = { k0, k1 };
    uint16_t *bits = memory;
    for (int g = 0; memory && g < groups; g++)
        bits = (uint16_t *)put_bits(w, g * FEW_LANES, k01, bits, (float *)(bits + columns));
    return (size_t)(groups * columns) * sizeof *bits + weights_nonzeros(w, k0, k1) * sizeof(float) + BITMAP_SLACK;
}
