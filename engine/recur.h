/* What the two ways to run recurrent operators share.
 * X (T,N,I) or with layout 1 (N,T,I); W (directions, gates*H, I), R (directions, gates*H, H), B (directions, 2*gates*H). */
#pragma once
#include "engine/plan.h"

typedef enum Function { SIGMOID, TANH, RELU, AFFINE, LEAKY_RELU, THRESHOLDED_RELU, SCALED_TANH, HARD_SIGMOID, ELU, SOFTSIGN, SOFTPLUS, N_FUNCTIONS } Function;
typedef struct CellFunction { Function f; double alpha, beta; } CellFunction;
typedef struct Cell {              /* of one direction */
    int64_t gates, hidden;
    bool reverse, input_forget, linear_before_reset;
    double clip;                   /* infinity: none */
    CellFunction activation[3];
} Cell;
typedef struct Recur { int64_t length, batch, inputs, directions; bool batch_first; Cell cell[2]; } Recur;

/* Whether LSTM and GRU as most exporters write them run in kernels: float32, constant weights, the usual activations, sequences of one length. */
bool recur_rows_fit(const Step *s, const Recur *u);
/* Sets run, state and scratch_bytes of a step that fits. */
Err  recur_rows_prep(Plan *plan, Step *s, const Recur *u);
