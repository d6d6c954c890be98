/* Activations that exporters write as several nodes.
 *   SiLU        x * Sigmoid(x)                                        PyTorch, YOLO
 *   HardSwish   x * Clip(x + 3, 0, 6) / 6, in either order            Paddle, TensorFlow
 *   HardSwish   x * HardSigmoid(x, 1/6, 1/2)                          PyTorch */
#include <string.h>
#include "engine/fuse.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

typedef struct ActivationState { const Kernels *kernels; Activate activate; } ActivationState;

static Err activation_run(Plan *plan, Step *s)
{
    const ActivationState *st = s->state;
    const float *x = s->in[0]->data;
    float *y = s->out[0]->data;
    int64_t n = s->out[0]->count, piece = PARALLEL_WORK / 4, pieces = (n + piece - 1) / piece;
    #pragma omp parallel for num_threads(plan->threads) if (n > PARALLEL_WORK)
    for (int64_t i = 0; i < pieces; i++) {
        int64_t start = i * piece, left = n - start < piece ? n - start : piece;
        st->kernels->activate_f32(&st->activate, x + start, y + start, (size_t)left);
    }
    return OK;
}

static Err activation_prep(Plan *plan, Step *s)
{
    ActivationState *st;
    TRY(plan_array(plan, 1, sizeof *st, &st));
    TRY(find_kernels(&st->kernels));
    st->activate = s->fused->posts.post[0].activate;
    s->state = st;
    s->run = activation_run;
    return OK;
}

const Op op_Activation = { "Activation", "", 1, 1, 1, 1, 1, .prep = activation_prep };

Err become_activation(Plan *plan, Step *s, Buffer *x, const Activate *activate)
{
    TRY(plan_array(plan, 1, sizeof *s->fused, &s->fused));
    s->fused->posts = (Posts){ 1, { { .activate = *activate } } };
    for (int k = 0; k < s->n_in; k++) if (s->in[k]) s->in[k]->readers--;
    x->readers++;
    s->in[0] = x;
    s->n_in = 1;
    s->op = &op_Activation;
    return OK;
}

static bool is_type(const Step *s, const char *type) { return !strcmp(s->op->type, type); }

/* Mul(x, Sigmoid(x)), Mul(x, HardSigmoid(x)) */
static Err fuse_gated(Plan *p, Step *s)
{
    static const struct { const char *type; Activate a; } GATE[] = {
        { "Sigmoid", { ACTIVATION_SILU, 1, 0 } }, { "HardSigmoid", { .kind = ACTIVATION_HARD_SWISH } },
    };
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof GATE / sizeof *GATE; i++) {
            Step *gate = only_from(s, k, GATE[i].type);
            Activate a = GATE[i].a;
            if (!gate || gate->in[0] != s->in[!k]) continue;
            if (a.kind == ACTIVATION_HARD_SWISH) {
                a.alpha = attr_f(gate->node, "alpha", 0.2f);
                a.beta = attr_f(gate->node, "beta", 0.5f);
            }
            Buffer *x = gate->in[0];
            TRY(become_activation(p, s, x, &a));
            step_drop(p, gate);
            return OK;
        }
    return OK;
}

/* Clip(x + 3, 0, 6): x; NULL: it is something else. */
static Buffer *shifted_clip(const Step *clip, Step **add)
{
    const Step *c = clip;
    bool limits = c->n_in > 2 ? is_number(c, 1, 0) && is_number(c, 2, 6) : attr_f(c->node, "min", -1) == 0 && attr_f(c->node, "max", 0) == 6;
    *add = limits ? only_from(c, 0, "Add") : NULL;
    if (!*add) return NULL;
    for (int k = 0; k < 2; k++) if (is_number(*add, k, 3)) return (*add)->in[!k];
    return NULL;
}

/* Div(Mul(x, Clip(x + 3, 0, 6)), 6) or with Mul by 1/6 */
static Err fuse_hard_swish(Plan *p, Step *s)
{
    bool sixth = is_type(s, "Div") ? is_number(s, 1, 6) : is_number(s, 1, 1.0f / 6);
    Step *mul = sixth ? only_from(s, 0, "Mul") : NULL, *add;
    for (int k = 0; mul && k < 2; k++) {
        Step *clip = only_from(mul, k, "Clip");
        Buffer *x = clip ? shifted_clip(clip, &add) : NULL;
        if (!x || x != mul->in[!k]) continue;
        TRY(become_activation(p, s, x, &(Activate){ ACTIVATION_HARD_SWISH, 1.0f / 6, 0.5f }));
        step_drop(p, mul);
        step_drop(p, clip);
        step_drop(p, add);
        return OK;
    }
    return OK;
}

Err fuse_activations(Plan *p)
{
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        if (!s || s->late || s->n_in < 2 || !s->out[0] || s->out[0]->dtype != DT_F32) continue;
        if (is_type(s, "Mul")) TRY(fuse_gated(p, s));
        if (is_type(s, "Div") || is_type(s, "Mul")) TRY(fuse_hard_swish(p, s));
    }
    return OK;
}
