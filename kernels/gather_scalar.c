#include "kernels/levels.h"

static void gather_f32(const GatherPart *g, float *sums)
{
    const GatherStep *step = g->step;
    for (const GatherHead *h = g->head; h < g->head + g->heads; step += h->steps, h++)
        for (int t = 0; t < (g->pairs ? 2 * g->pairs : 1); t++)
            for (int i = 0; i < GATHER_LANES; i++) {
                const float *x = g->pairs ? g->x + (size_t)(t / 2) * 2 * g->k_all + t % 2 : g->x;
                float sum = 0;
                for (int s = 0; s < h->steps; s++)
                    sum += step[s].w[i] * x[(size_t)step[s].at[i] * (g->pairs ? 2 : 1)];
                sums[t * GATHER_ROWS + h->row[i]] += sum;
            }
}

void gather_scalar(Kernels *k) { k->gather_f32 = gather_f32; }
