#include "kernels/levels.h"

static void gather_f32(const FewPart *p, float *sums)
{
    const GatherHead *head = p->unit;
    const GatherStep *step = (const GatherStep *)((const char *)p->unit + gather_steps_at(p->groups));
    for (const GatherHead *h = head; h < head + p->groups; step += h->steps, h++)
        for (int t = 0; t < p->tokens; t++)
            for (int i = 0; i < FEW_LANES; i++) {
                const float *x = p->x + (size_t)(t / 2) * p->ldx + t % 2;
                float sum = 0;
                for (int s = 0; s < h->steps; s++)
                    sum += step[s].w[i] * x[(size_t)step[s].at[i] * (p->tokens == 1 ? 1 : 2)];
                sums[t * FEW_ROWS + h->row[i]] += sum;
            }
}

static void bitmap_f32(const FewPart *p, float *sums)
{
    const uint16_t *bits = p->unit;
    for (int g = 0; g < p->groups; g++, sums += FEW_LANES) {
        const float *w = (const float *)(bits + (p->k + 1) / 2 * 2);
        float sum[FEW_TOKENS][FEW_LANES] = { 0 };
        for (int k = 0; k < p->k; k++)
            for (int i = 0; i < FEW_LANES; i++) {
                float weight = bits[k] >> i & 1 ? *w++ : 0;
                for (int t = 0; t < p->tokens; t++)
                    sum[t][i] += weight * p->x[(size_t)t * p->ldx + (size_t)k];
            }
        for (int t = 0; t < p->tokens; t++)
            for (int i = 0; i < FEW_LANES; i++)
                sums[t * FEW_ROWS + i] += sum[t][i];
        bits = (const uint16_t *)w;
    }
}

void few_scalar(Kernels *k)
{
    k->gather_f32 = gather_f32;
    k->bitmap_f32 = bitmap_f32;
}
