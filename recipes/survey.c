#include "recipes/survey.h"
#include "engine/calls.h"
#include "engine/zeros.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static Err no_memory(void)
{
    return err_set(ERR_NOMEM, "not enough memory to look at the model");
}

/* ---- Sizes that the file leaves open ---- */

static bool name_holds(const char *name, const char *part)
{
    size_t n = strlen(part);
    for (; *name; name++)
        if (strncasecmp(name, part, n) == 0) return true;
    return false;
}

static int64_t assumed_size(const char *name, const Shape *s, int axis)
{
    enum { CHANNELS = 3, SIDE = 224, DEPTH = 16, SEQUENCE = 128 };
    if (strncasecmp(name, "past", 4) == 0) return 0;
    if (axis == 0 || name_holds(name, "batch")) return 1;
    if (s->rank != 4 && s->rank != 5) return SEQUENCE;
    int64_t last = s->dim[s->rank - 1];
    bool channels_last = !dim_is_symbol(last) && last <= 4;
    int first_side = channels_last ? s->rank - 3 : s->rank - 2;
    if (axis >= first_side) return SIDE;
    return s->rank == 5 && axis == first_side - 1 ? DEPTH : CHANNELS;
}

static SizeChoice *find_size(const Survey *v, const char *name)
{
    for (int i = 0; i < v->n_size; i++)
        if (strcmp(v->size[i].name, name) == 0) return &v->size[i];
    return NULL;
}

/* Lists every symbol of the graph's inputs with its assumed size. Needs facts. */
static Err assume_sizes(Model *m, Survey *v)
{
    size_t room = 0;
    for (int i = 0; i < m->graph->n_in; i++)
        if (m->graph->in[i]->fact.shape.rank > 0) room += (size_t)m->graph->in[i]->fact.shape.rank;
    v->size = arena_array(m->arena, room, sizeof *v->size);
    if (!v->size) return no_memory();
    for (int i = 0; i < m->graph->n_in; i++) {
        const Shape *s = &m->graph->in[i]->fact.shape;
        for (int a = 0; a < s->rank; a++) {
            if (!dim_is_symbol(s->dim[a])) continue;
            const char *name = m->symbol[s->dim[a] - SYMBOL_BASE];
            if (!find_size(v, name)) v->size[v->n_size++] = (SizeChoice){ name, assumed_size(name, s, a), false };
        }
    }
    return OK;
}

static const Value *find_input(const Model *m, const char *name, size_t length)
{
    for (int i = 0; i < m->graph->n_in; i++)
        if (strlen(m->graph->in[i]->name) == length && strncmp(m->graph->in[i]->name, name, length) == 0) return m->graph->in[i];
    return NULL;
}

/* The next of the sizes separated by "," or "x"; *text moves behind it. */
static Err size_parse(const char **text, const char *whole, int64_t *size)
{
    char *end;
    errno = 0;
    long long n = isdigit((unsigned char)**text) ? strtoll(*text, &end, 10) : -1;
    if (n < 0 || errno || n > INT32_MAX || (*end && *end != ',' && *end != 'x')) return err_set(ERR_ARG, "'%s' is not NAME=SIZE or NAME=SIZE,SIZE,...", whole);
    *text = end;
    *size = n;
    return OK;
}

static Err set_symbol(Survey *v, const Model *m, int64_t symbol, int64_t size)
{
    SizeChoice *c = find_size(v, m->symbol[symbol - SYMBOL_BASE]);
    if (c->given && c->size != size)
        return err_set(ERR_ARG, "the size '%s' cannot be both %lld and %lld", c->name, (long long)c->size, (long long)size);
    c->given = true;
    c->size = size;
    return OK;
}

static Err set_input(Survey *v, const Model *m, const Value *in, const char *text, const char *whole)
{
    const Shape *s = &in->fact.shape;
    if (s->rank < 0) return err_set(ERR_ARG, "the model does not say how many dimensions the input '%s' has, so '%s' cannot be used", in->name, whole);
    for (int a = 0; a < s->rank; a++) {
        int64_t size;
        TRY(size_parse(&text, whole, &size));
        if (dim_is_symbol(s->dim[a])) TRY(set_symbol(v, m, s->dim[a], size));
        else if (s->dim[a] != size)
            return err_set(ERR_ARG, "'%s': size %d of the input '%s' is fixed at %lld", whole, a, in->name, (long long)s->dim[a]);
        if (!*text != (a == s->rank - 1)) return err_set(ERR_ARG, "'%s': the input '%s' has %d dimension%s", whole, in->name, s->rank, s->rank == 1 ? "" : "s");
        text += *text != 0;
    }
    return OK;
}

static Err set_size(Survey *v, const Model *m, const char *choice)
{
    const char *equals = strrchr(choice, '=');
    if (!equals || equals == choice) return err_set(ERR_ARG, "'%s' is not NAME=SIZE or NAME=SIZE,SIZE,...", choice);
    const Value *in = find_input(m, choice, (size_t)(equals - choice));
    const char *text = equals + 1;
    if (in && in->fact.shape.rank != 0) return set_input(v, m, in, text, choice);
    for (int i = 0; i < v->n_size; i++) {
        SizeChoice *c = &v->size[i];
        if (strlen(c->name) != (size_t)(equals - choice) || strncmp(c->name, choice, strlen(c->name)) != 0) continue;
        TRY(size_parse(&text, choice, &c->size));
        if (*text) return err_set(ERR_ARG, "'%s': '%s' is one size, not several", choice, c->name);
        c->given = true;
        return OK;
    }
    if (!v->n_size) return err_set(ERR_ARG, "'%s' names neither an input nor an open size; every input of this model has a fixed shape", choice);
    return err_set(ERR_ARG, "'%s' names neither an input nor an open size (an open size of this model is '%s')", choice, v->size[0].name);
}

static Err choose_sizes(Model *m, const char *const *size, Survey *v)
{
    TRY(infer(m, NULL, 0, &v->complaint));
    TRY(assume_sizes(m, v));
    for (; size && *size; size++) TRY(set_size(v, m, *size));
    if (!v->n_size) return OK;
    Binding *b = arena_array(m->arena, (size_t)v->n_size, sizeof *b);
    if (!b) return no_memory();
    for (int i = 0; i < v->n_size; i++) b[i] = (Binding){ v->size[i].name, v->size[i].size };
    return infer(m, b, v->n_size, &v->complaint);
}

/* ---- Counting ---- */

typedef struct Count {
    Model *model;
    Survey *survey;
    Calls *calls;
    const Constant **weight;       /* sorted by address */
    const Fact **fact; int n_fact; /* scratch for Op.macs */
    bool macs_unknown;
} Count;

static Err count_operator(Count *c, const Node *n)
{
    Survey *v = c->survey;
    bool known = n->op || calls_function(c->calls, n);
    for (int i = 0; i < v->n_op; i++)
        if (strcmp(v->op[i].type, n->op_type) == 0 && strcmp(v->op[i].domain, n->domain) == 0) {
            v->op[i].count++;
            v->op[i].known &= known;
            return OK;
        }
    OperatorCount *list = arena_grow(c->model->arena, v->op, v->n_op, sizeof *list);
    if (!list) return no_memory();
    v->op = list;
    list[v->n_op++] = (OperatorCount){ n->domain, n->op_type, 1, known };
    return OK;
}

static Err count_macs(Count *c, const Node *n)
{
    if (!n->op || !n->op->macs) return OK;
    int room = n->n_in + n->n_out;
    if (room < n->op->max_in + n->op->max_out) room = n->op->max_in + n->op->max_out;
    if (room > c->n_fact) {
        c->fact = arena_array(c->model->arena, (size_t)room, sizeof(Fact *));
        if (!c->fact) return no_memory();
        c->n_fact = room;
    }
    int first_out = n->n_in > n->op->max_in ? n->n_in : n->op->max_in;
    memset(c->fact, 0, (size_t)room * sizeof(Fact *));
    for (int i = 0; i < n->n_in; i++) c->fact[i] = n->in[i] ? &n->in[i]->fact : NULL;
    for (int i = 0; i < n->n_out; i++) c->fact[first_out + i] = n->out[i] ? &n->out[i]->fact : NULL;
    int64_t macs;
    Err e = n->op->macs(n, c->fact, c->fact + first_out, &macs);
    if (e == ERR_NOMEM) return e;
    if (e != OK) c->macs_unknown = true;
    else c->survey->macs += macs;
    return OK;
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (const Constant *const *)a, y = (uintptr_t) * (const Constant *const *)b;
    return (x > y) - (x < y);
}

/* A constant of numbers that is no weight: bias, scale, embedding, also a quantized one. Which of a quantized one's are zero depends on who reads it. */
static Err count_constant(Count *c, Constant *k)
{
    int64_t n, zeros;
    if ((!dtype_is_float(k->tensor.dtype) && !dtype_is_small_int(k->tensor.dtype)) || shape_count(&k->tensor.shape, &n) != OK) return OK;
    if (bsearch(&k, c->weight, (size_t)c->survey->n_weight, sizeof *c->weight, by_address)) return OK;
    c->survey->parameters += n;
    if (dtype_is_small_int(k->tensor.dtype) || !zeros_countable(k->tensor.dtype)) return OK;
    TRY(zeros_of(c->model, k, &zeros));
    c->survey->zeros += zeros;
    return OK;
}

static Err count_graph(Graph *g, void *user)
{
    Count *c = user;
    c->survey->n_node += g->n_node;
    for (int i = 0; i < g->n_node; i++) {
        TRY(count_operator(c, g->node[i]));
        TRY(count_macs(c, g->node[i]));
    }
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->constant) TRY(count_constant(c, g->value[i]->constant));
    return OK;
}

static int by_count(const void *a, const void *b)
{
    const OperatorCount *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    int order = strcmp(x->type, y->type);
    return order ? order : strcmp(x->domain, y->domain);
}

static Err count_all(Model *m, Survey *v)
{
    Count c = { .model = m, .survey = v };
    c.weight = arena_array(m->arena, (size_t)v->n_weight, sizeof *c.weight);
    if (!c.weight) return no_memory();
    TRY(calls_new(m, m->arena, &c.calls));
    for (int i = 0; i < v->n_weight; i++) {
        c.weight[i] = v->weight[i].constant;
        v->parameters += v->weight[i].elements;
        v->zeros += v->weight[i].zeros;
    }
    if (v->n_weight) qsort(c.weight, (size_t)v->n_weight, sizeof *c.weight, by_address);
    TRY(model_each_graph(m, count_graph, &c));
    if (c.macs_unknown) v->macs = -1;
    if (v->n_op) qsort(v->op, (size_t)v->n_op, sizeof *v->op, by_count);
    return OK;
}

Err model_survey(Model *m, const char *const *size, Survey **out)
{
    Survey *v = arena_alloc(m->arena, sizeof *v);
    if (!v) return no_memory();
    TRY(model_refresh(m));
    TRY(ops_bind(m));
    TRY(choose_sizes(m, size, v));
    TRY(weights_find(m, &v->weight, &v->n_weight));
    TRY(count_all(m, v));
    *out = v;
    return OK;
}
