/* The list of all operators, and how nodes find their rows. */
#include "engine/op.h"
#include <stdlib.h>
#include <string.h>

#define OP(name) extern const Op op_##name;
#include "engine/ops.def"
#undef OP

#define OP(name) &op_##name,
static const Op *const OPS[] = {
#include "engine/ops.def"
};
#undef OP

enum { OP_COUNT = sizeof OPS / sizeof *OPS };

/* ops.def is in this order: by domain, then by type. */
static int order(const char *domain, const char *type, const Op *op)
{
    int by_domain = strcmp(domain, op->domain);
    return by_domain ? by_domain : strcmp(type, op->type);
}

const Op *op_find(const char *domain, const char *type)
{
    if (!strcmp(domain, "ai.onnx")) domain = "";
    for (int low = 0, high = OP_COUNT; low < high;) {
        int middle = (low + high) / 2, side = order(domain, type, OPS[middle]);
        if (side == 0) return OPS[middle];
        if (side < 0) high = middle;
        else low = middle + 1;
    }
    return NULL;
}

int       op_count(void) { return OP_COUNT; }
const Op *op_at(int i) { return OPS[i]; }

static bool attrs_fit(const Node *n, const AttrSpec *spec)
{
    for (; spec && spec->name; spec++) {
        const Attr *a = node_attr(n, spec->name);
        if (!a && spec->required) return false;
        if (a && a->kind != spec->kind) return false;
    }
    return true;
}

static bool row_fits(const Node *n, const Op *op)
{
    int64_t version = graph_opset(n->graph, n->domain);
    if (version < op->since && !(version == 0 && *op->domain)) return false;     /* files leave out domains that they use */
    if (n->n_in < op->min_in || (op->max_in >= 0 && n->n_in > op->max_in)) return false;
    if (n->n_out < op->min_out || (op->max_out >= 0 && n->n_out > op->max_out)) return false;
    for (int i = 0; i < op->min_in; i++) if (!n->in[i] && strcmp(op->type, "Loop")) return false;     /* Loop's first two are there, but may be empty */
    return attrs_fit(n, op->attrs);
}

static Err bind_graph(Graph *g, void *user)
{
    (void)user;
    for (int i = 0; i < g->n_node; i++) {
        Node *n = g->node[i];
        const Op *op = op_find(n->domain, n->op_type);
        n->op = op && row_fits(n, op) ? op : NULL;
    }
    return OK;
}

Err ops_bind(Model *m) { return model_each_graph(m, bind_graph, NULL); }
