#include "engine/thin.h"
#include <string.h>
#include "engine/window.h"

int64_t thin_step(const Node *n)
{
    Window w;
    if (strcmp(n->op_type, "Conv") || *n->domain || n->n_in < 2 || !n->in[0] || !n->in[1] || !n->in[1]->constant) return 0;
    const Shape *kernel = &n->in[1]->constant->tensor.shape;
    if (kernel->rank != 4 || window_read(n, 2, kernel->dim + 2, &w) != OK || w.auto_pad || w.stride[0] != w.stride[1]) return 0;
    for (int i = 0; i < 2; i++) if (w.kernel[i] != 1 || w.pad_begin[i] || w.pad_end[i]) return 0;
    return w.stride[0] > 1 ? w.stride[0] : 0;
}

Err thin_node(Plan *p, const Node *n, const Thin *t, Node **out)
{
    Node *copy;
    TRY(plan_array(p, 1, sizeof *copy, &copy));
    *copy = *n;
    TRY(plan_array(p, n->n_in, sizeof *copy->in, &copy->in));
    memcpy(copy->in, n->in, (size_t)n->n_in * sizeof *copy->in);
    copy->in[0] = t->value;
    TRY(plan_array(p, n->n_attr + 1, sizeof *copy->attr, &copy->attr));
    copy->n_attr = 0;
    for (int i = 0; i < n->n_attr; i++) if (strcmp(n->attr[i].name, "strides")) copy->attr[copy->n_attr++] = n->attr[i];
    *out = copy;
    return OK;
}
