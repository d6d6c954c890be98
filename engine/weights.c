/* From products up to constants: roles of the row name the inputs, the climb remembers its steps, and coming down again the view follows the axes.
 *
 * The climb also passes Slice, Split and Concat of constants: that is how exporters reorder the gates of an LSTM and share out the one weight of
 * queries, keys and values. The view then is that of the whole constant; a part of it has the same axes. */
#include "engine/weights.h"
#include "engine/calls.h"
#include "engine/layers.h"
#include "engine/pointers.h"
#include "engine/view.h"
#include "engine/zeros.h"
#include <string.h>

enum { MAX_STEPS = 64, SMALL = 1024, MAX_VISITS = 10000, MAX_INPUTS = 30 };

/* The way from a constant down to a product, last step first. */
typedef struct Trail { const Node *step[MAX_STEPS]; int n, calls; } Trail;

typedef struct Finder {
    Model *model; Arena *scratch;
    Calls *calls;
    Pointers *number;              /* of each constant: its weight's index + 1 */
    Pointers *product;             /* of each product: its index + 1 */
    struct Product { uint32_t inputs; int64_t elements; } *at;     /* bit i where input i is a weight; elements of all its weights */
    int n_product, product_capacity;
    Weight *weight; Value **value; int n, capacity;
    Node *node; int input;         /* the product that is being looked at */
    int visits;
} Finder;

const char *weight_keep_text(WeightKeep k)
{
    switch (k) {
    case KEEP_NOT: return "not kept";
    case KEEP_SHARED_OTHER: return "also serves something that is not a product";
    case KEEP_FIRST: return "first weighted layer";
    case KEEP_LAST: return "last weighted layer";
    case KEEP_DEPTHWISE: return "depthwise: one input channel per group";
    case KEEP_SMALL: return "fewer than 1024 elements";
    case KEEP_TYPE: return "a type whose zero cannot be written";
    }
    return "unknown reason";
}

static Err no_memory(void) { return err_set(ERR_NOMEM, "out of memory"); }

static bool is_type(const Node *n, const char *type) { return !strcmp(n->op_type, type); }

/* Elements of input i are those of the outputs, or some of them. */
static bool passes(const Node *n, int i)
{
    if (!n->op || n->op->domain[0]) return n->op && n->op->passes_weight && i == 0;
    return i == 0 ? n->op->passes_weight || is_type(n, "Slice") || is_type(n, "Split") || is_type(n, "Concat") : is_type(n, "Concat");
}

/* No input of the model and no activation is in it. */
static bool is_constant(const Value *v, int *visits)
{
    if (!v || v->constant) return true;
    const Node *p = v->producer;
    if (!p || !p->n_in || !passes(p, 0) || --*visits < 0) return false;
    for (int i = 0; i < p->n_in; i++)
        if (passes(p, i) && !is_constant(p->in[i], visits)) return false;
    return true;
}

/* ---- quantization ---- */

/* The constant behind input i, also through operators that pass it on. */
static Constant *constant_behind(const Node *n, int i)
{
    const Value *v = i >= 0 && i < n->n_in ? n->in[i] : NULL;
    for (int k = 0; v && k < MAX_STEPS; k++) {
        if (v->constant) return v->constant;
        const Node *p = v->producer;
        if (!p || !p->op || !p->op->passes_weight || p->op->quant || !p->n_in) return NULL;
        v = p->in[0];
    }
    return NULL;
}

static const QuantSpec *quant_of(const Node *n, int input)
{
    for (const QuantSpec *q = n->op ? n->op->quant : NULL; q && q->data >= 0; q++)
        if (q->data == input) return q;
    return NULL;
}

static bool single(const Constant *c)
{
    int64_t n;
    return !c || (shape_count(&c->tensor.shape, &n) == OK && n == 1);
}

/* Axis of the stored tensor whose elements lie `axis.stride` apart; -1 if a step in between cut or joined it. */
static int stored_axis(const Weight *w, ViewAxis axis)
{
    View stored = view_of(&w->constant->tensor.shape);
    for (int i = 0; i < stored.n; i++)
        if (stored.axis[i].size == axis.size && (stored.axis[i].stride == axis.stride || axis.size == 1)) return i;
    return -1;
}

/* Scale and zero point that node n applies to its input; `axis` is the one that they run along if they are more than one number. */
static void set_quant(Weight *w, const Node *n, const QuantSpec *q, const View *v, int axis)
{
    w->scale = constant_behind(n, q->scale);
    w->zero = constant_behind(n, q->zero);
    w->quant_axis = 0;
    w->quant_block = attr_i(n, "block_size", 0);
    if (single(w->scale) && single(w->zero)) return;
    w->quant_axis = axis >= 0 && axis < v->n ? stored_axis(w, v->axis[axis]) : -1;
    if (w->quant_axis < 0) w->keep = KEEP_TYPE;            /* nobody can say which zero point belongs to which element */
}

/* ---- coming down ---- */

static void step_down(Weight *w, const Node *n, View *v)
{
    const int64_t *perm;
    if (is_type(n, "Transpose")) {
        int n_perm = attr_is(n, "perm", &perm);
        view_transpose(v, n_perm ? perm : NULL, n_perm);
    } else if (is_type(n, "QuantizeLinear")) {
        w->scale = w->zero = NULL;                         /* what is stored is not quantized yet */
    } else if (quant_of(n, 0)) {
        int64_t axis = attr_i(n, "axis", 1);
        set_quant(w, n, quant_of(n, 0), v, (int)(axis < 0 ? axis + v->n : axis));
    } else if (is_type(n, "Reshape") || is_type(n, "Flatten") || is_type(n, "Squeeze") || is_type(n, "Unsqueeze")) {
        view_reshape(v, n->out[0] ? &n->out[0]->fact.shape : &(Shape){ .rank = -1 });
    }
}

/* The axes as the product sees them, and what its own quantization says. */
static void describe(Weight *w, const Trail *t, const Node *product, int input)
{
    View v = view_of(&w->constant->tensor.shape);
    for (int i = t->n - 1; i >= 0; i--) step_down(w, t->step[i], &v);
    AxisRole role[MAX_RANK];
    Fact seen = product->in[input]->fact;
    if (seen.shape.rank < 0) seen.shape.rank = v.n;        /* in a function that is called with other shapes too */
    bool fits = v.n > 0 && v.n == seen.shape.rank && product->op->roles(product, input, &seen, role);
    w->n_axis = fits ? v.n : 0;
    int out = -1;
    for (int i = 0; i < w->n_axis; i++) {
        w->axis[i] = (WeightAxis){ role[i], v.axis[i].size, v.axis[i].stride };
        if (role[i] == AXIS_OUT) out = i;
    }
    const QuantSpec *q = quant_of(product, input);
    if (q) set_quant(w, product, q, &v, out);
}

/* ---- finding ---- */

static Err add_weight(Finder *f, Value *v, Weight w)
{
    if (f->n == f->capacity) {
        int capacity = 2 * f->capacity + 64;
        Weight *weight = arena_array(f->model->arena, (size_t)capacity, sizeof *weight);
        Value **value = arena_array(f->scratch, (size_t)capacity, sizeof *value);
        if (!weight || !value) return no_memory();
        if (f->n) memcpy(weight, f->weight, (size_t)f->n * sizeof *weight);
        if (f->n) memcpy(value, f->value, (size_t)f->n * sizeof *value);
        f->weight = weight;
        f->value = value;
        f->capacity = capacity;
    }
    w.name = v->name;
    w.node = f->node;
    TRY(shape_count(&v->constant->tensor.shape, &w.elements));
    f->value[f->n] = v;
    f->weight[f->n++] = w;
    return OK;
}

static Err add_product(Finder *f, const Weight *w)
{
    int *number;
    TRY(pointers_add(f->product, f->node, &number));
    if (!*number) {
        if (f->n_product == f->product_capacity) {
            int capacity = 2 * f->product_capacity + 64;
            struct Product *at = arena_array(f->scratch, (size_t)capacity, sizeof *at);
            if (!at) return no_memory();
            if (f->n_product) memcpy(at, f->at, (size_t)f->n_product * sizeof *at);
            f->at = at;
            f->product_capacity = capacity;
        }
        *number = ++f->n_product;
    }
    f->at[*number - 1].inputs |= UINT32_C(1) << f->input;
    f->at[*number - 1].elements += w->elements;
    return OK;
}

static Err add_use(Finder *f, Weight *w)
{
    const WeightUse *last = w->n_use ? &w->use[w->n_use - 1] : NULL;
    if (last && last->node == f->node && last->input == f->input) return OK;           /* in a function that is called twice */
    if ((w->n_use & (w->n_use - 1)) == 0) {                                            /* room for 1, 2, 4, 8 ... */
        WeightUse *use = arena_array(f->model->arena, 2 * (size_t)w->n_use + 1, sizeof *use);
        if (!use) return no_memory();
        if (w->n_use) memcpy(use, w->use, (size_t)w->n_use * sizeof *use);
        w->use = use;
    }
    w->use[w->n_use++] = (WeightUse){ f->node, f->input };
    return add_product(f, w);
}

static Err found(Finder *f, Value *v, const Trail *t)
{
    const int *number = pointers_find(f->number, v->constant);
    if (!number) {
        Weight w = { .constant = v->constant };
        describe(&w, t, f->node, f->input);
        if (f->node->in[f->input]->fact.shape.rank < 0 && !w.n_axis) return OK;        /* not known to be a weight */
        TRY(add_weight(f, v, w));
        int *added;
        TRY(pointers_add(f->number, v->constant, &added));
        *added = f->n;
        number = added;
    }
    return add_use(f, &f->weight[*number - 1]);
}

/* From v up to constants; inputs of a local function lead on to all its calls. */
static Err climb(Finder *f, Value *v, const Trail *below)
{
    if (!v || f->visits-- <= 0) return OK;
    if (v->constant) return found(f, v, below);
    const Node *p = v->producer;
    Trail t = *below;
    if (p) {
        int visits = MAX_VISITS;
        if (t.n == MAX_STEPS || (is_type(p, "Concat") && !is_constant(v, &visits))) return OK;
        t.step[t.n++] = p;
        for (int i = 0; i < p->n_in; i++)
            if (passes(p, i)) TRY(climb(f, p->in[i], &t));
        return OK;
    }
    if (!v->is_input || !v->graph->domain || t.calls++ == MAX_STEPS) return OK;
    int n_call;
    Node **call = calls_of(f->calls, v->graph, &n_call);
    for (int k = 0; k < v->graph->n_in; k++)
        for (int i = 0; v->graph->in[k] == v && i < n_call; i++)
            if (k < call[i]->n_in) TRY(climb(f, call[i]->in[k], &t));
    return OK;
}

/* A product of constants alone is a constant, and no weight meets activations in it. */
static bool meets_data(const Node *n)
{
    int visits = MAX_VISITS;
    for (int i = 0; i < n->n_in; i++)
        if (!is_constant(n->in[i], &visits)) return true;
    return false;
}

static Err find_in_graph(Graph *g, void *user)
{
    Finder *f = user;
    AxisRole role[MAX_RANK];
    for (int i = 0; i < g->n_node; i++) {
        Node *n = g->node[i];
        if (!n->op || !n->op->roles || !meets_data(n)) continue;
        for (int k = 0; k < n->n_in && k < MAX_INPUTS; k++) {
            if (!n->in[k] || (n->in[k]->fact.shape.rank >= 0 && !n->op->roles(n, k, &n->in[k]->fact, role))) continue;
            f->node = n;
            f->input = k;
            f->visits = MAX_VISITS;
            TRY(climb(f, n->in[k], &(Trail){ 0 }));
        }
    }
    return OK;
}

/* ---- why not to prune ---- */

static bool is_use(const Finder *f, const Node *n, int input)
{
    const int *number = pointers_find(f->product, n);
    return number && input < MAX_INPUTS && (f->at[*number - 1].inputs >> input & 1);
}

static bool serves_other(Finder *f, const Value *v);

static bool serves_other_at(Finder *f, const Node *n, int input)
{
    if (is_use(f, n, input)) return false;
    const Graph *function = calls_function(f->calls, n);
    if (function) return input < function->n_in && serves_other(f, function->in[input]);
    if (is_type(n, "Shape") || is_type(n, "Size")) return false;
    if (!passes(n, input)) return true;
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i] && serves_other(f, n->out[i])) return true;
    return false;
}

static bool serves_other(Finder *f, const Value *v)
{
    if (v->is_output || f->visits-- <= 0) return true;
    for (int i = 0; i < v->n_user; i++)
        for (int k = 0; k < v->user[i]->n_in; k++)
            if (v->user[i]->in[k] == v && serves_other_at(f, v->user[i], k)) return true;
    return false;
}

static bool is_depthwise(const Weight *w)
{
    const Shape *s = &w->node->in[w->use[0].input]->fact.shape;
    return attr_i(w->node, "group", 1) > 1 && s->rank > 1 && s->dim[1] == 1;
}

static WeightKeep why_kept(Finder *f, const Layers *layers, int i)
{
    const Weight *w = &f->weight[i];
    f->visits = MAX_VISITS;
    if (w->keep == KEEP_TYPE || !zeros_countable(w->constant->tensor.dtype)) return KEEP_TYPE;
    if (serves_other(f, f->value[i])) return KEEP_SHARED_OTHER;
    int layer = 0;
    for (int k = 0; k < w->n_use; k++) layer |= layers_of(layers, w->use[k].node);
    if (layer & LAYER_FIRST) return KEEP_FIRST;
    if (layer & LAYER_LAST) return KEEP_LAST;
    if (is_depthwise(w)) return KEEP_DEPTHWISE;
    return w->elements < SMALL ? KEEP_SMALL : KEEP_NOT;
}

/* ---- multiply-adds ---- */

/* Multiply-adds of a node are shared out by elements to its weights (W and R of an LSTM). */
static int64_t macs_at(const Finder *f, const Weight *w, const Node *n)
{
    const Fact *in[32] = { NULL }, *out[8] = { NULL }, none = { .is_tensor = true, .shape = { .rank = -1 } };
    int64_t macs;
    if (!n->op->macs || n->n_in > 32 || n->n_out > 8) return -1;
    for (int i = 0; i < n->n_in; i++) in[i] = n->in[i] ? &n->in[i]->fact : NULL;
    for (int i = 0; i < n->n_out; i++) out[i] = n->out[i] ? &n->out[i]->fact : NULL;
    if (!out[0]) out[0] = &none;
    if (n->op->macs(n, in, out, &macs) != OK) return -1;
    int64_t all = f->at[*pointers_find(f->product, n) - 1].elements;
    if (all <= w->elements) return macs;
    return (int64_t)((__int128)macs * w->elements / all);
}

static int64_t macs_of_weight(const Finder *f, const Weight *w)
{
    int64_t sum = 0;
    for (int i = 0; i < w->n_use; i++) {
        int64_t macs = macs_at(f, w, w->use[i].node);
        if (macs < 0 || __builtin_add_overflow(sum, macs, &sum)) return -1;
    }
    return sum;
}

static Err find_all(Finder *f)
{
    Model *m = f->model;
    TRY(calls_new(m, f->scratch, &f->calls));
    TRY(pointers_new(f->scratch, &f->number));
    TRY(pointers_new(f->scratch, &f->product));
    TRY(model_each_graph(m, find_in_graph, f));
    Layers *layers;
    TRY(layers_find(m, f->scratch, f->weight, f->n, &layers));
    for (int i = 0; i < f->n; i++) {
        Weight *w = &f->weight[i];
        w->keep = why_kept(f, layers, i);
        w->macs = macs_of_weight(f, w);
        if (w->keep == KEEP_TYPE) continue;
        Err e = zeros_count(m, w, &w->zeros);
        if (e != OK) return err_in(e, "weight '%s'", w->name);
    }
    return OK;
}

Err weights_find(Model *m, Weight **weight, int *n)
{
    Finder f = { .model = m, .scratch = arena_new() };
    Err e = f.scratch ? find_all(&f) : no_memory();
    arena_free(f.scratch);
    if (e != OK) return e;
    *weight = f.weight;
    *n = f.n;
    return OK;
}
