/* Winograd convolutions in plain C, see kernels/winograd.h. */
#include "kernels/levels.h"

static void interleave_f32(const float *const *row, int step, int columns, float *y)
{
    for (int c = 0; c < columns; c++)
        for (int l = 0; l < WINOGRAD_LANES; l++)
            *y++ = row[l] ? row[l][c * step] : 0;
}

enum { MOST = 7 };             /* positions along an axis */

/* B' of a line: of polynomials that are 0 at all points but one. */
static void input_line(int m, int r, const float *d, float *y)
{
    const WinogradPoints p = winograd_points(m, r);
    const float *x = d + p.zero;
    float all[4], zero = 0, infinity = 0;
    winograd_polynomial(&p, -1, all);
    for (int k = 0; k <= p.pairs; k++) {
        zero += all[k] * d[2 * k];
        infinity += all[k] * x[2 * k];
    }
    if (p.zero)
        y[0] = zero;
    for (int i = 0; i < p.pairs; i++) {
        float others[4], even = 0, odd = 0;
        winograd_polynomial(&p, i, others);
        for (int k = 0; k < p.pairs; k++) {
            even += others[k] * x[2 * k];
            odd += others[k] * x[2 * k + 1];
        }
        y[p.zero + 2 * i] = odd + p.pair[i] * even;
        y[p.zero + 2 * i + 1] = odd - p.pair[i] * even;
    }
    y[m + r - 2] = infinity;
}

/* A' of a line: powers of the points. */
static void output_line(int m, int r, const float *d, float *y)
{
    const WinogradPoints p = winograd_points(m, r);
    float power[3] = { 1, 1, 1 };
    for (int j = 0; j < m; j++) {
        y[j] = (j == 0 && p.zero ? d[0] : 0) + (j == m - 1 ? d[m + r - 2] : 0);
        for (int i = 0; i < p.pairs; i++) {
            float plus = d[p.zero + 2 * i], minus = d[p.zero + 2 * i + 1];
            y[j] += power[i] * (j % 2 ? plus - minus : plus + minus);
            power[i] *= p.pair[i];
        }
    }
}

static void winograd_input_f32(const WinogradTiles *t, const float *pixels, float *positions)
{
    const int a = t->m + t->r - 1;
    float d[MOST], y[MOST], half[MOST][MOST];
    for (int n = 0; n < t->tiles; n++)
        for (int l = 0; l < WINOGRAD_LANES; l++) {
            for (int j = 0; j < a; j++) {
                for (int i = 0; i < a; i++)
                    d[i] = pixels[(size_t)i * t->row + (size_t)((n * t->m + j) * t->step * WINOGRAD_LANES + l)];
                input_line(t->m, t->r, d, y);
                for (int i = 0; i < a; i++)
                    half[i][j] = y[i];
            }
            for (int i = 0; i < a; i++) {
                input_line(t->m, t->r, half[i], y);
                for (int j = 0; j < a; j++)
                    positions[(size_t)(i * a + j) * t->position + (size_t)n * t->pitch + (size_t)l] = y[j];
            }
        }
}

static void winograd_output_f32(const WinogradTiles *t, const float *positions, float *pixels)
{
    const int a = t->m + t->r - 1;
    float d[MOST], y[MOST], half[MOST][MOST];
    for (int n = 0; n < t->tiles; n++)
        for (int l = 0; l < WINOGRAD_LANES; l++) {
            for (int j = 0; j < a; j++) {
                for (int i = 0; i < a; i++)
                    d[i] = positions[(size_t)(i * a + j) * t->position + (size_t)n * t->pitch + (size_t)l];
                output_line(t->m, t->r, d, y);
                for (int i = 0; i < t->m; i++)
                    half[i][j] = y[i];
            }
            for (int i = 0; i < t->rows; i++) {
                output_line(t->m, t->r, half[i], y);
                for (int j = 0; j < t->m && n * t->m + j < t->columns; j++)
                    pixels[(size_t)i * t->row + (size_t)((n * t->m + j) * WINOGRAD_LANES + l)] = y[j];
            }
        }
}

static void winograd_product_f32(const WinogradProduct *p)
{
    for (int r = 0; r < p->rows; r++)
        for (int j = 0; j < p->outputs; j++) {
            float sum = 0, chain = 0;
            for (int k = 0; k < p->k; k++) {
                chain += p->v[(size_t)r * p->ld + (size_t)k] * p->u[k * WINOGRAD_PANEL + j];
                if (k % WINOGRAD_CHAIN < WINOGRAD_CHAIN - 1 && k < p->k - 1)
                    continue;
                sum += chain;
                chain = 0;
            }
            p->y[r * WINOGRAD_PANEL + j] = sum;
        }
}

static void winograd_finish_f32(const float *pixels, int rows, const PanelOutput *o)
{
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < o->columns; n++) {
            float sum = pixels[n * WINOGRAD_LANES + m] + (o->bias ? o->bias[m] : 0) + (o->residual ? o->residual[(size_t)m * o->residual_ld + (size_t)n] : 0);
            o->y[(size_t)m * o->ld + (size_t)n] = sum < o->lo ? o->lo : sum > o->hi ? o->hi : sum;
        }
}

void winograd_scalar(Kernels *k)
{
    k->interleave_f32 = interleave_f32;
    k->winograd_input_f32 = winograd_input_f32;
    k->winograd_product_f32 = winograd_product_f32;
    k->winograd_output_f32 = winograd_output_f32;
    k->winograd_finish_f32 = winograd_finish_f32;
}
