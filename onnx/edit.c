/* Structural edits. Names are unique within a graph; derived fields are right again after model_refresh. */
#include "onnx/model.h"
#include "onnx/names.h"
#include <string.h>

static Err out_of_memory(void)
{
    return err_set(ERR_NOMEM, "out of memory while editing the graph");
}

Err graph_add_value(Graph *g, const char *name, Value **out)
{
    Arena *arena = g->model->arena;
    if (!*name || names_get(g->names, name)) return err_set(ERR_ARG, "the name '%s' is taken", name);
    Value **list = arena_grow(arena, g->value, g->n_value, sizeof *list);
    Value *v = arena_alloc(arena, sizeof *v);
    char *copy = arena_strndup(arena, name, strlen(name));
    if (!list || !v || !copy) return out_of_memory();
    g->value = list;
    Fact unknown = { .is_tensor = true, .shape = { .rank = -1 } };
    *v = (Value){ .name = copy, .stated = unknown, .fact = unknown, .graph = g };
    TRY(names_put(arena, g->names, copy, v));
    list[g->n_value++] = v;
    g->edited = true;
    *out = v;
    return OK;
}

Err graph_add_constant(Graph *g, const char *name, const Tensor *tensor, Value **out)
{
    Value *v = NULL;
    Constant *c = arena_alloc(g->model->arena, sizeof *c);
    if (!c) return out_of_memory();
    TRY(graph_add_value(g, name, &v));
    *c = (Constant){ .name = v->name, .tensor = *tensor, .edited = true, .length = -1, .nonzeros = -1 };
    v->constant = c;
    v->stated.dtype = tensor->dtype;
    v->stated.shape = tensor->shape;
    v->fact = v->stated;
    *out = v;
    return OK;
}

static void *copy_array(Arena *arena, const void *list, int n, size_t size)
{
    void *copy = arena_array(arena, (size_t)n, size);
    return copy && n ? memcpy(copy, list, (size_t)n * size) : copy;
}

Err graph_add_node(Graph *g, int at, const Node *like, Node **out)
{
    Arena *arena = g->model->arena;
    Node **list = arena_grow(arena, g->node, g->n_node, sizeof *list), *n = arena_alloc(arena, sizeof *n);
    if (!list || !n) return out_of_memory();
    g->node = list;
    *n = *like;
    n->in = copy_array(arena, like->in, like->n_in, sizeof *n->in);
    n->out = copy_array(arena, like->out, like->n_out, sizeof *n->out);
    n->attr = copy_array(arena, like->attr, like->n_attr, sizeof *n->attr);
    if (!n->in || !n->out || !n->attr) return out_of_memory();
    n->graph = g;
    n->edited = true;
    n->source = (Span){0};
    memmove(list + at + 1, list + at, (size_t)(g->n_node - at) * sizeof *list);
    list[at] = n;
    g->n_node++;
    g->edited = true;
    *out = n;
    return OK;
}

void graph_remove_node(Graph *g, const Node *n)
{
    int kept = 0;
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i] != n) g->node[kept++] = g->node[i];
    g->n_node = kept;
    kept = 0;
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->producer != n) g->value[kept++] = g->value[i];
    g->n_value = kept;
    g->edited = true;
}
