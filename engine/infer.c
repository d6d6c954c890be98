/* The driver of shape inference: facts of constants and inputs, the walk over graphs, calls of local functions, and what becomes of a row's answer. */
#include "engine/infer.h"
#include "engine/symbolic.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CALL_DEPTH = 32, MAX_REALS = 64, MAX_PADDING = 16 };

/* What the calls of a local function have in common. */
typedef struct Called { Graph *graph; Fact *in; int calls, depth; } Called;

typedef struct Walk {
    Arena *scratch;                /* freed after each node */
    int64_t *bound; int n_bound;   /* number of each symbol of the file, DIM_UNKNOWN if none */
    const char *complaint;
    int silent;                    /* > 0: contradictions do not count */
    int64_t budget;                /* nodes that may still be visited: bodies of loops and functions are visited several times */
    Called *called; int n_called;  /* one for each local function, ordered by name */
    const Node *call;              /* whose function body is being walked; NULL in graphs */
    int depth;
} Walk;

static Err no_memory(void) { return err_set(ERR_NOMEM, "out of memory"); }

static void complain(Inference *x, const char *what, const char *name)
{
    Walk *w = x->walk;
    if (w->complaint || w->silent) return;
    const char *text = arena_printf(x->arena, "%s '%s': %s", what, name ? name : "", err_text());
    w->complaint = text ? text : "types or shapes contradict each other";
}

/* ---- constants ---- */

static bool read_whole(const Tensor *t, int64_t i, int64_t *v)
{
    switch (t->dtype) {
    case DT_I64: *v = ((const int64_t *)t->data)[i]; break;
    case DT_I32: *v = ((const int32_t *)t->data)[i]; break;
    case DT_I16: *v = ((const int16_t *)t->data)[i]; break;
    case DT_I8:  *v = ((const int8_t *)t->data)[i]; break;
    case DT_U32: *v = ((const uint32_t *)t->data)[i]; break;
    case DT_U16: *v = ((const uint16_t *)t->data)[i]; break;
    case DT_U8: case DT_BOOL: *v = ((const uint8_t *)t->data)[i]; break;
    case DT_U64: {
        uint64_t u = ((const uint64_t *)t->data)[i];
        if (u > INT64_MAX) return false;
        *v = (int64_t)u;
        break;
    }
    default: return false;
    }
    if (dim_is_symbol(*v)) *v = SYMBOL_BASE + MAX_SYMBOLS;   /* Slice's "from the very first": the smallest number that is no symbol */
    return true;
}

static double read_real(const Tensor *t, int64_t i)
{
    return t->dtype == DT_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

Err fact_reals(Inference *x, const double *v, int n, Fact *f)
{
    bool whole = true;
    for (int i = 0; i < n; i++) whole &= fabs(v[i]) < 0x1p53 && v[i] == floor(v[i]);
    int64_t *element = arena_array(x->arena, (size_t)n, sizeof *element);
    if (!element) return no_memory();
    _Static_assert(sizeof(double) == sizeof *element, "one array serves both");
    if (whole) for (int i = 0; i < n; i++) element[i] = (int64_t)v[i];
    else memcpy(element, v, (size_t)n * sizeof *v);
    f->element = whole ? element : NULL;
    f->real = whole ? NULL : (const double *)element;
    return OK;
}

static Err read_elements(Inference *x, const Tensor *t, int n, Fact *f)
{
    if (t->dtype == DT_F32 || t->dtype == DT_F64) {
        double v[MAX_REALS];
        for (int i = 0; i < n; i++) v[i] = read_real(t, i);
        return fact_reals(x, v, n, f);
    }
    int64_t *element = arena_array(x->arena, (size_t)n, sizeof *element);
    if (!element) return no_memory();
    for (int i = 0; i < n; i++)
        if (!read_whole(t, i, &element[i])) return OK;
    f->element = element;
    return OK;
}

static Err constant_fact(Inference *x, Constant *c, Fact *f)
{
    *f = (Fact){ .is_tensor = true, .dtype = c->tensor.dtype, .shape = c->tensor.shape };
    int64_t n;
    bool real = f->dtype == DT_F32 || f->dtype == DT_F64, whole = dtype_bits(f->dtype) >= 8 && !dtype_is_float(f->dtype);
    if (!real && !(whole && f->dtype != DT_C64 && f->dtype != DT_C128)) return OK;
    if (shape_count(&f->shape, &n) != OK || n > (real ? MAX_REALS : INFER_ELEMENTS)) return OK;
    bool fetched = c->tensor.data != NULL;
    Err e = constant_fetch(x->model, c);
    if (e != OK) return e == ERR_NOMEM ? e : OK;       /* who needs the elements says what is wrong with them */
    TRY(read_elements(x, &c->tensor, (int)n, f));
    return fetched || c->storage != STORED_EXTERNAL ? OK : constant_release(x->model, c);
}

/* ---- facts of values ---- */

/* What the file states, with bound symbols put in. */
static Fact stated_fact(const Walk *w, const Value *v)
{
    Fact f = v->stated;
    for (int i = 0; i < f.shape.rank; i++) {
        int64_t d = f.shape.dim[i];
        if (dim_is_symbol(d) && d - SYMBOL_BASE < w->n_bound && w->bound[d - SYMBOL_BASE] != DIM_UNKNOWN) f.shape.dim[i] = w->bound[d - SYMBOL_BASE];
    }
    return f;
}

/* f and what the file states: a contradiction is a complaint, and f wins. */
static void merge_stated(Inference *x, const Value *v, Fact *f)
{
    Fact s = stated_fact(x->walk, v);
    bool says = s.dtype != DT_NONE || s.shape.rank >= 0;
    if (!f->is_tensor || (!s.is_tensor && !says)) return;
    if (f->dtype == DT_NONE) f->dtype = s.dtype;
    Err e = OK;
    if (s.dtype != DT_NONE && s.dtype != f->dtype)
        e = err_set(ERR_SHAPE, "the file states %s, the operator gives %s", dtype_name(s.dtype), dtype_name(f->dtype));
    if (f->shape.rank < 0) {
        f->shape = s.shape;
    } else if (s.shape.rank >= 0 && s.shape.rank != f->shape.rank) {
        e = err_set(ERR_SHAPE, "the file states rank %d, the operator gives rank %d", s.shape.rank, f->shape.rank);
    } else {
        for (int i = 0; i < s.shape.rank; i++) {
            Err differ = dim_merge(f->shape.dim[i], s.shape.dim[i], &f->shape.dim[i]);
            if (differ == OK) continue;
            e = err_set(differ, "the file states %lld for axis %d, the operator gives %lld", (long long)s.shape.dim[i], i, (long long)f->shape.dim[i]);
        }
    }
    if (e != OK) complain(x, "value", v->name);
}

/* A symbol for what is only known to exist. Values of different bodies may have the same name. */
static Err own_symbol(Inference *x, const Value *v, const char *mark, int i, int64_t *symbol)
{
    const Graph *g = v->graph;
    const char *scope = !g || (!g->owner && !g->domain) ? "" : g->owner && g->owner->n_out && g->owner->out[0] ? g->owner->out[0]->name : g->name;
    const char *inner = *scope && g->owner && g->name ? g->name : "";
    const char *close = *mark == '[' ? "]" : "";
    const char *name = arena_printf(x->walk->scratch, "%s%s%s%s%s%s%d%s", scope, *scope ? "/" : "", inner, *inner ? "/" : "", v->name, mark, i, close);
    if (!name) return no_memory();
    return symbolic_name(x->symbolic, name, *mark == ':', DIM_UNKNOWN, symbol);
}

static Err finish_elements(Inference *x, const Value *v, Fact *f)
{
    int n = fact_count(f), unknown = 0;
    if (!f->element) return OK;
    for (int i = 0; i < n; i++) unknown += f->element[i] == DIM_UNKNOWN;
    if (n < 0 || (unknown == n && n)) f->element = NULL;
    if (!unknown || !f->element) return OK;
    int64_t *element = arena_array(x->arena, (size_t)n, sizeof *element);
    if (!element) return no_memory();
    memcpy(element, f->element, (size_t)n * sizeof *element);
    for (int i = 0; i < n; i++)
        if (element[i] == DIM_UNKNOWN) TRY(own_symbol(x, v, "[", i, &element[i]));
    f->element = element;
    return OK;
}

/* Makes a row's answer the fact of v: joined with what the file states, unknown sizes named. */
static Err set_fact(Inference *x, Value *v, Fact f)
{
    if (v->constant) return constant_fact(x, v->constant, &v->fact);
    bool negative = false;
    for (int i = 0; i < f.shape.rank; i++) {
        if (!dim_is_number(f.shape.dim[i]) || f.shape.dim[i] >= 0) continue;
        negative = true;
        f.shape.dim[i] = DIM_UNKNOWN;
    }
    if (negative && err_set(ERR_SHAPE, "its size would be negative") != OK) complain(x, "value", v->name);
    merge_stated(x, v, &f);
    for (int i = 0; i < f.shape.rank; i++)
        if (f.shape.dim[i] == DIM_UNKNOWN) TRY(own_symbol(x, v, ":", i, &f.shape.dim[i]));
    for (int i = 0; i < f.shape.rank; i++)
        if (f.shape.dim[i] == DIM_UNKNOWN) f.shape.rank = -1;               /* the model has no symbols left */
    TRY(finish_elements(x, v, &f));
    v->fact = f;
    return OK;
}

void fact_join(Fact *a, const Fact *b)
{
    if (!a->is_tensor || !b->is_tensor) {
        a->is_tensor = a->is_tensor && b->is_tensor;
        a->shape.rank = -1;
        a->element = NULL;
        a->real = NULL;
        return;
    }
    bool same = fact_equal(a, b);
    if (a->dtype != b->dtype) a->dtype = DT_NONE;
    if (a->shape.rank != b->shape.rank) a->shape.rank = -1;
    for (int i = 0; i < a->shape.rank; i++)
        if (a->shape.dim[i] != b->shape.dim[i]) a->shape.dim[i] = DIM_UNKNOWN;
    if (same) return;
    a->element = NULL;
    a->real = NULL;
}

bool fact_equal(const Fact *a, const Fact *b)
{
    if (a->is_tensor != b->is_tensor) return false;
    if (!a->is_tensor) return true;
    if (a->dtype != b->dtype || a->shape.rank != b->shape.rank || (a->shape.rank >= 0 && !shape_equal(&a->shape, &b->shape))) return false;
    int n = fact_count(a);
    if (n != fact_count(b) || !a->element != !b->element) return false;
    if (n <= 0) return true;
    return a->element ? !memcmp(a->element, b->element, (size_t)n * sizeof *a->element) : !memcmp(a->real, b->real, (size_t)n * sizeof *a->real);
}

/* ---- nodes ---- */

static Err infer_graph(Inference *x, Graph *g);

static int order_called(const void *a, const void *b)
{
    const Graph *f = ((const Called *)a)->graph, *g = ((const Called *)b)->graph;
    int by_name = strcmp(f->name, g->name);
    return by_name ? by_name : strcmp(f->domain, g->domain);
}

static Called *find_called(const Walk *w, const Node *n)
{
    Graph name = { .name = n->op_type, .domain = n->domain };
    return w->n_called ? bsearch(&(Called){ .graph = &name }, w->called, (size_t)w->n_called, sizeof *w->called, order_called) : NULL;
}

/* A call of a local function: its body is walked with the caller's facts. */
static Err infer_call(Inference *x, const Node *n, Called *f, const Fact *const *in, Fact *out)
{
    Walk *w = x->walk;
    Graph *g = f->graph;
    if (w->depth >= MAX_CALL_DEPTH) return OK;
    for (int i = 0; i < g->n_in; i++) {
        Fact given = i < n->n_in && in[i] ? *in[i] : FACT_UNKNOWN;
        if (f->calls) fact_join(&f->in[i], &given);
        else f->in[i] = given;
        TRY(set_fact(x, g->in[i], given));
    }
    f->calls++;
    if (f->depth < w->depth + 1) f->depth = w->depth + 1;
    const Node *outer = w->call;
    int64_t opset = x->opset;
    w->call = n;
    w->depth++;
    Err e = infer_graph(x, g);
    w->depth--;
    w->call = outer;
    x->opset = opset;
    TRY(e);
    for (int i = 0; i < n->n_out && i < g->n_out; i++) out[i] = g->out[i]->fact;
    return OK;
}

/* Node n of a function body with the caller's attributes in place of references. *out: n itself where there are none; NULL where a reference means
 * a default that is not known here. */
static Err resolve_attributes(Inference *x, const Node *n, const Node **out)
{
    const Walk *w = x->walk;
    int references = 0, kept = 0;
    for (int i = 0; i < n->n_attr; i++) references += n->attr[i].reference != NULL;
    *out = n;
    if (!references) return OK;
    *out = NULL;
    if (!w->call) return OK;
    Node *copy = arena_alloc(w->scratch, sizeof *copy);
    Attr *attr = arena_array(w->scratch, (size_t)n->n_attr, sizeof *attr);
    if (!copy || !attr) return no_memory();
    for (int i = 0; i < n->n_attr; i++) {
        Attr a = n->attr[i];
        if (a.reference) {
            const Attr *given = node_attr(w->call, a.reference);
            if (!given || given->reference || given->kind != a.kind) return OK;
            a = *given;
            a.name = n->attr[i].name;
        }
        attr[kept++] = a;
    }
    *copy = *n;
    copy->attr = attr;
    copy->n_attr = kept;
    *out = copy;
    return OK;
}

static Err infer_node_with(Inference *x, const Node *n, const Fact **in, Fact *out)
{
    for (int i = 0; i < n->n_in; i++) in[i] = n->in[i] ? &n->in[i]->fact : NULL;
    const Node *resolved;
    TRY(resolve_attributes(x, n, &resolved));
    if (!resolved) return OK;
    Called *function = find_called(x->walk, n);
    if (function) return infer_call(x, resolved, function, in, out);
    if (!n->op || !n->op->infer) return OK;
    x->opset = graph_opset(n->graph, n->domain);
    Err e = n->op->infer(x, resolved, in, out);
    if (e == ERR_NOMEM) return e;
    if (e != OK && err_in(e, "%s", n->op_type) != OK) complain(x, "node", n->name && *n->name ? n->name : n->n_out && n->out[0] ? n->out[0]->name : "");
    return OK;
}

static Err infer_node(Inference *x, const Node *n)
{
    Walk *w = x->walk;
    int padding = n->op && n->op->max_in > n->n_in ? n->op->max_in - n->n_in : 0;
    int more = n->op && n->op->max_out > n->n_out ? n->op->max_out - n->n_out : 0;
    ArenaMark mark = arena_mark(w->scratch);
    const Fact **in = arena_array(w->scratch, (size_t)(n->n_in + padding + 1), sizeof *in);
    int n_out = n->n_out + more + 1;
    Fact *out = arena_array(w->scratch, (size_t)n_out, sizeof *out);
    if (!in || !out) return no_memory();
    for (int i = 0; i < n_out; i++) out[i] = FACT_UNKNOWN;
    if (w->budget-- > 0) TRY(infer_node_with(x, n, in, out));
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i]) TRY(set_fact(x, n->out[i], out[i]));
    arena_reset(w->scratch, mark);
    return OK;
}

static Err infer_graph(Inference *x, Graph *g)
{
    for (int i = 0; i < g->n_node; i++) TRY(infer_node(x, g->node[i]));
    return OK;
}

Err infer_body(Inference *x, const Body *b)
{
    Graph *g = b->graph;
    int64_t opset = x->opset;
    x->walk->silent += b->silent;
    for (int i = 0; i < b->n_in && i < g->n_in; i++) TRY(set_fact(x, g->in[i], b->in[i]));
    TRY(infer_graph(x, g));
    x->walk->silent -= b->silent;
    x->opset = opset;
    for (int i = 0; i < b->n_out && i < g->n_out; i++)
        if (g->out[i]) b->out[i] = g->out[i]->fact;
    return OK;
}

/* ---- bindings ---- */

/* The symbol or the size that a binding's name stands for. */
static bool find_bound(const Model *m, const char *name, int64_t *dim)
{
    const char *colon = strrchr(name, ':');
    char *end = NULL;
    long axis = colon && colon[1] ? strtol(colon + 1, &end, 10) : -1;
    for (int i = 0; i < m->graph->n_in; i++) {
        const Value *v = m->graph->in[i];
        bool numbered = end && !*end && axis >= 0 && strlen(v->name) == (size_t)(colon - name) && !strncmp(v->name, name, (size_t)(colon - name));
        for (int k = 0; k < v->stated.shape.rank && v->stated.is_tensor; k++) {
            *dim = v->stated.shape.dim[k];
            bool named = dim_is_symbol(*dim) && *dim - SYMBOL_BASE < m->n_symbol && !strcmp(m->symbol[*dim - SYMBOL_BASE], name);
            if (named || (numbered && k == axis)) return true;
        }
    }
    return false;
}

/* Says which names there are. */
static Err unknown_binding(const Inference *x, const char *name)
{
    const Model *m = x->model;
    const char *list = "";
    for (int i = 0; i < m->graph->n_in; i++) {
        const Value *v = m->graph->in[i];
        for (int k = 0; k < v->stated.shape.rank && v->stated.is_tensor; k++) {
            int64_t d = v->stated.shape.dim[k];
            const char *symbol = dim_is_symbol(d) ? m->symbol[d - SYMBOL_BASE] : NULL;
            if (!symbol || strlen(list) + strlen(symbol) > 300 || strstr(list, symbol)) continue;
            list = arena_printf(x->walk->scratch, "%s%s%s", list, *list ? ", " : "", symbol);
            if (!list) return no_memory();
        }
    }
    return err_set(ERR_ARG, "no input of the model has a size named \"%s\"; there are %s", name, *list ? list : "none");
}

static Err read_bindings(Inference *x, const Binding *binding, int n)
{
    Walk *w = x->walk;
    const Model *m = x->model;
    w->n_bound = m->n_symbol;
    w->bound = arena_array(w->scratch, (size_t)w->n_bound, sizeof *w->bound);
    if (!w->bound) return no_memory();
    for (int i = 0; i < w->n_bound; i++) w->bound[i] = DIM_UNKNOWN;
    for (int i = 0; i < n; i++) {
        int64_t dim, size = binding[i].size;
        const char *name = binding[i].name;
        if (size < 0) return err_set(ERR_ARG, "a size cannot be negative: \"%s\" = %lld", name, (long long)size);
        if (!find_bound(m, name, &dim)) return unknown_binding(x, name);
        if (dim_is_number(dim) && dim != size)
            return err_set(ERR_ARG, "the size \"%s\" is %lld in the model and cannot be %lld", name, (long long)dim, (long long)size);
        if (dim_is_number(dim)) continue;
        int64_t *bound = &w->bound[dim - SYMBOL_BASE];
        if (*bound != DIM_UNKNOWN && *bound != size)
            return err_set(ERR_ARG, "the size \"%s\" is given twice: %lld and %lld", name, (long long)*bound, (long long)size);
        *bound = size;
    }
    return OK;
}

/* ---- the whole model ---- */

static Err start_graph(Graph *g, void *user)
{
    Inference *x = user;
    x->walk->budget += 16 * (int64_t)g->n_node;
    for (int i = 0; i < g->n_value; i++) {
        Value *v = g->value[i];
        if (v->constant) TRY(constant_fact(x, v->constant, &v->fact));
        else if (v->is_input) TRY(set_fact(x, v, (Fact){ .is_tensor = v->stated.is_tensor, .dtype = v->stated.dtype, .shape = { .rank = -1 } }));
        else v->fact = FACT_UNKNOWN;
    }
    return OK;
}

static int order_depth(const void *a, const void *b) { return ((const Called *)a)->depth - ((const Called *)b)->depth; }

/* Functions that are called more than once, or never, get facts that hold for all their calls. Callers come first: they walk the bodies that they call. */
static Err finish_functions(Inference *x)
{
    Walk *w = x->walk;
    Called *order = arena_array(w->scratch, (size_t)w->n_called, sizeof *order);
    if (!order) return no_memory();
    memcpy(order, w->called, (size_t)w->n_called * sizeof *order);
    qsort(order, (size_t)w->n_called, sizeof *order, order_depth);
    w->silent++;
    for (int i = 0; i < w->n_called; i++) {
        const Called *f = find_called(w, &(Node){ .op_type = order[i].graph->name, .domain = order[i].graph->domain });
        if (!f || f->calls == 1) continue;
        for (int k = 0; k < f->graph->n_in; k++) TRY(set_fact(x, f->graph->in[k], f->calls ? f->in[k] : FACT_UNKNOWN));
        TRY(infer_graph(x, f->graph));
    }
    w->silent--;
    return OK;
}

static Err list_functions(Inference *x)
{
    Walk *w = x->walk;
    const Model *m = x->model;
    w->n_called = m->n_function;
    w->called = arena_array(w->scratch, (size_t)m->n_function, sizeof *w->called);
    if (!w->called) return no_memory();
    for (int i = 0; i < m->n_function; i++) {
        Fact *in = arena_array(w->scratch, (size_t)m->function[i]->n_in, sizeof *in);
        if (!in) return no_memory();
        w->called[i] = (Called){ .graph = m->function[i], .in = in };
    }
    qsort(w->called, (size_t)w->n_called, sizeof *w->called, order_called);
    return OK;
}

static Err infer_model(Inference *x, Arena *expressions, const Binding *binding, int n_binding)
{
    TRY(symbolic_new(x->model, expressions, &x->symbolic));
    TRY(read_bindings(x, binding, n_binding));
    TRY(list_functions(x));
    TRY(model_each_graph(x->model, start_graph, x));
    TRY(infer_graph(x, x->model->graph));
    return finish_functions(x);
}

Err infer(Model *m, const Binding *binding, int n_binding, const char **complaint)
{
    Arena *expressions = arena_new(), *scratch = arena_new();
    Walk walk = { .scratch = scratch, .budget = 1000 };
    Inference x = { .model = m, .arena = m->arena, .walk = &walk };
    Err e = expressions && scratch ? infer_model(&x, expressions, binding, n_binding) : no_memory();
    arena_free(expressions);
    arena_free(scratch);
    if (e == OK && complaint) *complaint = walk.complaint;
    return e;
}
