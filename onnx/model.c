/* What passes ask of a model: attributes, opsets, symbols, properties, walks over everything. */
#include "onnx/model.h"
#include "onnx/names.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

const Attr *node_attr(const Node *n, const char *name)
{
    for (int i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, name) == 0) return &n->attr[i];
    return NULL;
}

/* The attribute if it has a value of that kind of its own. */
static const Attr *attr_of_kind(const Node *n, const char *name, AttrKind kind)
{
    const Attr *a = node_attr(n, name);
    return a && a->kind == kind && !a->reference ? a : NULL;
}

int64_t attr_i(const Node *n, const char *name, int64_t otherwise)
{
    const Attr *a = attr_of_kind(n, name, ATTR_I);
    return a ? a->i : otherwise;
}

float attr_f(const Node *n, const char *name, float otherwise)
{
    const Attr *a = attr_of_kind(n, name, ATTR_F);
    return a ? a->f : otherwise;
}

int attr_is(const Node *n, const char *name, const int64_t **v)
{
    const Attr *a = attr_of_kind(n, name, ATTR_IS);
    if (!a) return 0;
    *v = a->is;
    return a->n;
}

bool attr_s_is(const Node *n, const char *name, const char *text, bool otherwise)
{
    const Attr *a = attr_of_kind(n, name, ATTR_S);
    if (!a) return otherwise;
    size_t size = strlen(text);
    return a->s.size == size && (size == 0 || memcmp(a->s.at, text, size) == 0);
}

int64_t graph_opset(const Graph *g, const char *domain)
{
    for (int i = 0; i < g->n_opset; i++)
        if (strcmp(g->opset[i].domain, domain) == 0) return g->opset[i].version;
    return 0;
}

Err model_symbol(Model *m, const char *name, int64_t *dim)
{
    const char **known = names_get(m->symbols, name);
    if (!known) {
        if (m->n_symbol == MAX_SYMBOLS) return err_set(ERR_UNSUPPORTED, "the model has more than %d symbolic sizes", MAX_SYMBOLS);
        const char **list = arena_grow(m->arena, m->symbol, m->n_symbol, sizeof *list);
        const char *copy = arena_strndup(m->arena, name, strlen(name));
        int64_t *number = arena_alloc(m->arena, sizeof *number);
        if (!list || !copy || !number) return err_set(ERR_NOMEM, "out of memory for symbolic sizes");
        *number = SYMBOL_BASE + m->n_symbol;
        m->symbol = list;
        TRY(names_put(m->arena, m->symbols, copy, number));
        list[m->n_symbol++] = copy;
    }
    *dim = *(const int64_t *)names_get(m->symbols, name);
    return OK;
}

const char *model_property(const Model *m, const char *key)
{
    for (int i = 0; i < m->n_property; i++)
        if (strcmp(m->property[i].key, key) == 0) return m->property[i].value;
    return NULL;
}

Err model_set_property(Model *m, const char *key, const char *value)
{
    const char *copy = arena_strndup(m->arena, value, strlen(value));
    if (!copy) return err_set(ERR_NOMEM, "out of memory for metadata");
    int i = 0;
    while (i < m->n_property && strcmp(m->property[i].key, key) != 0) i++;
    if (i == m->n_property) {
        Property *list = arena_grow(m->arena, m->property, m->n_property, sizeof *list);
        const char *name = arena_strndup(m->arena, key, strlen(key));
        if (!list || !name) return err_set(ERR_NOMEM, "out of memory for metadata");
        m->property = list;
        list[m->n_property++].key = name;
    }
    m->property[i].value = copy;
    m->edited = true;
    return OK;
}

typedef Err GraphVisit(Graph *, void *);

static Err each_graph(Graph *g, GraphVisit *visit, void *user)
{
    TRY(visit(g, user));
    for (int i = 0; i < g->n_node; i++) {
        for (int k = 0; k < g->node[i]->n_attr; k++) {
            const Attr *a = &g->node[i]->attr[k];
            if (a->reference) continue;
            if (a->kind == ATTR_G) TRY(each_graph(a->g, visit, user));
            for (int j = 0; a->kind == ATTR_GS && j < a->n; j++) TRY(each_graph(a->gs[j], visit, user));
        }
    }
    return OK;
}

Err model_each_graph(Model *m, GraphVisit *visit, void *user)
{
    TRY(each_graph(m->graph, visit, user));
    for (int i = 0; i < m->n_function; i++) TRY(each_graph(m->function[i], visit, user));
    return OK;
}

typedef struct ConstantVisit { Err (*visit)(Constant *, void *); void *user; } ConstantVisit;

static Err constants_of_attr(const Attr *a, const ConstantVisit *x)
{
    if (a->reference) return OK;
    if (a->kind == ATTR_T || a->kind == ATTR_SPARSE) return x->visit(a->t, x->user);
    for (int i = 0; (a->kind == ATTR_TS || a->kind == ATTR_SPARSES) && i < a->n; i++) TRY(x->visit(a->ts[i], x->user));
    return OK;
}

static Err constants_of_graph(Graph *g, void *user)
{
    const ConstantVisit *x = user;
    for (int i = 0; i < g->n_value; i++) {
        const Value *v = g->value[i];
        if (v->constant && (!v->producer || v->constant->in_attribute)) TRY(x->visit(v->constant, x->user));
    }
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_attr; k++) TRY(constants_of_attr(&g->node[i]->attr[k], x));
    return OK;
}

Err model_each_constant(Model *m, Err (*visit)(Constant *, void *user), void *user)
{
    ConstantVisit x = { visit, user };
    return model_each_graph(m, constants_of_graph, &x);
}

Err model_sha256_source(const Model *m, char hex[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size;
    if (EVP_Digest(m->source.at, m->source.size, digest, &size, EVP_sha256(), NULL) != 1)
        return err_set(ERR_NOMEM, "cannot compute the SHA-256 of the model");
    for (unsigned i = 0; i < size; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return OK;
}
