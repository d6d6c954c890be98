/* The weights of Winograd convolutions, G w G' in double. */
#include "kernels/winograd.h"

enum { MOST = 6 };             /* points */

/* Row i of G: the powers of point i over the product of its distances to the others; for infinity the highest power. Returns the number of rows. */
static int matrix(int m, double g[MOST][3])
{
    const double point[2][MOST - 1] = { { 0, 1, -1 }, { 0, (double)WINOGRAD_P, -(double)WINOGRAD_P, (double)WINOGRAD_Q, -(double)WINOGRAD_Q } };
    const double *p = point[m == 4];
    for (int i = 0; i <= m; i++) {
        double distance = 1;
        for (int j = 0; j <= m; j++)
            distance *= j == i ? 1 : p[i] - p[j];
        g[i][0] = 1 / distance;
        g[i][1] = p[i] / distance;
        g[i][2] = p[i] * p[i] / distance;
    }
    g[m + 1][0] = g[m + 1][1] = 0;
    g[m + 1][2] = 1;
    return m + 2;
}

typedef double Column[WINOGRAD_PANEL];         /* the same element for every output */

static void transform(const double g[3], const Column *x, int step, double *restrict y)
{
    const double *a = x[0], *b = x[step], *c = x[2 * step];
    for (int j = 0; j < WINOGRAD_PANEL; j++)
        y[j] = g[0] * a[j] + g[1] * b[j] + g[2] * c[j];
}

void winograd_weights(int m, const float *w, size_t row, int outputs, int k, float *u)
{
    double g[MOST][3];
    Column taps[9] = { { 0 } }, rows[MOST][3], position;
    int a = matrix(m, g);
    size_t step = (size_t)k * WINOGRAD_PANEL;
    for (int c = 0; c < k; c++, u += WINOGRAD_PANEL) {
        for (int j = 0; j < outputs; j++)
            for (int t = 0; t < 9; t++)
                taps[t][j] = (double)w[(size_t)j * row + (size_t)(c * 9 + t)];
        for (int i = 0; i < a; i++)
            for (int t = 0; t < 3; t++)
                transform(g[i], taps + t, 3, rows[i][t]);
        for (int p = 0; p < a * a; p++) {
            transform(g[p % a], rows[p / a], 1, position);
            float *to = u + (size_t)p * step;
            for (int j = 0; j < WINOGRAD_PANEL; j++)
                to[j] = (float)position[j];
        }
    }
}
