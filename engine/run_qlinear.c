/* com.microsoft's QLinearAdd, QLinearMul and QLinearGlobalAveragePool, rounded as ONNX Runtime rounds them on x86: see each formula.
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/quant.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

typedef struct Pair { Walk walk; bool multiply; } Pair;

static float zero_at(const Buffer *zero)
{
    double v = 0;
    if (zero && zero->count) v = number_at(zero, 0);
    return (float)v;
}

static float byte_at(const Buffer *b, int64_t i) { return b->dtype == DT_I8 ? (float)((const int8_t *)b->data)[i] : (float)((const uint8_t *)b->data)[i]; }

static void put_byte(Buffer *y, int64_t i, float v)
{
    if (y->dtype == DT_I8) ((int8_t *)y->data)[i] = (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v);
    else ((uint8_t *)y->data)[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Add: c = round(a * ra + (b * rb + (zc - (ra * za + rb * zb)))), ra = sa / sc, rb = sb / sc, each product and sum in one rounding.
 * Mul: c = round((a - za) * (b - zb) * (sa * sb / sc)) + zc */
static Err pair_run(Plan *plan, Step *s)
{
    const Pair *p = s->state;
    const Buffer *a = s->in[0], *b = s->in[3];
    Buffer *y = s->out[0];
    float sa = scale_at(s->in[1], 0), sb = scale_at(s->in[4], 0), sc = scale_at(s->in[6], 0);
    float za = zero_at(s->in[2]), zb = zero_at(s->in[5]), zc = zero_at(s->in[7]);
    float ra = sa / sc, rb = sb / sc, fixed = zc - (ra * za + rb * zb), scale = sa * sb / sc;
    const Walk *w = &p->walk;
    int last = w->rank - 1;
    #pragma omp parallel for num_threads(plan->threads) if (y->count > PARALLEL_WORK)
    for (int64_t row = 0; row < w->outer; row++) {
        int64_t at[WALK_OPERANDS];
        walk_row(w, row, at);
        for (int64_t i = 0; i < w->inner; i++) {
            float u = byte_at(a, at[0] + i * w->stride[0][last]), v = byte_at(b, at[1] + i * w->stride[1][last]);
            float sum = p->multiply ? nearbyintf((u - za) * (v - zb) * scale) + zc : nearbyintf(fmaf(u, ra, fmaf(v, rb, fixed)));
            put_byte(y, row * w->inner + i, sum);
        }
    }
    return OK;
}

static Err check_bytes(const Step *s, const Buffer *b)
{
    return b->dtype == DT_U8 || b->dtype == DT_I8 ? OK : step_refuse(s, "input", b);
}

Err qlinear_pair_prep(Plan *plan, Step *s)
{
    Pair *p;
    for (int i = 0; i < 7; i++) if (i != 2 && i != 5 && !s->in[i]) return err_set(ERR_SHAPE, "%s needs inputs that are left out.", s->op->type);
    TRY(check_bytes(s, s->in[0]));
    TRY(check_bytes(s, s->in[3]));
    if (s->in[0]->dtype != s->in[3]->dtype) return err_set(ERR_SHAPE, "%s has operands of different types.", s->op->type);
    for (int i = 1; i < 7; i += i == 4 ? 2 : 3)
        if (s->in[i]->count != 1) return err_set(ERR_UNSUPPORTED, "%s with more than one scale an operand cannot be run.", s->op->type);
    TRY(plan_array(plan, 1, sizeof *p, &p));
    p->multiply = !strcmp(s->op->type, "QLinearMul");
    walk_init(&p->walk, &s->out[0]->shape, (const Shape *[]){ &s->in[0]->shape, &s->in[3]->shape }, 2);
    s->state = p;
    s->run = pair_run;
    return OK;
}

/* y = round(sum(x - zx) * (sx / (sy * n))) + zy over the n pixels of a channel */
static Err average_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    Buffer *y = s->out[0];
    int64_t n = y->count ? x->count / y->count : 0;
    float zx = zero_at(s->in[2]), zy = zero_at(s->in[4]), scale = scale_at(s->in[1], 0) / (scale_at(s->in[3], 0) * (float)n);
    #pragma omp parallel for num_threads(plan->threads) if (x->count > PARALLEL_WORK)
    for (int64_t c = 0; c < y->count; c++) {
        int32_t sum = -(int32_t)zx * (int32_t)n;
        for (int64_t i = 0; i < n; i++) sum += (int32_t)byte_at(x, c * n + i);
        put_byte(y, c, nearbyintf((float)sum * scale) + zy);
    }
    return OK;
}

Err qlinear_average_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (!s->in[1] || !s->in[3]) return err_set(ERR_SHAPE, "%s needs inputs that are left out.", s->op->type);
    TRY(check_bytes(s, s->in[0]));
    if (attr_i(s->node, "channels_last", 0)) return err_set(ERR_UNSUPPORTED, "%s with channels_last cannot be run.", s->op->type);
    if (s->out[0]->count && s->in[0]->count / s->out[0]->count > 1 << 22) return err_set(ERR_UNSUPPORTED, "%s of so many pixels cannot be run.", s->op->type);
    s->run = average_run;
    return OK;
}
