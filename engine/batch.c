/* Whether the samples of a batch (axis 0 of all inputs) meet anywhere. */
#include <stdio.h>
#include <string.h>
#include "engine/move.h"
#include "engine/plan_internal.h"

/* How an operator treats axis 0 of its first input, when that is the batch. */
typedef enum Treatment {
    MIXES,                     /* not known: samples may meet */
    EACH,                      /* sample by sample; other inputs are constants, or lie along the batch as well */
    ALONG_AXIS,                /* works along the attribute `axis` (and axes after it) */
    RESHAPES,                  /* row-major elements under another shape */
    TRANSPOSES,
    REDUCES,                   /* the axes of attribute or input 1 */
    SLICES, PADS,
    MULTIPLIES,                /* rows of A, whose leading axes are the batch */
} Treatment;

static Treatment treatment_of(const Op *op)
{
    static const struct { Treatment treatment; const char *types; } ROW[] = {
        { EACH, " Abs Activation Add And AveragePool BatchNormalization BiasGelu Cast Ceil Celu Clip Conv ConvTranspose Cos DepthToSpace DequantizeLinear Div Dropout "
                "Elu Equal Erf Exp Expand FastGelu Floor Gelu GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity "
                "InstanceNormalization LRN LeakyRelu Less LessOrEqual Log Max MaxPool Min Mish Mod Mul Neg Not Or PRelu Pow QuantizeLinear QuickGelu Reciprocal Relu "
                "Resize Round Selu Sigmoid Sign Sin Softplus Softsign SpaceToDepth Sqrt Sub Sum Swish Tanh Tile Upsample Where Xor " },
        { ALONG_AXIS, " ArgMax ArgMin Concat Gather LayerNormalization LogSoftmax RMSNormalization Softmax Split TopK " },
        { RESHAPES, " Flatten Reshape Squeeze Unsqueeze " },
        { TRANSPOSES, " Transpose " },
        { REDUCES, " ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare " },
        { SLICES, " Slice " }, { PADS, " Pad " },
        { MULTIPLIES, " Gemm MatMul " },
    };
    char word[64];
    snprintf(word, sizeof word, " %s ", op->type);
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) if (strstr(ROW[i].types, word)) return ROW[i].treatment;
    return MIXES;
}

static bool is_batched(const Buffer *b, int64_t batch) { return b->shape.rank > 0 && b->shape.dim[0] == batch; }

/* Operands that are no batch may not lie along axis 0 of one. */
static bool each_fits(const Step *s, int64_t batch)
{
    int rank = s->out[0]->shape.rank;
    for (int i = 0; i < s->n_in; i++) {
        const Buffer *b = s->in[i];
        if (b && !b->constant && (b->shape.rank != rank || !is_batched(b, batch))) return false;
        if (b && i > 0 && b->constant && b->shape.rank == rank && b->count > 1 && b->shape.dim[0] != 1 && !s->op->roles) return false;
    }
    return true;
}

static bool axis_fits(const Step *s)
{
    static const struct { const char *type; int axis; } DEFAULT[] = {
        { "Concat", 1 }, { "LayerNormalization", -1 }, { "RMSNormalization", -1 }, { "TopK", -1 },
    };
    bool softmax = strstr(s->op->type, "Softmax") != NULL;
    int64_t given = softmax ? s->opset < 13 ? 1 : -1 : 0;
    int axis = 0;
    for (size_t i = 0; i < sizeof DEFAULT / sizeof *DEFAULT; i++) if (!strcmp(DEFAULT[i].type, s->op->type)) given = DEFAULT[i].axis;
    return axis_of(attr_i(s->node, "axis", given), s->in[0]->shape.rank, &axis) == OK && axis > 0;
}

/* Rows of a constant by the indices of each sample. */
static bool looks_up(const Step *s, int64_t batch)
{
    return !strcmp(s->op->type, "Gather") && s->in[0]->constant && is_batched(s->in[1], batch) && attr_i(s->node, "axis", 0) == 0;
}

/* What is known of values: the batch, and which ones have the samples' elements in order, though under another shape. By Buffer.number. */
typedef struct Samples { int64_t batch; bool *folded; } Samples;

/* Row-major elements: sample after sample, in one row each or in several. */
static bool in_order(const Samples *all, const Buffer *b)
{
    return !b->constant && b->shape.rank > 0 && b->shape.dim[0] > 0 && b->shape.dim[0] % all->batch == 0 && (is_batched(b, all->batch) || all->folded[b->number]);
}

static bool reshapes_own(const Samples *all, const Step *s)
{
    const Shape *y = &s->out[0]->shape;
    return treatment_of(s->op) == RESHAPES && y->rank > 0 && y->dim[0] % all->batch == 0 && in_order(all, s->in[0]);
}

/* Rows by indices that were computed from sizes: each sample takes the same ones of its own. So exporters write attention masks. */
static bool gathers_own(const Samples *all, const Step *s)
{
    if (strcmp(s->op->type, "Gather") || attr_i(s->node, "axis", 0) || !in_order(all, s->in[0])) return false;
    const Buffer *at = s->in[1];
    if (at->dtype != DT_I64 || !at->constant || !at->data || s->node->in[1]->constant) return false;
    if (at->shape.rank < 1 || at->count < 1 || at->shape.dim[0] % all->batch) return false;
    const int64_t *index = at->data, each = at->count / all->batch, rows = s->in[0]->shape.dim[0] / all->batch;
    for (int64_t i = 0; i < at->count; i++) {
        int64_t own = index[i] - i / each * rows;
        if (own < 0 || own >= rows || own != index[i % each]) return false;
    }
    return true;
}

static bool others_constant(const Step *s)
{
    for (int i = 1; i < s->n_in; i++) if (s->in[i] && !s->in[i]->constant) return false;
    return true;
}

static bool axes_fit(const Step *s, const char *name, int input)
{
    int64_t axes[2 * MAX_RANK];
    int n, axis = 0;
    if (ints_param(s, name, input, axes, &n) != OK || n < 1) return false;
    for (int i = 0; i < n; i++) if (axis_of(axes[i], s->in[0]->shape.rank, &axis) != OK || axis == 0) return false;
    return true;
}

/* All samples in their order: the output has as many. */
static bool slice_fits(const Step *s)
{
    int64_t start[2 * MAX_RANK], axes[2 * MAX_RANK], steps[2 * MAX_RANK];
    int n, n_axes, n_steps, axis = 0;
    if (ints_param(s, "starts", 1, start, &n) != OK || ints_param(s, "axes", 3, axes, &n_axes) != OK || ints_param(s, NULL, 4, steps, &n_steps) != OK) return false;
    for (int i = 0; i < n; i++) {
        if (axis_of(n_axes == n ? axes[i] : i, s->in[0]->shape.rank, &axis) != OK) return false;
        if (axis == 0 && (start[i] || (n_steps == n && steps[i] != 1))) return false;
    }
    return true;
}

/* Nothing before or after the samples. Pads for some axes only are not looked into. */
static bool pads_fit(const Step *s)
{
    int64_t pads[2 * MAX_RANK];
    int n, rank = s->in[0]->shape.rank;
    return ints_param(s, "pads", 1, pads, &n) == OK && n == 2 * rank && !pads[0] && !pads[rank];
}

static bool product_fits(const Step *s, int64_t batch)
{
    const Buffer *a = s->in[0], *b = s->in[1], *c = s->n_in > 2 ? s->in[2] : NULL;
    if (!is_batched(a, batch) || a->constant || a->shape.rank < 2 || (c && c->shape.rank > 1 && c->shape.dim[0] != 1 && c->constant)) return false;
    if (!strcmp(s->op->type, "Gemm")) return b->constant && !attr_i(s->node, "transA", 0);
    return b->constant ? b->shape.rank <= 2 : a->shape.rank > 2 && a->shape.rank == b->shape.rank && is_batched(b, batch);
}

static bool concat_fits(const Step *s, int64_t batch)
{
    for (int i = 0; i < s->n_in; i++) if (s->in[i]->constant || !is_batched(s->in[i], batch)) return false;
    return axis_fits(s);
}

static bool step_splits(const Samples *all, const Step *s)
{
    int64_t batch = all->batch;
    if (s->late || s->n_capture || s->n_in < 1 || !s->in[0]) return false;
    if (others_constant(s) && (reshapes_own(all, s) || gathers_own(all, s))) return all->folded[s->out[0]->number] = true;
    for (int i = 0; i < s->n_out; i++) if (s->out[i] && !is_batched(s->out[i], batch)) return false;
    if (looks_up(s, batch)) return true;
    Treatment t = treatment_of(s->op);
    if (t == EACH) return each_fits(s, batch);
    if (t == MULTIPLIES) return product_fits(s, batch);
    if (!strcmp(s->op->type, "Concat")) return concat_fits(s, batch);
    if (t == MIXES || s->in[0]->constant || !is_batched(s->in[0], batch) || !others_constant(s)) return false;
    if (t == ALONG_AXIS) return axis_fits(s);
    if (t == REDUCES) return axes_fit(s, "axes", 1);
    if (t == PADS) return pads_fit(s);
    if (t == SLICES) return slice_fits(s);
    const int64_t *perm;
    return t == TRANSPOSES && attr_is(s->node, "perm", &perm) > 0 && perm[0] == 0;
}

Err batch_of(Plan *p, int64_t *out)
{
    Samples all = { .batch = p->n_in && p->in[0]->shape.rank > 0 ? p->in[0]->shape.dim[0] : 0 };
    *out = 0;
    if (all.batch < 2) return OK;
    TRY(plan_array(p, p->n_buffer + 1, sizeof *all.folded, &all.folded));
    for (int i = 0; i < p->n_in; i++) if (!is_batched(p->in[i], all.batch)) return OK;
    for (int i = 0; i < p->n_out; i++) if (p->out[i]->constant || !is_batched(p->out[i], all.batch)) return OK;
    for (int i = 0; i < p->n_step; i++) if (!step_splits(&all, p->step[i])) return OK;
    *out = all.batch;
    return OK;
}
