/* Loops over rows: the definitions. Activations are evaluated in double and rounded once. */
#include "kernels/half.h"
#include "kernels/levels.h"
#include <math.h>

static double clamp(double x, double low, double high)
{
    double y = x < low ? low : x;
    return y > high ? high : y;
}

static double hard(const Activate *a, double x) { return clamp((double)a->alpha * x + (double)a->beta, 0, 1); }

static double activation(const Activate *a, double x)
{
    switch (a->kind) {
    case ACTIVATION_CLAMP:        return clamp(x, (double)a->alpha, (double)a->beta);
    case ACTIVATION_LEAKY:        return x < 0 ? (double)a->alpha * x : x;
    case ACTIVATION_SIGMOID:      return 1 / (1 + exp(-x));
    case ACTIVATION_SILU:         return x / (1 + exp(-(double)a->alpha * x));
    case ACTIVATION_HARD_SIGMOID: return hard(a, x);
    case ACTIVATION_HARD_SWISH:   return x * hard(a, x);
    case ACTIVATION_TANH:         return tanh(x);
    case ACTIVATION_ERF:          return erf(x);
    case ACTIVATION_GELU:         return x / 2 * erfc(-x * M_SQRT1_2);
    case ACTIVATION_GELU_TANH:    return x / (1 + exp(-2 * M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x)));
    case ACTIVATION_MISH:         return x * tanh(log1p(exp(x)));
    case ACTIVATION_EXP:          return exp(x);
    case ACTIVATIONS:             break;
    }
    return x;
}

static void activate_f32(const Activate *a, const float *x, float *y, int rows, size_t n, size_t ld)
{
    for (; rows > 0; rows--, x += ld, y += ld)
        for (size_t i = 0; i < n; i++) y[i] = (float)activation(a, x[i]);
}

static float arithmetic(Arithmetic kind, float a, float b)
{
    switch (kind) {
    case ARITHMETIC_ADD: return a + b;
    case ARITHMETIC_SUB: return a - b;
    case ARITHMETIC_MUL: return a * b;
    case ARITHMETIC_DIV: return a / b;
    case ARITHMETIC_MAX: return isnan(a) || a > b ? a : b;
    case ARITHMETIC_MIN: return isnan(a) || a < b ? a : b;
    case ARITHMETICS:    break;
    }
    return a;
}

static void combine_f32(const Combine *c, const float *a, const float *b, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = arithmetic(c->kind, a[i * c->step_a], b[i * c->step_b]);
}

static double shifted(const Softmax *p, const float *x, size_t i)
{
    return (double)x[i] * (double)p->scale + (p->mask ? (double)p->mask[i * p->step] : 0);
}

static void softmax_f32(const Softmax *p, const float *x, float *y, size_t n)
{
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) most = shifted(p, x, i) > most ? shifted(p, x, i) : most;
    for (size_t i = 0; i < n; i++) sum += exp(shifted(p, x, i) - most);
    for (size_t i = 0; i < n; i++) {
        double t = shifted(p, x, i) - most;
        y[i] = (float)(p->logarithm ? t - log(sum) : exp(t) / sum);
    }
}

static void softmax_columns_f32(const SoftmaxColumns *p, float *x)
{
    for (int c = 0; c < p->columns; c++) {
        double most = -INFINITY, sum = 0;
        for (int i = 0; i < p->rows; i++) {
            float *t = x + (size_t)i * p->ld + c;
            *t = *t * p->scale + (p->mask ? p->mask[(size_t)i * p->step + (size_t)(p->each ? c : 0)] : 0);
            most = (double)*t > most ? (double)*t : most;
        }
        for (int i = 0; i < p->rows; i++) sum += exp((double)x[(size_t)i * p->ld + (size_t)c] - most);
        for (int i = 0; i < p->rows; i++) x[(size_t)i * p->ld + (size_t)c] = (float)(exp((double)x[(size_t)i * p->ld + (size_t)c] - most) / sum);
    }
}

static float total_f32(Total kind, const float *x, size_t n)
{
    double total = kind == TOTAL_MOST ? -INFINITY : kind == TOTAL_LEAST ? INFINITY : 0;
    for (size_t i = 0; i < n; i++) {
        double v = x[i];
        if (kind == TOTAL_SUM) total += v;
        else if (kind == TOTAL_SQUARES) total += v * v;
        else if (kind == TOTAL_MOST ? v > total : v < total) total = v;
        else if (isnan(v)) return NAN;
    }
    return (float)total;
}

static void normalize_f32(const Normalize *p, const float *x, float *y, size_t n)
{
    double mean = 0, spread = 0;
    for (size_t i = 0; i < n && !p->root_mean_square; i++) mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++) spread += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(((double)x[i] - mean) / sqrt(spread + (double)p->epsilon)) * (p->scale ? p->scale[i] : 1) + (p->shift ? p->shift[i] : 0);
}

static void normalize_columns_f32(const Normalize *p, const float *x, size_t ldx, float *y, size_t ldy, size_t n)
{
    for (size_t c = 0; c < PANEL_VECTOR; c++) {
        double mean = 0, spread = 0;
        for (size_t i = 0; i < n && !p->root_mean_square; i++) mean += (double)x[i * ldx + c] / (double)n;
        for (size_t i = 0; i < n; i++) spread += ((double)x[i * ldx + c] - mean) * ((double)x[i * ldx + c] - mean) / (double)n;
        for (size_t i = 0; i < n; i++)
            y[i * ldy + c] = (float)(((double)x[i * ldx + c] - mean) / sqrt(spread + (double)p->epsilon)) * (p->scale ? p->scale[i] : 1) + (p->shift ? p->shift[i] : 0);
    }
}

static void widen_f16(const uint16_t *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = f16_to_f32(x[i]);
}

static void narrow_f16(const float *x, size_t n, uint16_t *y)
{
    for (size_t i = 0; i < n; i++) y[i] = f32_to_f16(x[i]);
}

void rows_scalar(Kernels *k)
{
    k->activate_f32 = activate_f32;
    k->combine_f32 = combine_f32;
    k->softmax_f32 = softmax_f32;
    k->softmax_columns_f32 = softmax_columns_f32;
    k->normalize_f32 = normalize_f32;
    k->normalize_columns_f32 = normalize_columns_f32;
    k->total_f32 = total_f32;
    k->widen_f16 = widen_f16;
    k->narrow_f16 = narrow_f16;
}
