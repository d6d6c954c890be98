/* Building a plan: from nodes to steps, constants folded, steps fused and prepared, memory placed. */
#include <string.h>
#include <omp.h>
#include "engine/plan.h"
#include "engine/pair.h"
#include "engine/panels.h"
#include "engine/plan_internal.h"
#include "engine/workspace.h"

enum { MAX_DEPTH = 64 };

/* Captures of bodies ---------------------------------------------------------------------------------------------------------------- */

static Err capture_value(Plan *p, Step *s, int *room, const Value *v)
{
    Buffer *b = NULL;
    for (Plan *q = p; q && v && !b; q = q->outer) b = map_get(&q->map, v);
    if (!b || b->constant) return OK;
    for (int i = 0; i < s->n_capture; i++) if (s->capture[i] == b) return OK;
    TRY(grow(p, &s->capture, s->n_capture, room, sizeof *s->capture));
    s->capture[s->n_capture++] = b;
    return OK;
}

static Err capture_graph(Plan *p, Step *s, int *room, const Graph *g)
{
    for (int i = 0; i < g->n_node; i++) {
        const Node *n = g->node[i];
        for (int j = 0; j < n->n_in; j++) TRY(capture_value(p, s, room, n->in[j]));
        for (int j = 0; j < n->n_attr; j++) {
            if (n->attr[j].kind == ATTR_G) TRY(capture_graph(p, s, room, n->attr[j].g));
            for (int k = 0; n->attr[j].kind == ATTR_GS && k < n->attr[j].n; k++) TRY(capture_graph(p, s, room, n->attr[j].gs[k]));
        }
    }
    for (int i = 0; i < g->n_out; i++) TRY(capture_value(p, s, room, g->out[i]));
    return OK;
}

bool step_has_bodies(const Step *s)
{
    const char *type = s->op->type;
    return !strcmp(type, "If") || !strcmp(type, "Loop") || !strcmp(type, "Scan");
}

/* Steps ----------------------------------------------------------------------------------------------------------------------------- */

static Err step_new(Plan *p, const Node *n, Step **out)
{
    Step *s = arena_alloc(p->arena, sizeof *s);
    int room_in = n->n_in, room_out = n->n_out, room = 0;
    if (n->op->max_in > room_in) room_in = n->op->max_in;
    if (n->op->max_out > room_out) room_out = n->op->max_out;
    if (!s) return err_set(ERR_NOMEM, "Out of memory while planning.");
    *s = (Step){ .node = n, .op = n->op, .opset = graph_opset(n->graph, n->domain), .n_in = n->n_in, .n_out = n->n_out };
    s->in = arena_array(p->arena, (size_t)room_in + 1, sizeof *s->in);
    s->out = arena_array(p->arena, (size_t)room_out + 1, sizeof *s->out);
    if (!s->in || !s->out) return err_set(ERR_NOMEM, "Out of memory while planning.");
    for (int i = 0; i < n->n_in; i++) if (n->in[i]) TRY(buffer_of(p, n->in[i], &s->in[i]));
    for (int i = 0; i < n->n_attr; i++) {
        if (n->attr[i].kind == ATTR_G) TRY(capture_graph(p, s, &room, n->attr[i].g));
        for (int k = 0; n->attr[i].kind == ATTR_GS && k < n->attr[i].n; k++) TRY(capture_graph(p, s, &room, n->attr[i].gs[k]));
    }
    for (int i = 0; i < n->n_out; i++) {
        if (!n->out[i] && i >= n->op->min_out) continue;       /* one that the operator cannot leave out has memory that nobody reads */
        TRY(buffer_new(p, n->out[i] ? n->out[i]->name : "", &s->out[i]));
        if (n->out[i]) TRY(map_put(p, n->out[i], s->out[i]));
    }
    *out = s;
    return OK;
}

static bool shape_only(const Step *s) { return !strcmp(s->op->type, "Shape") || !strcmp(s->op->type, "Size"); }

static bool is_random(const Step *s) { return !strncmp(s->op->type, "Random", 6) || !strcmp(s->op->type, "Bernoulli") || !strcmp(s->op->type, "Multinomial"); }

static bool foldable(const Step *s)
{
    if (is_random(s) || step_has_bodies(s)) return false;
    if (shape_only(s)) return s->in[0]->shape.rank >= 0;
    for (int i = 0; i < s->n_in; i++) if (s->in[i] && !s->in[i]->constant) return false;
    return true;
}

static bool inputs_known(const Step *s)
{
    for (int i = 0; i < s->n_in; i++) if (s->in[i] && s->in[i]->shape.rank < 0) return false;
    for (int i = 0; i < s->n_capture; i++) if (s->capture[i]->shape.rank < 0) return false;
    return true;
}

static Err fold(Plan *p, Step *s)
{
    TRY(step_execute(p, s));
    for (int i = 0; i < s->n_out; i++) {
        if (!s->out[i]) continue;
        s->out[i]->constant = true;
        s->out[i]->base = NULL;
        TRY(buffer_learn(p, s->out[i]));
    }
    return OK;
}

static Err plan_step(Plan *p, const Node *n)
{
    Step *s = NULL;
    TRY(step_new(p, n, &s));
    if (foldable(s)) return fold(p, s);
    s->late = step_has_bodies(s) || !inputs_known(s);
    if (!s->late) {
        bool known;
        TRY(step_infer(p, s, &known));
        s->late = !known;
    }
    s->at = p->n_step;
    TRY(grow(p, &p->step, p->n_step, &p->room_step, sizeof *p->step));
    p->step[p->n_step++] = s;
    return OK;
}

static Err plan_nodes(Plan *p, const Graph *g);

/* A call of a local function becomes its nodes, with the call's attributes put in. */
static Err plan_call(Plan *p, const Node *call, const Graph *function)
{
    Graph *body;
    if (p->depth >= MAX_DEPTH) return err_set(ERR_UNSUPPORTED, "Functions call each other more than %d levels deep.", MAX_DEPTH);
    TRY(function_expand(p->arena, function, call, &body));
    for (int i = 0; i < body->n_in && i < call->n_in; i++) {
        Buffer *b;
        if (!body->in[i]) continue;
        TRY(buffer_of(p, call->in[i], &b));
        TRY(map_put(p, body->in[i], b));
    }
    p->depth++;
    TRY(plan_nodes(p, body));
    p->depth--;
    for (int i = 0; i < body->n_out && i < call->n_out; i++) {
        Buffer *b;
        if (!call->out[i]) continue;
        TRY(buffer_of(p, body->out[i], &b));
        TRY(map_put(p, call->out[i], b));
    }
    return OK;
}

/* An If whose condition is known becomes the nodes of the branch that it takes; *done tells whether. */
static Err plan_known_if(Plan *p, const Node *n, bool *done)
{
    Buffer *condition;
    *done = false;
    if (strcmp(n->op_type, "If") || *n->domain || n->n_in < 1 || !n->in[0]) return OK;
    TRY(buffer_of(p, n->in[0], &condition));
    if (!condition->constant || condition->dtype != DT_BOOL || condition->count != 1) return OK;
    const Attr *a = node_attr(n, *(const uint8_t *)condition->data ? "then_branch" : "else_branch");
    if (!a || a->kind != ATTR_G || a->g->n_out != n->n_out) return OK;
    TRY(plan_nodes(p, a->g));
    for (int i = 0; i < n->n_out; i++) {
        Buffer *b;
        if (!n->out[i]) continue;
        TRY(buffer_of(p, a->g->out[i], &b));
        TRY(map_put(p, n->out[i], b));
    }
    *done = true;
    return OK;
}

const Graph *function_of(const Model *m, const Node *n)
{
    for (int i = 0; i < m->n_function; i++)
        if (!strcmp(m->function[i]->name, n->op_type) && !strcmp(m->function[i]->domain, n->domain)) return m->function[i];
    return NULL;
}

static Err plan_node(Plan *p, const Node *n)
{
    bool done;
    const Graph *function = function_of(p->model, n);
    if (function) return plan_call(p, n, function);
    if (n->n_out == 1 && n->n_in == 0 && n->out[0] && n->out[0]->constant) return OK;    /* a Constant node: read where it is used */
    TRY(plan_known_if(p, n, &done));
    if (done || !n->op->expand) return done ? OK : plan_step(p, n);
    Graph *nodes;
    TRY(node_expand(p->arena, p->model, n, &nodes));
    return plan_nodes(p, nodes);
}

/* Whether anything reads what the node produces. */
static bool is_alive(const Node *n)
{
    for (int i = 0; i < n->n_out; i++) if (n->out[i] && (n->out[i]->n_user || n->out[i]->is_output)) return true;
    return false;
}

static Err plan_nodes(Plan *p, const Graph *g)
{
    for (int i = 0; i < g->n_node; i++) {
        const Node *n = g->node[i];
        if (!is_alive(n)) continue;
        Err e = plan_node(p, n);
        if (e != OK) return err_in(e, "node '%s' (%s)", n->name, n->op_type);
    }
    return OK;
}

/* What cannot run --------------------------------------------------------------------------------------------------------------------- */

static Err check_graph(const Model *m, const Graph *g, int depth);

static Err check_node(const Model *m, const Node *n, int depth)
{
    const Graph *function = function_of(m, n);
    if (function) return depth < MAX_DEPTH ? check_graph(m, function, depth + 1) : OK;
    const char *domain = *n->domain ? n->domain : "ai.onnx";
    if (!n->op || !(n->op->prep || n->op->expand))
        return err_set(ERR_UNSUPPORTED, "The operator %s (domain %s, opset %lld; node '%s') cannot be run by this version of oneshot.", n->op_type, domain,
                       (long long)graph_opset(n->graph, n->domain), n->name);
    for (int i = 0; i < n->n_attr; i++) {
        if (n->attr[i].kind == ATTR_G) TRY(check_graph(m, n->attr[i].g, depth));
        for (int k = 0; n->attr[i].kind == ATTR_GS && k < n->attr[i].n; k++) TRY(check_graph(m, n->attr[i].gs[k], depth));
    }
    return OK;
}

static Err check_graph(const Model *m, const Graph *g, int depth)
{
    for (int i = 0; i < g->n_node; i++) {
        const Node *n = g->node[i];
        bool constant = n->n_in == 0 && n->n_out == 1 && n->out[0] && n->out[0]->constant;
        if (!constant) TRY(check_node(m, n, depth));
    }
    return OK;
}

/* Whole plans ------------------------------------------------------------------------------------------------------------------------- */

Err plan_new(Model *m, Plan *outer, const PlanOptions *options, Plan **out)
{
    Arena *arena = arena_new(), *late = arena_new();
    Plan *p = arena ? arena_alloc(arena, sizeof *p) : NULL;
    if (!p || !late) {
        arena_free(arena);
        arena_free(late);
        return err_set(ERR_NOMEM, "Out of memory while planning.");
    }
    *p = (Plan){ .model = m, .outer = outer, .arena = arena, .late = late, .now = arena, .late_start = arena_mark(late), .options = *options };
    if (outer) { p->depth = outer->depth + 1; p->used_by_outer = plan_used(outer); }
    if (!p->options.memory_limit) p->options.memory_limit = plan_memory_limit();
    p->threads = p->options.threads > 0 ? p->options.threads : omp_get_max_threads();
    plan_start(p);
    *out = p;
    return OK;
}

void plan_free(Plan *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_step; i++)
        for (int k = 0; p->step[i] && k < 2; k++) plan_free(p->step[i]->body[k]);      /* NULL: dropped while fusing, which failed later */
    pieces_free(p);
    if (p->workspace) workspace_leave(p->options.workspaces, p->workspace);
    arena_free(p->late);
    arena_free(p->arena);
}

static Err load_inputs(Plan *p, Step *s, int except)
{
    for (int i = 0; i < s->n_in; i++) if (s->in[i] && i != except) TRY(buffer_load(p, s->in[i]));
    return OK;
}

/* A product that packs its weights, input 1, reads them itself, if it has to, and needs them no longer then. */
static Err prepare_step(Plan *p, Step *s)
{
    bool packs = !s->late && s->op->fuses && s->op->fuses(s) >= 0, absent = packs && !s->in[1]->data;
    TRY(load_inputs(p, s, packs ? 1 : -1));
    if (s->late) return OK;
    Err e = s->op->prep(p, s);
    if (absent && s->in[1]->data) buffer_unload(p, s->in[1]);
    return e;
}

/* What prep needs only meanwhile lies in the late arena. */
static Err prepare(Plan *p)
{
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        Err e = prepare_step(p, s);
        if (e != OK) return err_in(e, "node '%s' (%s)", s->node->name, s->node->op_type);
        arena_reset(p->late, p->late_start);
    }
    for (int i = 0; i < p->n_out; i++) TRY(buffer_load(p, p->out[i]));
    return OK;
}

static Err plan_graph(Plan *p, const Graph *g)
{
    TRY(plan_nodes(p, g));
    p->out = arena_array(p->arena, (size_t)g->n_out + 1, sizeof *p->out);
    if (!p->out) return err_set(ERR_NOMEM, "Out of memory while planning.");
    for (int i = 0; i < g->n_out; i++) TRY(buffer_of(p, g->out[i], &p->out[p->n_out++]));
    TRY(pieces_plan(p));
    if (p->n_stage) return OK;
    if (!p->options.keep) TRY(carry_halves(p));
    if (!p->options.keep) TRY(fuse(p));
    if (!p->options.keep && !p->options.dense) TRY(drop_dead(p));
    TRY(prepare(p));
    panels_choose(p);
    TRY(pairs_join(p));
    TRY(place(p));
    p->now = p->late;
    return OK;
}

static Err add_input(Plan *p, const Value *v, DType dtype, const Shape *shape)
{
    Buffer *b;
    TRY(buffer_new(p, v->name, &b));
    if (shape->rank >= 0) TRY(buffer_set(b, dtype, shape));
    TRY(map_put(p, v, b));
    p->in[p->n_in++] = b;
    return OK;
}

static Err inputs_of(Arena *arena, const Model *m, const Value ***input, int *n)
{
    const Graph *g = m->graph;
    const Value **list = arena_array(arena, (size_t)g->n_in + 1, sizeof *list);
    if (!list) return err_set(ERR_NOMEM, "Out of memory.");
    *n = 0;
    for (int i = 0; i < g->n_in; i++) if (!g->in[i]->constant) list[(*n)++] = g->in[i];
    *input = list;
    return OK;
}

Err plan_inputs(const Model *m, const Value ***input, int *n) { return inputs_of(m->arena, m, input, n); }

static Err check_input(const Model *m, const Value *v, const PlanInput *in)
{
    char wanted[256], given[256];
    const Fact *f = &v->stated;
    if (f->is_tensor != (in->shape.rank >= 0))
        return err_set(ERR_ARG, "The input '%s' is %s in the model, the data given for it is not.", v->name,
                       f->is_tensor ? "a tensor" : "a sequence, an optional or a map");
    if (!f->is_tensor) return OK;
    if ( f->dtype != DT_NONE && f->dtype != in->dtype)
        return err_set(ERR_ARG, "The input '%s' is %s in the model, the data given for it is %s.", v->name, dtype_name(f->dtype), dtype_name(in->dtype));
    bool fits = f->shape.rank < 0 || f->shape.rank == in->shape.rank;
    for (int i = 0; fits && i < f->shape.rank; i++) fits = dim_is_symbol(f->shape.dim[i]) || f->shape.dim[i] == in->shape.dim[i];
    shape_text(&f->shape, m->symbol, wanted, sizeof wanted);
    shape_text(&in->shape, NULL, given, sizeof given);
    return fits ? OK : err_set(ERR_ARG, "The input '%s' is %s in the model, the data given for it is %s.", v->name, wanted, given);
}

static Err bind_inputs(Plan *p, const PlanInput *input, int n)
{
    const Value **wanted;
    int n_wanted;
    TRY(inputs_of(p->arena, p->model, &wanted, &n_wanted));
    TRY(plan_array(p, n_wanted + 1, sizeof *p->in, &p->in));
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < n_wanted && strcmp(wanted[k]->name, input[i].name)) k++;
        if (k == n_wanted) return err_set(ERR_ARG, "The model has no input '%s' that takes data.", input[i].name);
    }
    for (int k = 0; k < n_wanted; k++) {
        int i = 0;
        while (i < n && strcmp(wanted[k]->name, input[i].name)) i++;
        if (i == n) return err_set(ERR_ARG, "No data was given for the input '%s'.", wanted[k]->name);
        TRY(check_input(p->model, wanted[k], &input[i]));
        TRY(add_input(p, wanted[k], input[i].dtype, &input[i].shape));
    }
    return OK;
}

Err plan_check(const Model *m) { return check_graph(m, m->graph, 0); }

static Err build(Plan *p, const PlanInput *input, int n)
{
    TRY(plan_check(p->model));
    TRY(bind_inputs(p, input, n));
    return plan_graph(p, p->model->graph);
}

Err plan_build(Model *m, const PlanInput *input, int n, const PlanOptions *options, Plan **out)
{
    static const PlanOptions none;
    Plan *p;
    TRY(plan_new(m, NULL, options ? options : &none, &p));
    Err e = build(p, input, n);
    if (e != OK) plan_free(p);
    else *out = p;
    return e;
}

static Err build_part(Plan *p, const Graph *part, const PlanInput *input, const bool *any_layout)
{
    TRY(plan_array(p, part->n_in + 1, sizeof *p->in, &p->in));
    for (int i = 0; i < part->n_in; i++) {
        if (!part->in[i]->producer) TRY(check_input(p->model, part->in[i], &input[i]));
        TRY(add_input(p, part->in[i], input[i].dtype, &input[i].shape));
    }
    p->any_layout = any_layout;
    return plan_graph(p, part);
}

Err plan_part(Model *m, const Graph *part, const PlanInput *input, const bool *any_layout, const PlanOptions *options, Plan **out)
{
    Plan *p;
    TRY(plan_new(m, NULL, options, &p));
    Err e = build_part(p, part, input, any_layout);
    if (e != OK) plan_free(p);
    else *out = p;
    return e;
}

static Err build_body(Plan *p, const Graph *body, Buffer *const *in, int n_in)
{
    if (n_in != body->n_in) return err_set(ERR_FORMAT, "A body has %d inputs where its node gives %d.", body->n_in, n_in);
    TRY(plan_array(p, n_in + 1, sizeof *p->in, &p->in));
    for (int i = 0; i < n_in; i++) TRY(add_input(p, body->in[i], in[i]->dtype, &in[i]->shape));
    return plan_graph(p, body);
}

Err plan_body(Plan *outer, const Graph *body, Buffer *const *in, int n_in, Plan **out)
{
    Plan *p;
    if (outer->depth >= MAX_DEPTH) return err_set(ERR_UNSUPPORTED, "Bodies are nested more than %d levels deep.", MAX_DEPTH);
    TRY(plan_new(outer->model, outer, &outer->options, &p));
    Err e = build_body(p, body, in, n_in);
    if (e != OK) plan_free(p);
    else *out = p;
    return e;
}

bool plan_body_fits(const Plan *p, Buffer *const *in, int n_in)
{
    if (n_in != p->n_in) return false;
    for (int i = 0; i < n_in; i++)
        if (p->in[i]->dtype != in[i]->dtype || !shape_equal(&p->in[i]->shape, &in[i]->shape)) return false;
    for (int i = 0; i < p->n_capture; i++) {
        const Capture *c = &p->capture[i];
        if (c->dtype != c->buffer->dtype || !shape_equal(&c->shape, &c->buffer->shape)) return false;
    }
    return true;
}

