/* LSTM and GRU in kernels: the inputs of all steps of a sequence are multiplied at once, the state step by step, and gates are rows of all that the batch has. */
#include <math.h>
#include <string.h>
#include "engine/choose.h"
#include "engine/recur.h"
#include "engine/run_ops.h"

typedef struct Direction {
    Tokens input, state;
    float *input_bias, *state_bias;    /* of all gates; state_bias NULL: none */
    size_t at;                         /* floats of scratch before its own */
} Direction;

typedef struct RecurRows { Recur u; const Kernels *kernels; Direction direction[2]; } RecurRows;

static int64_t rows_of(const Recur *u) { return u->cell[0].gates * u->cell[0].hidden; }

bool recur_rows_fit(const Step *s, const Recur *u)
{
    const int64_t most = 1 << 24, sizes[] = { u->length, u->batch, u->inputs, u->cell[0].hidden, u->length * u->batch, rows_of(u) };
    bool fits = s->in[0]->dtype == DT_F32 && s->in[1]->constant && s->in[2]->constant && !u->batch_first && !s->in[4] && isinf(u->cell[0].clip);
    for (int i = 0; i < 6; i++) fits = fits && sizes[i] > 0 && sizes[i] < most;
    if (s->in[3]) fits = fits && s->in[3]->constant;
    for (int d = 0; d < u->directions; d++) {
        const Cell *c = &u->cell[d];
        bool usual = c->activation[0].f == SIGMOID && c->activation[1].f == TANH;
        fits = fits && usual && (c->gates == 4 ? c->activation[2].f == TANH && !c->input_forget && !s->in[7] : c->gates == 3 && c->linear_before_reset);
    }
    return fits;
}

/* y += x, y *= x */
static void add(const Kernels *k, const float *x, float *y, int64_t n) { k->combine_f32(&(Combine){ ARITHMETIC_ADD, 1, 1 }, y, x, y, (size_t)n); }

static void multiply(const Kernels *k, const float *x, float *y, int64_t n) { k->combine_f32(&(Combine){ ARITHMETIC_MUL, 1, 1 }, y, x, y, (size_t)n); }

/* Gates i o f c of one sequence, input and state summed up. */
static void lstm_gates(const Kernels *k, float *gate, float *cell, float *h, int64_t n)
{
    const Activate sigmoid = { .kind = ACTIVATION_SIGMOID }, tangent = { .kind = ACTIVATION_TANH };
    float *fresh = gate + 3 * n;
    k->activate_f32(&sigmoid, gate, gate, 1, (size_t)(3 * n), 0);
    k->activate_f32(&tangent, fresh, fresh, 1, (size_t)n, 0);
    multiply(k, gate + 2 * n, cell, n);
    multiply(k, gate, fresh, n);
    add(k, fresh, cell, n);
    k->activate_f32(&tangent, cell, h, 1, (size_t)n, 0);
    multiply(k, gate + n, h, n);
}

/* Gates z r h: x from the input, gate from the state before. h = fresh + z * (h - fresh) */
static void gru_gates(const Kernels *k, const float *x, float *gate, float *h, int64_t n)
{
    const Activate sigmoid = { .kind = ACTIVATION_SIGMOID }, tangent = { .kind = ACTIVATION_TANH };
    float *fresh = gate + 2 * n;
    add(k, x, gate, 2 * n);
    k->activate_f32(&sigmoid, gate, gate, 1, (size_t)(2 * n), 0);
    multiply(k, gate + n, fresh, n);
    add(k, x + 2 * n, fresh, n);
    k->activate_f32(&tangent, fresh, fresh, 1, (size_t)n, 0);
    k->combine_f32(&(Combine){ ARITHMETIC_SUB, 1, 1 }, h, fresh, h, (size_t)n);
    multiply(k, gate, h, n);
    add(k, fresh, h, n);
}

/* Scratch of a direction: what inputs give (T,N,rows), what the state gives (N,rows), h (N,H), cells (N,H), the state product's own. */
static void run_direction(const RecurRows *r, const Step *s, int64_t d)
{
    const Recur *u = &r->u;
    const Direction *w = &r->direction[d];
    int64_t n = u->cell[0].hidden, rows = rows_of(u), all = u->batch * n;
    float *pre = (float *)s->scratch + w->at, *gate = pre + u->length * u->batch * rows, *h = gate + u->batch * rows, *cell = h + all, *own = cell + all;
    bool lstm = u->cell[0].gates == 4;
    own += (64 - (uintptr_t)own % 64) % 64 / sizeof *own;
    if (s->in[5]) memcpy(h, (const float *)s->in[5]->data + d * all, (size_t)all * sizeof *h);
    else memset(h, 0, (size_t)all * sizeof *h);
    if (lstm && s->in[6]) memcpy(cell, (const float *)s->in[6]->data + d * all, (size_t)all * sizeof *h);
    else memset(cell, 0, (size_t)all * sizeof *h);
    for (int64_t i = 0; i < u->length; i++) {
        int64_t t = u->cell[d].reverse ? u->length - 1 - i : i;
        const float *x = pre + t * u->batch * rows;
        tokens_run(&w->state, &(MultiplyRun){ .x = h, .bias = w->state_bias, .y = gate, .lo = -INFINITY, .hi = INFINITY, .scratch = own });
        if (lstm) add(r->kernels, x, gate, u->batch * rows);
        for (int64_t b = 0; b < u->batch; b++) {
            if (lstm) lstm_gates(r->kernels, gate + b * rows, cell + b * n, h + b * n, n);
            else gru_gates(r->kernels, x + b * rows, gate + b * rows, h + b * n, n);
        }
        if (s->out[0]) memcpy((float *)s->out[0]->data + (t * u->directions + d) * all, h, (size_t)all * sizeof *h);
    }
    if (s->out[1]) memcpy((float *)s->out[1]->data + d * all, h, (size_t)all * sizeof *h);
    if (lstm && s->out[2]) memcpy((float *)s->out[2]->data + d * all, cell, (size_t)all * sizeof *h);
}

static Err recur_rows_run(Plan *plan, Step *s)
{
    const RecurRows *r = s->state;
    int64_t directions = r->u.directions;
    for (int64_t d = 0; d < directions; d++) {
        const Direction *w = &r->direction[d];
        tokens_run(&w->input, &(MultiplyRun){ .x = s->in[0]->data, .bias = w->input_bias, .y = (float *)s->scratch + w->at, .lo = -INFINITY, .hi = INFINITY,
                                              .scratch = s->scratch });
    }
    #pragma omp parallel for num_threads(plan->threads) if (directions > 1)
    for (int64_t d = 0; d < directions; d++) run_direction(r, s, d);
    return OK;
}

/* B is the bias of inputs, then that of the state. Both go to the input's product, but for the last gate of a GRU. */
static Err split_bias(Plan *plan, const float *bias, const Recur *u, Direction *w)
{
    int64_t rows = rows_of(u), apart = u->cell[0].gates == 3 ? 2 * u->cell[0].hidden : rows;
    TRY(plan_array(plan, rows, sizeof *w->input_bias, &w->input_bias));
    if (!bias) return OK;
    if (apart < rows) TRY(plan_array(plan, rows, sizeof *w->state_bias, &w->state_bias));
    for (int64_t i = 0; i < rows; i++) {
        w->input_bias[i] = i < apart ? bias[i] + bias[rows + i] : bias[i];
        if (i >= apart) w->state_bias[i] = bias[rows + i];
    }
    return OK;
}

static Err direction_prep(Plan *plan, Step *s, RecurRows *r, int64_t d)
{
    const Recur *u = &r->u;
    Direction *w = &r->direction[d];
    int64_t n = u->cell[0].hidden, rows = rows_of(u);
    const float *input = (const float *)s->in[1]->data + d * rows * u->inputs, *state = (const float *)s->in[2]->data + d * rows * n;
    bool alone = u->directions == 1 && (double)u->batch * (double)rows * (double)n > 1e6;
    int threads = alone ? plan->threads : 1;
    w->input = (Tokens){ .tokens = u->length * u->batch,
                         .packed = { .weights = { input, (size_t)u->inputs, 1, (int)rows }, .k = (int)u->inputs, .kernels = r->kernels, .threads = plan->threads } };
    w->state = (Tokens){ .tokens = u->batch, .repeated = true,
                         .packed = { .weights = { state, (size_t)n, 1, (int)rows }, .k = (int)n, .kernels = r->kernels, .threads = threads } };
    TRY(tokens_prepare(plan, s, 0, &w->input));
    TRY(tokens_prepare(plan, s, 0, &w->state));
    return split_bias(plan, s->in[3] ? (const float *)s->in[3]->data + d * 2 * rows : NULL, u, w);
}

Err recur_rows_prep(Plan *plan, Step *s, const Recur *u)
{
    RecurRows *r;
    const size_t line = 16;
    size_t input_scratch = 0;                  /* of all directions: their inputs are multiplied one after the other */
    TRY(plan_array(plan, 1, sizeof *r, &r));
    r->u = *u;
    TRY(find_kernels(&r->kernels));
    for (int64_t d = 0; d < u->directions; d++) {
        TRY(direction_prep(plan, s, r, d));
        if (r->direction[d].input.scratch > input_scratch) input_scratch = r->direction[d].input.scratch;
    }
    size_t at = (input_scratch / sizeof(float) + line) / line * line;
    for (int64_t d = 0; d < u->directions; d++) {
        r->direction[d].at = at;
        size_t own = (size_t)((u->length + 1) * u->batch * rows_of(u) + 2 * u->batch * u->cell[0].hidden) + r->direction[d].state.scratch / sizeof(float);
        at += (own + 3 * line) / line * line;
    }
    s->scratch_bytes = at * sizeof(float);
    s->state = r;
    s->run = recur_rows_run;
    return OK;
}
