/* Winograd convolutions in plain C, see kernels/winograd.h. */
#include "kernels/levels.h"

static void interleave_f32(const float *x, size_t ldx, int rows, int columns, float *y)
{
    for (int c = 0; c < columns; c++)
        for (int r = 0; r < WINOGRAD_LANES; r++)
            *y++ = r < rows ? x[(size_t)r * ldx + (size_t)c] : 0;
}

/* One row of B': a values that lie `step` apart, to a positions that lie `to` apart. */
static void input_line(int m, const float *d, size_t step, float *y, size_t to)
{
    const float p = WINOGRAD_P, q = WINOGRAD_Q, pp = p * p, qq = q * q;
    float d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    if (m == 2) {
        y[0] = d2 - d0;
        y[to] = d2 + d1;
        y[2 * to] = d2 - d1;
        y[3 * to] = d3 - d1;
        return;
    }
    float d4 = d[4 * step], d5 = d[5 * step];
    y[0] = d4 - (pp + qq) * d2 + pp * qq * d0;
    y[to] = d4 - qq * d2 + p * (d3 - qq * d1);
    y[2 * to] = d4 - qq * d2 - p * (d3 - qq * d1);
    y[3 * to] = d4 - pp * d2 + q * (d3 - pp * d1);
    y[4 * to] = d4 - pp * d2 - q * (d3 - pp * d1);
    y[5 * to] = d5 - (pp + qq) * d3 + pp * qq * d1;
}

/* One row of A'. */
static void output_line(int m, const float *d, size_t step, float *y, size_t to)
{
    const float p = WINOGRAD_P, q = WINOGRAD_Q, pp = p * p, qq = q * q;
    float d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], even = d1 + d2, odd = d1 - d2;
    if (m == 2) {
        y[0] = d0 + even;
        y[to] = odd + d3;
        return;
    }
    float d4 = d[4 * step], even_q = d3 + d4, odd_q = d3 - d4;
    y[0] = d0 + even + even_q;
    y[to] = p * odd + q * odd_q;
    y[2 * to] = pp * even + qq * even_q;
    y[3 * to] = pp * p * odd + qq * q * odd_q + d[5 * step];
}

static void winograd_input_f32(const WinogradTiles *t, const float *pixels, float *positions)
{
    const int a = t->m + 2;
    for (int n = 0; n < t->tiles; n++)
        for (int l = 0; l < WINOGRAD_LANES; l++) {
            const float *x = pixels + n * t->m * WINOGRAD_LANES + l;
            float *y = positions + (size_t)n * t->pitch + l, half[WINOGRAD_POSITIONS];
            for (int j = 0; j < a; j++)
                input_line(t->m, x + j * WINOGRAD_LANES, t->row, half + j, (size_t)a);
            for (int i = 0; i < a; i++)
                input_line(t->m, half + i * a, 1, y + (size_t)(i * a) * t->position, t->position);
        }
}

static void winograd_output_f32(const WinogradTiles *t, const float *positions, float *pixels)
{
    const int a = t->m + 2;
    for (int n = 0; n < t->tiles; n++)
        for (int l = 0; l < WINOGRAD_LANES; l++) {
            const float *x = positions + (size_t)n * t->pitch + l;
            float half[WINOGRAD_POSITIONS], whole[16];
            for (int j = 0; j < a; j++)
                output_line(t->m, x + (size_t)j * t->position, (size_t)a * t->position, half + j, (size_t)a);
            for (int i = 0; i < t->m; i++)
                output_line(t->m, half + i * a, 1, whole + i * t->m, 1);
            for (int i = 0; i < t->rows; i++)
                for (int j = 0; j < t->m && n * t->m + j < t->columns; j++)
                    pixels[(size_t)i * t->row + (size_t)((n * t->m + j) * WINOGRAD_LANES + l)] = whole[i * t->m + j];
        }
}

static void winograd_product_f32(const WinogradProduct *p)
{
    for (int r = 0; r < p->rows; r++)
        for (int j = 0; j < p->outputs; j++) {
            float sum = 0;
            for (int k = 0; k < p->k; k++)
                sum += p->v[(size_t)r * p->ld + (size_t)k] * p->u[k * WINOGRAD_PANEL + j];
            p->y[r * WINOGRAD_PANEL + j] = sum;
        }
}

static void winograd_finish_f32(const float *pixels, int rows, const PanelOutput *o)
{
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < o->columns; n++) {
            size_t at = (size_t)m * o->ld + (size_t)n;
            float sum = pixels[n * WINOGRAD_LANES + m] + (o->bias ? o->bias[m] : 0) + (o->residual ? o->residual[at] : 0);
            o->y[at] = sum < o->lo ? o->lo : sum > o->hi ? o->hi : sum;
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
