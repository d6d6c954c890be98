/* Normalizations over the last axis that exporters write as several nodes.
 *   LayerNorm   d / sqrt(mean(d^2) + epsilon) * scale + shift, d = x - mean(x)             PyTorch up to opset 16
 *               x * i + (shift - mean(x) * i), i = scale / sqrt(mean(d^2) + epsilon)       Keras, through batch_normalization
 *   RMSNorm     x / sqrt(mean(x^2) + epsilon) * scale                                      Llama and its kin
 * Quotients may be products with a Reciprocal, squares Pow or Mul; scale and shift may be missing. */
#include "engine/fuse.h"
#include "engine/move.h"
#include "engine/panels.h"
#include "engine/run_ops.h"

static Err normalization_run(Plan *plan, Step *s)
{
    Normalize n = *(const Normalize *)s->fused->own;
    n.scale = s->in[1] ? s->in[1]->data : NULL;
    n.shift = s->in[2] ? s->in[2]->data : NULL;
    if (s->out[0]->count) panels_normalize(plan, s, &n);
    return OK;
}

static Err normalization_prep(Plan *plan, Step *s)
{
    const Kernels *kernels;
    TRY(find_kernels(&kernels));
    panels_allow(s, kernels->sizes.sparse, 1, 0);
    s->scratch_bytes = panels_normalize_scratch(plan, s);
    s->run = normalization_run;
    return OK;
}

static const Op op_Normalization = { "Normalization", "", 1, 1, 3, 1, 1, .prep = normalization_prep };

/* What b is the mean of, along the last axis, which stays; NULL: it is something else. */
static Buffer *mean_of(const Buffer *b, int readers)
{
    const Step *s = written_by(b, "ReduceMean", readers);
    int64_t axes[2 * MAX_RANK];
    int n, rank = s ? s->in[0]->shape.rank : 0;
    if (!s || !attr_i(s->node, "keepdims", 1) || ints_param(s, "axes", s->op->max_in > 1 ? 1 : -1, axes, &n) != OK) return NULL;
    return n == 1 && (axes[0] == -1 || axes[0] == rank - 1) ? s->in[0] : NULL;
}

/* What b is the square of. */
static Buffer *square_of(const Buffer *b)
{
    const Step *pow = written_by(b, "Pow", 1), *mul = written_by(b, "Mul", 1);
    if (pow) return is_number(pow, 1, 2) ? pow->in[0] : NULL;
    return mul && mul->in[0] == mul->in[1] ? mul->in[0] : NULL;
}

/* sqrt(mean(d^2) + epsilon): d */
static Buffer *root_of(const Buffer *b, float *epsilon)
{
    const Step *root = written_by(b, "Sqrt", 1), *add = root ? only_from(root, 0, "Add") : NULL;
    for (int k = 0; add && k < 2; k++) {
        const Buffer *squares = number_of(add, k, epsilon) ? mean_of(add->in[!k], 1) : NULL;
        if (squares) return square_of(squares);
    }
    return NULL;
}

/* 1 / sqrt(mean(d^2) + epsilon): d */
static Buffer *inverse_root_of(const Buffer *b, float *epsilon)
{
    const Step *reciprocal = written_by(b, "Reciprocal", 1), *div = written_by(b, "Div", 1);
    if (reciprocal) return root_of(reciprocal->in[0], epsilon);
    return div && is_number(div, 0, 1) ? root_of(div->in[1], epsilon) : NULL;
}

/* d / sqrt(mean(d^2) + epsilon): d */
static Buffer *quotient_of(const Step *s, float *epsilon)
{
    if (is_type(s, "Div")) return root_of(s->in[1], epsilon) == s->in[0] ? s->in[0] : NULL;
    for (int k = 0; is_type(s, "Mul") && k < 2; k++) if (inverse_root_of(s->in[k], epsilon) == s->in[!k]) return s->in[!k];
    return NULL;
}

/* Whether c is a constant with one number for each element of a row of y. */
static bool is_row(const Buffer *c, const Shape *y)
{
    return c->constant && c->dtype == DT_F32 && c->shape.rank > 0 && c->shape.rank <= y->rank && c->count == y->dim[y->rank - 1] &&
           c->shape.dim[c->shape.rank - 1] == c->count;
}

/* What is one step nearer to x than s, when s is `type` of it and a row. */
static Step *peel(Step *s, const char *type, Buffer **row)
{
    for (int k = 0; is_type(s, type) && k < 2; k++) {
        Buffer *c = s->in[k], *x = s->in[!k];
        if (!is_row(c, &s->out[0]->shape) || x->readers != 1 || !x->writer) continue;
        *row = c;
        return x->writer;
    }
    return s;
}

/* Whether i, which is read twice, is in[1] / sqrt(mean((x - mean)^2) + epsilon). */
static bool is_factor(const Buffer *i, const Buffer *x, const Buffer *mean, float *epsilon, Buffer *in[3])
{
    const Step *mul = written_by(i, "Mul", 2);
    for (int k = 0; mul && k < 2; k++) {
        const Buffer *d = is_row(mul->in[k], &x->shape) ? inverse_root_of(mul->in[!k], epsilon) : NULL;
        const Step *sub = d ? written_by(d, "Sub", 0) : NULL;
        if (!sub || sub->in[0] != x || sub->in[1] != mean) continue;
        in[1] = mul->in[k];
        return true;
    }
    return false;
}

/* x * i + (shift - mean(x) * i): in becomes x, scale, shift. */
static bool is_keras(const Step *s, float *epsilon, Buffer *in[3])
{
    for (int k = 0; is_type(s, "Add") && k < 2; k++) {
        const Step *a = only_from(s, k, "Mul"), *c = only_from(s, !k, "Sub"), *b = c ? only_from(c, 1, "Mul") : NULL;
        for (int j = 0; a && b && is_row(c->in[0], &s->out[0]->shape) && j < 4; j++) {
            Buffer *x = a->in[j % 2], *i = a->in[!(j % 2)], *mean = b->in[j / 2];
            if (b->in[!(j / 2)] != i || mean_of(mean, 2) != x || !is_factor(i, x, mean, epsilon, in)) continue;
            in[0] = x;
            in[2] = c->in[0];
            return true;
        }
    }
    return false;
}

/* The other forms. */
static bool is_quotient(Step *s, Normalize *n, Buffer *in[3])
{
    Step *t = peel(peel(s, "Add", &in[2]), "Mul", &in[1]);
    Buffer *d = quotient_of(t, &n->epsilon);
    const Step *sub = d ? written_by(d, "Sub", 0) : NULL;
    bool centered = sub && mean_of(sub->in[1], 1) == sub->in[0];
    in[0] = centered ? sub->in[0] : d;
    n->root_mean_square = !centered;
    return d != NULL;
}

static Err fuse_norm(Plan *p, Step *s)
{
    Normalize n = { 0 }, *own;
    Buffer *in[3] = { NULL };
    if (!is_keras(s, &n.epsilon, in) && !is_quotient(s, &n, in)) return OK;
    if (!in[0]->shape.rank || in[0]->dtype != DT_F32 || !shape_equal(&in[0]->shape, &s->out[0]->shape)) return OK;
    TRY(step_become(p, s, &op_Normalization, in, 3));
    TRY(plan_array(p, 1, sizeof *own, &own));
    *own = n;
    s->fused->own = own;
    return OK;
}

/* Backwards: the last of the nodes that belong together is found first. */
Err fuse_norms(Plan *p)
{
    for (int i = p->n_step - 1; i >= 0; i--) {
        Step *s = p->step[i];
        if (s && !s->late && s->n_in == 2 && s->in[0] && s->in[1] && s->out[0]) TRY(fuse_norm(p, s));
    }
    return OK;
}
