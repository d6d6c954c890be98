/* Loops over rows of floats: activations, arithmetic with two operands, softmax, normalization, sums. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef enum Activation {
    ACTIVATION_CLAMP,              /* min(max(x, alpha), beta): Relu is 0, INFINITY. NaN stays here and everywhere. */
    ACTIVATION_LEAKY,              /* x < 0 ? alpha * x : x */
    ACTIVATION_SIGMOID,            /* 1 / (1 + exp(-x)) */
    ACTIVATION_SILU,               /* x / (1 + exp(-alpha * x)) */
    ACTIVATION_HARD_SIGMOID,       /* clamp(alpha * x + beta, 0, 1) */
    ACTIVATION_HARD_SWISH,         /* x * clamp(alpha * x + beta, 0, 1) */
    ACTIVATION_TANH,
    ACTIVATION_ERF,
    ACTIVATION_GELU,               /* x / 2 * (1 + erf(x / sqrt(2))) */
    ACTIVATION_GELU_TANH,          /* x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) */
    ACTIVATION_MISH,               /* x * tanh(log(1 + exp(x))) */
    ACTIVATION_EXP,
    ACTIVATIONS
} Activation;
typedef struct Activate { Activation kind; float alpha, beta; } Activate;

typedef enum Arithmetic { ARITHMETIC_ADD, ARITHMETIC_SUB, ARITHMETIC_MUL, ARITHMETIC_DIV, ARITHMETIC_MAX, ARITHMETIC_MIN, ARITHMETICS } Arithmetic;
typedef struct Combine {
    Arithmetic kind;
    size_t step_a, step_b;         /* 1, or 0: the operand is one number */
} Combine;

/* mean and variance (divided by n) of the row; root_mean_square: mean is taken as 0. NULL scale: 1, NULL shift: 0. */
typedef struct Normalize { const float *scale, *shift; float epsilon; bool root_mean_square; } Normalize;

/* What softmax works on: x[i] * scale + mask[i * step], step 0 or 1. NULL mask: 0. logarithm: of the result. */
typedef struct Softmax { float scale; const float *mask; size_t step; bool logarithm; } Softmax;

/* What softmax works on in column c < columns: x[i * ld + c] * scale + mask[i * step], each: + mask[i * step + c], for i < rows. NULL mask: 0. Columns up to a
 * multiple of PANEL_VECTOR may be read and overwritten. */
typedef struct SoftmaxColumns { float scale; const float *mask; size_t step; bool each; int rows, columns; size_t ld; } SoftmaxColumns;

typedef enum Total { TOTAL_SUM, TOTAL_SQUARES, TOTAL_MOST, TOTAL_LEAST, TOTALS } Total;
