#include "kernels/pack_rows.h"
#include <string.h>

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

void row_set(Row *row, const Weights *w, int m, int k0, int k1)
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
        for (int k = k0; k < k1; k += ROW_PLACES) {
            row_set(&row, w, m, k, k1 - k < ROW_PLACES ? k1 : k + ROW_PLACES);
            n += (size_t)row.count;
        }
    return n;
}

/* Insertion sort. */
void rows_sort(const Row *row, int rows, uint8_t *order)
{
    for (int m = 0; m < rows; m++) {
        int i = m;
        for (; i > 0 && row[order[i - 1]].count < row[m].count; i--)
            order[i] = order[i - 1];
        order[i] = (uint8_t)m;
    }
}

int row_zero(const Row *row, int n)
{
    int i = 0;
    while (64 * i < n && !~row->bit[i])
        i++;
    int k = 64 * i < n ? 64 * i + __builtin_ctzll(~row->bit[i]) : n;
    return k < n ? k : n;
}

/* Row m in one lane of `steps` steps. They are filled up with weights of 0 that meet an x whose weight is 0 anyhow, so that infinities there come to the same. */
static void put_lane(const Weights *w, int m, const int k01[2], GatherStep *step, int steps, int lane)
{
    Row row;
    int n = 0, zero = -1;
    for (int k = k01[0], end; k < k01[1]; k = end) {
        end = k01[1] - k < ROW_PLACES ? k01[1] : k + ROW_PLACES;
        row_set(&row, w, m, k, end);
        if (zero < 0 && row.count < end - k)
            zero = k - k01[0] + row_zero(&row, end - k);
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
    rows_sort(row, groups * FEW_LANES, order);
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
