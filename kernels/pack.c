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

static int row_nonzeros(const Weights *w, int m, int k0, int k1)
{
    int n = 0;
    for (int k = k0; k < k1; k++)
        n += weight(w, m, k) != 0;
    return n;
}

size_t weights_nonzeros(const Weights *w, int k0, int k1)
{
    size_t n = 0;
    for (int m = 0; m < w->rows; m++)
        n += (size_t)row_nonzeros(w, m, k0, k1);
    return n;
}

/* Counting sort, stable. */
static void sort_heads(const Weights *w, int k0, int k1, SparseHead *head)
{
    int next[SPARSE_BLOCK + 1] = { 0 };                        /* first place of rows with this count */
    for (int m = 0; m < w->rows; m++)
        for (int n = row_nonzeros(w, m, k0, k1); n > 0; n--)
            next[n - 1]++;                                     /* rows with more come before */
    for (int m = 0; m < w->rows; m++) {
        int n = row_nonzeros(w, m, k0, k1);
        head[next[n]++] = (SparseHead) { (uint16_t)m, (uint16_t)n };
    }
}

static uint8_t *put(uint8_t *stream, const float *w, const uint16_t *at, int n)
{
    memcpy(stream, w, (size_t)n * sizeof *w);
    memcpy(stream + (size_t)n * sizeof *w, at, (size_t)n * sizeof *at);
    return stream + n * SPARSE_BYTES;
}

void weights_pack_sparse(const Weights *w, int k0, int k1, int pitch, SparseHead *head, uint8_t *stream)
{
    sort_heads(w, k0, k1, head);
    for (const SparseHead *h = head; h < head + w->rows; h++) {
        float value[4];
        uint16_t at[4];
        int n = 0;
        for (int k = k0; k < k1; k++) {
            value[n] = weight(w, h->row, k);
            if (value[n] == 0)
                continue;
            at[n] = (uint16_t)((k - k0) * pitch);
            if (++n < 4)
                continue;
            stream = put(stream, value, at, 4);
            n = 0;
        }
        for (int i = 0; i < n; i++)
            stream = put(stream, value + i, at + i, 1);
    }
}
