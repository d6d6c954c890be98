/* Activations that exporters write as several nodes.
 *   SiLU        x * Sigmoid(x)                                        PyTorch, YOLO
 *   HardSwish   x * Clip(x + 3, 0, 6) / 6, in either order            Paddle, TensorFlow
 *   HardSwish   x * HardSigmoid(x, 1/6, 1/2)                          PyTorch
 *   QuickGelu   x * Sigmoid(1.702 * x)                                CLIP
 *   Mish        x * Tanh(Softplus(x))
 *   Gelu        x * 0.5 * (1 + Erf(x / sqrt(2))), in any order        PyTorch, TensorFlow
 *   Gelu        the same with Tanh(0.7978846 * (x + 0.044715 * x^3)) */
#include "engine/floats.h"
#include "engine/fuse.h"

static Err activation_run(Plan *plan, Step *s)
{
    floats_activate(plan, &s->fused->posts.post[0].activate, s->in[0]->data, s->out[0]->data, s->out[0]->count);
    return OK;
}

static Err activation_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = activation_run;
    return floats_ready();
}

const Op op_Activation = { "Activation", "", 1, 1, 1, 1, 1, .prep = activation_prep };

Err become_activation(Plan *plan, Step *s, Buffer *x, const Activate *activate)
{
    TRY(step_become(plan, s, &op_Activation, &x, 1));
    s->fused->posts = (Posts){ 1, { { .activate = *activate } } };
    return OK;
}

/* Mul(x, number): the number. */
static bool scaled(const Step *mul, const Buffer *x, float *by)
{
    for (int k = 0; k < 2; k++) if (mul->in[k] == x && number_of(mul, !k, by)) return true;
    return false;
}

/* Mul(x, Sigmoid(x)), Mul(x, Sigmoid(1.702 * x)), Mul(x, HardSigmoid(x)) */
static Err fuse_gated(Plan *p, Step *s)
{
    static const struct { const char *type; Activate a; } GATE[] = {
        { "Sigmoid", { ACTIVATION_SILU, 1, 0 } }, { "HardSigmoid", { .kind = ACTIVATION_HARD_SWISH } },
    };
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof GATE / sizeof *GATE; i++) {
            Step *gate = only_from(s, k, GATE[i].type);
            Activate a = GATE[i].a;
            const Step *mul = gate ? only_from(gate, 0, "Mul") : NULL;
            bool quick = mul && a.kind == ACTIVATION_SILU && s->in[!k] != gate->in[0] && scaled(mul, s->in[!k], &a.alpha);
            if (!gate || (gate->in[0] != s->in[!k] && !quick)) continue;
            if (a.kind == ACTIVATION_HARD_SWISH) {
                a.alpha = attr_f(gate->node, "alpha", 0.2f);
                a.beta = attr_f(gate->node, "beta", 0.5f);
            }
            Buffer *x = s->in[!k];
            return become_activation(p, s, x, &a);
        }
    return OK;
}

/* Clip(x + 3, 0, 6): x; NULL: it is something else. */
static Buffer *shifted_clip(const Step *c)
{
    bool limits = c->n_in > 2 ? is_number(c, 1, 0) && is_number(c, 2, 6) : attr_f(c->node, "min", -1) == 0 && attr_f(c->node, "max", 0) == 6;
    const Step *add = limits ? only_from(c, 0, "Add") : NULL;
    return add ? beside_number(add, 3) : NULL;
}

/* Div(Mul(x, Clip(x + 3, 0, 6)), 6) or with Mul by 1/6 */
static Err fuse_hard_swish(Plan *p, Step *s)
{
    bool sixth = is_type(s, "Div") ? is_number(s, 1, 6) : is_number(s, 1, 1.0f / 6);
    Step *mul = sixth ? only_from(s, 0, "Mul") : NULL;
    for (int k = 0; mul && k < 2; k++) {
        Step *clip = only_from(mul, k, "Clip");
        Buffer *x = clip ? shifted_clip(clip) : NULL;
        if (!x || x != mul->in[!k]) continue;
        return become_activation(p, s, x, &(Activate){ ACTIVATION_HARD_SWISH, 1.0f / 6, 0.5f });
    }
    return OK;
}

/* Mul(x, Tanh(Softplus(x))) */
static Err fuse_mish(Plan *p, Step *s)
{
    for (int k = 0; k < 2; k++) {
        const Step *tanh = only_from(s, k, "Tanh"), *softplus = tanh ? only_from(tanh, 0, "Softplus") : NULL;
        if (softplus && softplus->in[0] == s->in[!k]) return become_activation(p, s, softplus->in[0], &(Activate){ .kind = ACTIVATION_MISH });
    }
    return OK;
}

/* x / sqrt(2), as a quotient or a product */
static bool is_over_root_two(const Buffer *b, const Buffer *x)
{
    const Step *div = written_by(b, "Div", 1), *mul = written_by(b, "Mul", 1);
    return div ? div->in[0] == x && is_number(div, 1, 1.41421356f) : mul && beside_number(mul, 0.70710678f) == x;
}

/* x^3: Pow(x, 3), or a product with a square */
static bool is_cube(const Buffer *b, const Buffer *x)
{
    const Step *pow = written_by(b, "Pow", 1), *mul = written_by(b, "Mul", 1);
    if (pow) return pow->in[0] == x && is_number(pow, 1, 3);
    for (int k = 0; mul && k < 2; k++) {
        const Step *square = only_from(mul, k, "Mul");
        if (mul->in[!k] == x && square && square->in[0] == x && square->in[1] == x) return true;
    }
    return false;
}

/* 0.7978846 * (x + 0.044715 * x^3) */
static bool is_tanh_argument(const Buffer *b, const Buffer *x)
{
    const Step *outer = written_by(b, "Mul", 1);
    const Buffer *sum = outer ? beside_number(outer, 0.7978845608f) : NULL;
    const Step *add = written_by(sum, "Add", 1);
    for (int k = 0; add && k < 2; k++) {
        const Step *inner = only_from(add, k, "Mul");
        const Buffer *cube = inner && add->in[!k] == x ? beside_number(inner, 0.044715f) : NULL;
        if (cube && is_cube(cube, x)) return true;
    }
    return false;
}

/* Whether gate is 1 + Erf(...) or 1 + Tanh(...) of x as in a Gelu. */
static bool is_gelu_gate(const Buffer *gate, const Buffer *x, Activation *kind)
{
    const Step *add = written_by(gate, "Add", 1);
    const Buffer *curve = add ? beside_number(add, 1) : NULL;
    const Step *erf = written_by(curve, "Erf", 1), *tanh = written_by(curve, "Tanh", 1);
    *kind = erf ? ACTIVATION_GELU : ACTIVATION_GELU_TANH;
    return erf ? is_over_root_two(erf->in[0], x) : tanh && is_tanh_argument(tanh->in[0], x);
}

/* The product of x, 0.5 and a gate, in any order of two Muls. */
static Err fuse_gelu(Plan *p, Step *s)
{
    for (int k = 0; k < 2; k++) {
        const Step *inner = only_from(s, k, "Mul");
        if (!inner) continue;
        Buffer *factor[3] = { s->in[!k], inner->in[0], inner->in[1] };
        bool half[3] = { is_number(s, !k, 0.5f), is_number(inner, 0, 0.5f), is_number(inner, 1, 0.5f) };
        for (int x = 0; x < 3; x++)
            for (int h = 0; h < 3; h++) {
                Activate a = { 0 };
                if (x == h || !half[h] || !is_gelu_gate(factor[3 - x - h], factor[x], &a.kind)) continue;
                return become_activation(p, s, factor[x], &a);
            }
    }
    return OK;
}

Err fuse_activations(Plan *p)
{
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        if (!s || s->late || s->n_in < 2 || !s->out[0] || s->out[0]->dtype != DT_F32) continue;
        if (is_type(s, "Mul")) TRY(fuse_gated(p, s));
        if (is_type(s, "Mul")) TRY(fuse_mish(p, s));
        if (is_type(s, "Mul")) TRY(fuse_gelu(p, s));
        if (is_type(s, "Div") || is_type(s, "Mul")) TRY(fuse_hard_swish(p, s));
    }
    return OK;
}
