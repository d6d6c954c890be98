/* The weights of Winograd convolutions, G w G' in double. */
#include "kernels/winograd.h"

enum { MOST = 7, TAPS = 4 };   /* points, taps */

WinogradForm winograd_form(int m, int kernel, int stride)
{
    const int r = stride < 1 ? 0 : (kernel + stride - 1) / stride;
    const bool fits = stride <= 2 && r >= (m == 2 ? 3 : 2) && r <= (m == 2 ? 3 : TAPS) && (m == 4 || stride == 1);
    return fits ? (WinogradForm) { m, r, m + r - 1, kernel, stride } : (WinogradForm) { 0 };
}

int winograd_products(const WinogradForm *f)
{
    int n = 0;
    for (int p = 0; p < f->a * f->a; p++) {
        const WinogradPhases range = winograd_phases(f, p);
        n += range.end - range.first;
    }
    return n;
}

/* Row i of G: the powers of point i over the product of its distances to the others; for infinity the highest power. */
static void matrix(const WinogradForm *f, double g[MOST][TAPS])
{
    const WinogradPoints points = winograd_points(f->m, f->r);
    double p[MOST - 1] = { 0 };
    int n = f->a - 1;
    for (int i = points.zero; i < n; i++)
        p[i] = (double)points.pair[(i - points.zero) / 2] * ((i - points.zero) % 2 ? -1 : 1);
    for (int i = 0; i < n; i++) {
        double power = 1;
        for (int j = 0; j < n; j++)
            power /= j == i ? 1 : p[i] - p[j];
        for (int t = 0; t < f->r; t++, power *= p[i])
            g[i][t] = power;
    }
    for (int t = 0; t < f->r; t++)
        g[n][t] = t == f->r - 1;
}

typedef double Column[WINOGRAD_PANEL];         /* the same element for every output */

/* n: at least 2 */
static void transform(int n, const double *g, const Column *x, int step, double *restrict y)
{
    for (int j = 0; j < WINOGRAD_PANEL; j++)
        y[j] = g[0] * x[0][j] + g[1] * x[step][j];
    for (int t = 2; t < n; t++)
        for (int j = 0; j < WINOGRAD_PANEL; j++)
            y[j] += g[t] * x[t * step][j];
}

/* The taps of a channel that meet one phase, [r][r]. */
static void take_taps(const WinogradForm *f, int phase, const float *w, size_t row, int outputs, Column taps[TAPS * TAPS])
{
    int down = winograd_phase_down(phase), across = winograd_phase_across(phase, f->stride);
    for (int t = 0; t < f->r * f->r; t++) {
        int y = t / f->r * f->stride + down, x = t % f->r * f->stride + across;
        for (int j = 0; j < WINOGRAD_PANEL; j++)
            taps[t][j] = j < outputs && y < f->kernel && x < f->kernel ? (double)w[(size_t)j * row + (size_t)(y * f->kernel + x)] : 0;
    }
}

/* The weights that a channel of one phase has at all positions, a row of channels each. */
static void write_positions(const WinogradForm *f, const double g[MOST][TAPS], const Column taps[TAPS * TAPS], int phase, int k, float *u)
{
    Column rows[MOST][TAPS], position;
    for (int i = 0; i < f->a; i++)
        for (int t = 0; t < f->r; t++)
            transform(f->r, g[i], taps + t, f->r, rows[i][t]);
    for (int p = 0; p < f->a * f->a; p++) {
        const WinogradPhases range = winograd_phases(f, p);
        if (phase >= range.first && phase < range.end) {
            float *to = u + (size_t)(phase - range.first) * (size_t)k * WINOGRAD_PANEL;
            transform(f->r, g[p % f->a], rows[p / f->a], 1, position);
            for (int j = 0; j < WINOGRAD_PANEL; j++)
                to[j] = (float)position[j];
        }
        u += (size_t)(range.end - range.first) * (size_t)k * WINOGRAD_PANEL;
    }
}

void winograd_weights(const WinogradForm *f, const float *w, size_t row, int outputs, int k, float *u)
{
    double g[MOST][TAPS];
    Column taps[TAPS * TAPS];
    matrix(f, g);
    for (int c = 0; c < k; c++)
        for (int phase = 0; phase < f->stride * f->stride; phase++) {
            take_taps(f, phase, w + (size_t)c * (size_t)(f->kernel * f->kernel), row, outputs, taps);
            write_positions(f, g, taps, phase, k, u + (size_t)c * WINOGRAD_PANEL);
        }
}
