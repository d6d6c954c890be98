#include "engine/attention.h"
#include <omp.h>

/* Scores of so many queries stay in L2; fewer than LEAST would use keys and values too seldom. */
enum { SCORES = 32768, LEAST = 16, LINE = 16 };

static int tile_of(const Attention *a)
{
    int tile = SCORES / a->keys < LEAST ? LEAST : SCORES / a->keys, most = a->queries;
    if (a->heads < 2 * a->threads && most > (a->queries + a->threads - 1) / a->threads) most = (a->queries + a->threads - 1) / a->threads;
    return tile < most ? tile : most;
}

static Matmul scores_of(const Attention *a, int rows)
{
    return (Matmul){ a->kernels, rows, a->keys, a->depth, (size_t)a->q.row, (size_t)a->q.column, (size_t)a->k.column, (size_t)a->k.row, (size_t)a->keys };
}

static Matmul values_of(const Attention *a, int rows)
{
    return (Matmul){ a->kernels, rows, a->width, a->keys, (size_t)a->keys, 1, (size_t)a->v.row, (size_t)a->v.column, (size_t)a->y.row };
}

static size_t own_scratch(const Attention *a)
{
    Matmul scores = scores_of(a, tile_of(a)), values = values_of(a, tile_of(a));
    size_t one = matmul_scratch(&scores), two = matmul_scratch(&values);
    return ((size_t)tile_of(a) * (size_t)a->keys + (one > two ? one : two) + 2 * LINE) / LINE * LINE;
}

size_t attention_scratch(const Attention *a) { return own_scratch(a) * (size_t)a->threads; }

/* Queries first ... first + rows - 1 of head h. */
static void run_tile(const Attention *a, const AttentionRun *run, int64_t h, int first, int rows)
{
    const Kernels *k = a->kernels;
    const Matmul scores = scores_of(a, rows), values = values_of(a, rows);
    size_t keys = (size_t)a->keys, tile = ((size_t)tile_of(a) * keys + LINE - 1) / LINE * LINE;
    float *score = run->scratch + own_scratch(a) * (size_t)omp_get_thread_num(), *spare = score + tile;
    matmul_one(&scores, run->q + a->q.at[h] + first * a->q.row, run->k + a->k.at[h], score, spare);
    for (int i = 0; i < rows; i++) {
        float *row = score + (size_t)i * keys;
        if (a->scale != 1) k->combine_f32(&(Combine){ ARITHMETIC_MUL, 1, 0 }, row, &a->scale, row, keys);
        if (a->mask.at) {
            const float *mask = run->mask + a->mask.at[h] + (first + i) * a->mask.row;
            k->combine_f32(&(Combine){ ARITHMETIC_ADD, 1, (size_t)a->mask.column }, row, mask, row, keys);
        }
        k->softmax_f32(row, row, keys);
    }
    matmul_one(&values, score, run->v + a->v.at[h], run->y + a->y.at[h] + first * a->y.row, spare);
}

void attention_run(const Attention *a, const AttentionRun *run)
{
    int tile = tile_of(a), tiles = (a->queries + tile - 1) / tile;
    double work = (double)a->heads * a->queries * a->keys * (a->depth + a->width);
    #pragma omp parallel for schedule(dynamic) num_threads(a->threads) if (a->threads > 1 && work > 1e5)
    for (int64_t t = 0; t < a->heads * tiles; t++) {
        int first = (int)(t % tiles) * tile, rows = a->queries - first < tile ? a->queries - first : tile;
        run_tile(a, run, t / tiles, first, rows);
    }
}
