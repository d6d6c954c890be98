/* Making the nodes of an expansion. */
#include <string.h>
#include "engine/expand.h"
#include "engine/plan_internal.h"

static const OpsetImport OPSET[] = { { "", 22 }, { "com.microsoft", 1 } };

static Err full(void) { return err_set(ERR_NOMEM, "Out of memory while expanding an operator."); }

Err expand_value(Expand *x, Value **out)
{
    Value *v = arena_alloc(x->arena, sizeof *v);
    if (!v) return full();
    const char *name = arena_printf(x->arena, "%s of %s", x->node->op_type, x->node->n_out && x->node->out[0] ? x->node->out[0]->name : x->node->name);
    if (!name) return full();
    *v = (Value){ .name = name, .graph = &x->graph, .n_user = 1 };
    *out = v;
    return OK;
}

Err expand_row(Expand *x, const Op *op, Values out, Values in, const Attrs *attrs)
{
    Node *n = arena_alloc(x->arena, sizeof *n);
    Node **list = arena_grow(x->arena, x->graph.node, x->graph.n_node, sizeof *list);
    if (!n || !list) return full();
    x->graph.node = list;
    *n = *x->node;
    n->op_type = op->type; n->domain = op->domain; n->op = op; n->graph = &x->graph;
    n->n_in = in.n; n->n_out = out.n;
    n->in = arena_array(x->arena, (size_t)in.n + 1, sizeof *n->in);
    n->out = arena_array(x->arena, (size_t)out.n + 1, sizeof *n->out);
    if (!n->in || !n->out) return full();
    if (in.n) memcpy(n->in, in.at, (size_t)in.n * sizeof *n->in);
    memcpy(n->out, out.at, (size_t)out.n * sizeof *n->out);
    while (n->n_in && !n->in[n->n_in - 1]) n->n_in--;
    for (int i = 0; i < op->min_in; i++)
        if (i >= n->n_in || !n->in[i]) return err_set(ERR_SHAPE, "%s needs inputs that are left out.", x->node->op_type);
    if (attrs) {
        n->n_attr = attrs->n;
        n->attr = arena_array(x->arena, (size_t)attrs->n + 1, sizeof *n->attr);
        if (!n->attr) return full();
        if (attrs->n) memcpy(n->attr, attrs->attr, (size_t)attrs->n * sizeof *n->attr);
    }
    x->graph.node[x->graph.n_node++] = n;
    return OK;
}

Err expand_node(Expand *x, const char *type, Values out, Values in, const Attrs *attrs)
{
    const Op *op = op_find("", type);
    if (!op) op = op_find("com.microsoft", type);
    if (!op) return err_set(ERR_UNSUPPORTED, "%s cannot be run with %s in it.", x->node->op_type, type);
    return expand_row(x, op, out, in, attrs);
}

Err expand_op(Expand *x, const char *type, Value **out, Values in, const Attrs *attrs)
{
    Value *made;
    TRY(expand_value(x, &made));
    TRY(expand_node(x, type, VALUES(made), in, attrs));
    *out = made;               /* last: it may be one of the inputs */
    return OK;
}

Err expand_last(Expand *x, const char *type, Values in, const Attrs *attrs)
{
    return expand_node(x, type, VALUES(x->node->out[0]), in, attrs);
}

Err expand_constant(Expand *x, DType t, int rank, const int64_t *dim, const void *data, Value **out)
{
    Tensor *tensor;
    Shape s = shape_of(rank, dim);
    TRY(tensor_new(x->arena, t, &s, &tensor));
    memcpy(tensor->data, data, tensor->bytes);
    return expand_tensor(x, tensor, out);
}

Err expand_tensor(Expand *x, const Tensor *tensor, Value **out)
{
    Constant *c = arena_alloc(x->arena, sizeof *c);
    if (!c) return full();
    *c = (Constant){ .name = "", .tensor = *tensor, .nonzeros = -1, .edited = true };
    TRY(expand_value(x, out));
    (*out)->constant = c;
    return OK;
}

Err node_expand(Arena *arena, Model *m, const Node *n, Graph **out)
{
    Expand *x = arena_alloc(arena, sizeof *x);
    if (!x) return full();
    *x = (Expand){ .arena = arena, .node = n };
    x->graph = (Graph){ .name = n->op_type, .model = m, .opset = OPSET, .n_opset = sizeof OPSET / sizeof *OPSET };
    TRY(n->op->expand(x));
    *out = &x->graph;
    return OK;
}
