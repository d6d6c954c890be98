/* Building a plan: from nodes to steps, constants folded, memory placed. */
#include <string.h>
#include <unistd.h>
#include <omp.h>
#include "engine/plan.h"
#include "engine/plan_internal.h"

enum { MAX_DEPTH = 64 };

/* Memory ---------------------------------------------------------------------------------------------------------------------------- */

size_t plan_used(const Plan *p) { return p->used_by_outer + arena_bytes(p->arena) + arena_bytes(p->late); }

static Err out_of_memory(const Plan *p, size_t bytes)
{
    return err_set(ERR_NOMEM, "This model needs more memory than the limit of %zu MiB allows (%zu MiB in use, %zu MiB more wanted).",
                   p->options.memory_limit >> 20, plan_used(p) >> 20, bytes >> 20);
}

Err plan_alloc(Plan *p, size_t bytes, void **out)
{
    size_t used = plan_used(p), limit = p->options.memory_limit;
    if (used > limit || bytes > limit - used) return out_of_memory(p, bytes);
    void *at = arena_alloc(p->now, bytes);
    if (!at) return err_set(ERR_NOMEM, "Out of memory: %zu bytes more were wanted.", bytes);
    *out = at;
    return OK;
}

Err plan_array(Plan *p, int64_t n, size_t size, void *out)
{
    size_t bytes;
    if (n < 0 || __builtin_mul_overflow((size_t)n, size, &bytes)) return out_of_memory(p, SIZE_MAX);
    void *at;
    TRY(plan_alloc(p, bytes, &at));
    memcpy(out, &at, sizeof at);
    return OK;
}

/* Doubles a list in the plan's own arena when it is full. */
static Err grow(Plan *p, void *list, int n, int *room, size_t size)
{
    if (n < *room) return OK;
    int wanted = *room ? 2 * *room : 64;
    void *old, *bigger = arena_array(p->arena, (size_t)wanted, size);
    if (!bigger) return err_set(ERR_NOMEM, "Out of memory while planning.");
    memcpy(&old, list, sizeof old);
    if (n) memcpy(bigger, old, (size_t)n * size);
    memcpy(list, &bigger, sizeof bigger);
    *room = wanted;
    return OK;
}

/* Buffers --------------------------------------------------------------------------------------------------------------------------- */

Err buffer_set(Buffer *b, DType dtype, const Shape *shape)
{
    int64_t count;
    size_t bytes;
    TRY(shape_count(shape, &count));
    if (dtype == DT_STRING) bytes = (size_t)count * sizeof(Span);
    else TRY(tensor_bytes(dtype, shape, &bytes));
    b->dtype = dtype; b->shape = *shape; b->count = count; b->bytes = bytes;
    b->fact = (Fact){ .is_tensor = true, .dtype = dtype, .shape = *shape };
    return OK;
}

void buffer_forget(Buffer *b)
{
    b->shape.rank = -1; b->count = 0; b->bytes = 0; b->data = NULL; b->base = NULL;
    b->fact = (Fact){ .is_tensor = true, .dtype = b->dtype, .shape = { .rank = -1 } };
}

static Err buffer_new(Plan *p, const char *name, Buffer **out)
{
    Buffer *b = arena_alloc(p->arena, sizeof *b);
    if (!b) return err_set(ERR_NOMEM, "Out of memory while planning.");
    TRY(grow(p, &p->buffer, p->n_buffer, &p->room_buffer, sizeof *p->buffer));
    p->buffer[p->n_buffer++] = b;
    b->name = name;
    buffer_forget(b);
    *out = b;
    return OK;
}

static size_t slot_of(const BufferMap *map, const Value *v)
{
    size_t mask = (size_t)map->room - 1, i = ((uintptr_t)v >> 4) * 0x9E3779B97F4A7C15u >> 20 & mask;
    while (map->key[i] && map->key[i] != v) i = (i + 1) & mask;
    return i;
}

static Err map_put(Plan *p, const Value *v, Buffer *b)
{
    BufferMap *map = &p->map;
    if (2 * (map->n + 1) > map->room) {
        BufferMap bigger = { .room = map->room ? 2 * map->room : 128 };
        bigger.key = arena_array(p->arena, (size_t)bigger.room, sizeof *bigger.key);
        bigger.buffer = arena_array(p->arena, (size_t)bigger.room, sizeof *bigger.buffer);
        if (!bigger.key || !bigger.buffer) return err_set(ERR_NOMEM, "Out of memory while planning.");
        for (int i = 0; i < map->room; i++) {
            if (!map->key[i]) continue;
            size_t at = slot_of(&bigger, map->key[i]);
            bigger.key[at] = map->key[i]; bigger.buffer[at] = map->buffer[i]; bigger.n++;
        }
        *map = bigger;
    }
    size_t at = slot_of(map, v);
    if (!map->key[at]) map->n++;
    map->key[at] = v; map->buffer[at] = b;
    return OK;
}

static Buffer *map_get(const BufferMap *map, const Value *v) { return map->room ? map->buffer[slot_of(map, v)] : NULL; }

/* The buffer of a constant. Elements stay in the file's mapping where their address suits their type. */
static Err constant_buffer(Plan *p, const Value *v, Buffer **out)
{
    Constant *c = v->constant;
    Buffer *b;
    TRY(constant_fetch(p->model, c));
    TRY(buffer_new(p, v->name, &b));
    TRY(buffer_set(b, c->tensor.dtype, &c->tensor.shape));
    b->data = c->tensor.data;
    b->constant = true;
    if ((uintptr_t)b->data % 16) {
        void *copy;
        TRY(plan_alloc(p, b->bytes, &copy));
        memcpy(copy, b->data, b->bytes);
        b->data = copy;
    }
    TRY(buffer_learn(p, b));
    TRY(map_put(p, v, b));
    *out = b;
    return OK;
}

static Err note_capture(Plan *p, Buffer *b)
{
    if (b->constant) return OK;
    for (int i = 0; i < p->n_capture; i++) if (p->capture[i].buffer == b) return OK;
    TRY(grow(p, &p->capture, p->n_capture, &p->room_capture, sizeof *p->capture));
    p->capture[p->n_capture++] = (Capture){ b, b->dtype, b->shape };
    return OK;
}

/* The buffer of a value that a node reads: of this plan, of an enclosing one, or a constant met for the first time. */
static Err buffer_of(Plan *p, const Value *v, Buffer **out)
{
    Plan *root = p;
    for (Plan *q = p; q; root = q, q = q->outer) {
        Buffer *b = map_get(&q->map, v);
        if (!b) continue;
        if (q != p) TRY(note_capture(p, b));
        *out = b;
        return OK;
    }
    if (!v->constant) return err_set(ERR_FORMAT, "The value '%s' is read before anything produces it.", v->name);
    Arena *now = root->now;
    root->now = root->arena;
    Err e = constant_buffer(root, v, out);
    root->now = now;
    return e;
}

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
    const Node *n = s->node;
    for (int i = 0; i < n->n_attr; i++) if (n->attr[i].kind == ATTR_G || n->attr[i].kind == ATTR_GS) return true;
    return false;
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
        if (!n->out[i]) continue;
        TRY(buffer_new(p, n->out[i]->name, &s->out[i]));
        TRY(map_put(p, n->out[i], s->out[i]));
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
    if (!s->late) TRY(s->op->prep(p, s));
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
    return done ? OK : plan_step(p, n);
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
    if (!n->op || !n->op->prep)
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

/* Placing ----------------------------------------------------------------------------------------------------------------------------- */

static Buffer *root_of(Buffer *b)
{
    while (b->base) b = b->base;
    return b;
}

static void read_at(Buffer *b, int at)
{
    b = root_of(b);
    if (b->last < at) b->last = at;
}

static void set_lifetimes(Plan *p)
{
    for (int i = 0; i < p->n_buffer; i++) p->buffer[i]->first = p->buffer[i]->last = -1;
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        for (int j = 0; j < s->n_out; j++) {
            if (!s->out[j] || s->late) continue;
            if (!s->out[j]->base) s->out[j]->first = s->out[j]->last = i;
        }
        for (int j = 0; j < s->n_in; j++) if (s->in[j]) read_at(s->in[j], i);
        for (int j = 0; j < s->n_capture; j++) read_at(s->capture[j], i);
    }
    for (int i = 0; i < p->n_out; i++) read_at(p->out[i], p->n_step);
}

/* Values that some step writes, and one buffer for each step's scratch. */
static Err collect(Plan *p, Buffer ***list, int *n, Buffer **scratch)
{
    Buffer **all = arena_array(p->arena, (size_t)p->n_buffer + (size_t)p->n_step + 1, sizeof *all);
    if (!all) return err_set(ERR_NOMEM, "Out of memory while planning.");
    *n = 0;
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        if (s->late) continue;
        for (int j = 0; j < s->n_out; j++) {
            Buffer *b = s->out[j];
            if (!b || b->base) continue;
            if (p->options.keep) b->last = p->n_step;
            all[(*n)++] = b;
        }
        if (!s->scratch_bytes) continue;
        Buffer *b = arena_alloc(p->arena, sizeof *b);
        if (!b) return err_set(ERR_NOMEM, "Out of memory while planning.");
        *b = (Buffer){ .name = "scratch", .bytes = s->scratch_bytes, .first = i, .last = i };
        scratch[i] = all[(*n)++] = b;
    }
    *list = all;
    return OK;
}

static Err place(Plan *p)
{
    Buffer **list = NULL, **scratch = arena_array(p->arena, (size_t)p->n_step + 1, sizeof *scratch);
    int n = 0;
    if (!scratch) return err_set(ERR_NOMEM, "Out of memory while planning.");
    set_lifetimes(p);
    TRY(collect(p, &list, &n, scratch));
    TRY(memplan(p->arena, list, n, &p->block_bytes));
    void *block;
    TRY(plan_alloc(p, p->block_bytes, &block));
    p->block = block;
    for (int i = 0; i < n; i++) list[i]->data = p->block + list[i]->offset;
    for (int i = 0; i < p->n_step; i++) if (scratch[i]) p->step[i]->scratch = scratch[i]->data;
    return OK;
}

/* Whole plans ------------------------------------------------------------------------------------------------------------------------- */

static Err plan_new(Model *m, Plan *outer, const PlanOptions *options, Plan **out)
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
    if (!p->options.memory_limit) p->options.memory_limit = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE) / 4 * 3;
    p->threads = p->options.threads > 0 ? p->options.threads : omp_get_max_threads();
    plan_start(p);
    *out = p;
    return OK;
}

void plan_free(Plan *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_step; i++)
        for (int k = 0; k < 2; k++) plan_free(p->step[i]->body[k]);
    arena_free(p->late);
    arena_free(p->arena);
}

static Err plan_graph(Plan *p, const Graph *g)
{
    TRY(plan_nodes(p, g));
    p->out = arena_array(p->arena, (size_t)g->n_out + 1, sizeof *p->out);
    if (!p->out) return err_set(ERR_NOMEM, "Out of memory while planning.");
    for (int i = 0; i < g->n_out; i++) TRY(buffer_of(p, g->out[i], &p->out[p->n_out++]));
    TRY(place(p));
    p->now = p->late;
    return OK;
}

static Err add_input(Plan *p, const Value *v, DType dtype, const Shape *shape)
{
    Buffer *b;
    TRY(buffer_new(p, v->name, &b));
    TRY(buffer_set(b, dtype, shape));
    TRY(map_put(p, v, b));
    p->in[p->n_in++] = b;
    return OK;
}

Err plan_inputs(const Model *m, const Value ***input, int *n)
{
    const Graph *g = m->graph;
    const Value **list = arena_array(m->arena, (size_t)g->n_in + 1, sizeof *list);
    if (!list) return err_set(ERR_NOMEM, "Out of memory.");
    *n = 0;
    for (int i = 0; i < g->n_in; i++) if (!g->in[i]->constant) list[(*n)++] = g->in[i];
    *input = list;
    return OK;
}

static Err check_input(const Model *m, const Value *v, const PlanInput *in)
{
    char wanted[256], given[256];
    const Fact *f = &v->stated;
    if (f->is_tensor && f->dtype != DT_NONE && f->dtype != in->dtype)
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
    TRY(plan_inputs(p->model, &wanted, &n_wanted));
    p->in = arena_array(p->arena, (size_t)n_wanted + 1, sizeof *p->in);
    if (!p->in) return err_set(ERR_NOMEM, "Out of memory while planning.");
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

static Err build(Plan *p, const PlanInput *input, int n)
{
    TRY(check_graph(p->model, p->model->graph, 0));
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

static Err build_body(Plan *p, const Graph *body, Buffer *const *in, int n_in)
{
    if (n_in != body->n_in) return err_set(ERR_FORMAT, "A body has %d inputs where its node gives %d.", body->n_in, n_in);
    p->in = arena_array(p->arena, (size_t)n_in + 1, sizeof *p->in);
    if (!p->in) return err_set(ERR_NOMEM, "Out of memory while planning.");
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
