/* Large batches, a few samples at a time: one smaller plan for each thread takes pieces of the batch from input to output. Activations then stay in caches, and
 * threads do not wait for each other after each step.
 *
 * Late layers of networks for images have many weights and few pixels. They are stages of their own, of larger pieces: columns of several images share panels, and
 * weights are read once for all of them. What they read is small: layers with strides, which make small values of large ones, belong to the stage before, or what they
 * read is thinned out there. */
#include <stdio.h>
#include <string.h>
#include <omp.h>
#include "engine/panels.h"
#include "engine/plan_internal.h"
#include "engine/thin.h"

/* Layers of at most so many pixels, and how many samples are together then, at most: about a thousand columns. */
static const struct { int64_t pixels, samples; } LATE[] = { { 256, 4 }, { PANEL_COLUMNS, 16 } };
enum { MANY_WEIGHTS = 1 << 20 };       /* elements that caches do not hold from image to image; SqueezeNet's last layers have fewer, and lose 4 % */

/* Whether batches are cut into pieces of n samples: all threads get as many, or so many that one more or less is a small matter. */
static bool shares(const Plan *p, int64_t batch, int64_t n)
{
    enum { PIECES = 6 };
    return batch % n == 0 && (batch / n % p->threads == 0 || batch / n >= (int64_t)PIECES * p->threads);
}

/* How many samples a piece has: few, as activations are to stay in caches, but together enough of them for each weight that is read. 0: the batch cannot be cut. */
static int64_t early_samples(const Plan *p, int64_t batch)
{
    enum { ENOUGH = 128 << 10 };
    size_t largest = 1;
    for (int i = 0; i < p->n_step; i++)
        for (int k = 0; k < p->step[i]->n_out; k++)
            if (p->step[i]->out[k] && p->step[i]->out[k]->bytes > largest) largest = p->step[i]->out[k]->bytes;
    int64_t most = (int64_t)ENOUGH * batch / (int64_t)largest;
    for (int64_t n = most < 1 ? 1 : most < batch ? most : batch; n > 0; n--) if (shares(p, batch, n)) return n;
    return 0;
}

/* A multiple of those of the stage before. */
static int64_t late_samples(const Plan *p, int64_t batch, int64_t before, int64_t most)
{
    for (int64_t n = (batch < most ? batch : most) / before * before; n > before; n -= before) if (shares(p, batch, n)) return n;
    return before;
}

/* Late layers ------------------------------------------------------------------------------------------------------------------------- */

/* Pixels of an image, or 1; 0: not known to be that. */
static int64_t pixels_of(const Buffer *b)
{
    if (b->shape.rank == 4) return b->shape.dim[2] * b->shape.dim[3];
    return b->shape.rank == 1 || b->shape.rank == 2;
}

/* Whether it can pass between stages thinned out. */
static bool passes_thin(const Plan *p, const Node *n)
{
    const Value *x = thin_step(n) ? n->in[0] : NULL;
    const Buffer *b = x && x->producer && x->producer->graph == n->graph && !x->is_output ? map_get(&p->map, x) : NULL;
    return b && b->dtype == DT_F32 && b->shape.rank == 4;
}

static bool are_late(const Plan *p, Value *const *value, int n, int64_t pixels)
{
    for (int i = 0; i < n; i++) {
        const Buffer *b = value[i] ? map_get(&p->map, value[i]) : NULL;
        if (b && !b->constant && (pixels_of(b) < 1 || pixels_of(b) > pixels)) return false;
    }
    return true;
}

/* What only follows early layers, such as their activation, stays with them. */
static bool starts_late(const Node *n, const bool *late)
{
    bool starts = !strcmp(n->op_type, "Conv");
    for (int i = 0; i < n->n_in; i++) starts |= n->in[i] && n->in[i]->producer && n->in[i]->producer->graph == n->graph && late[n->in[i]->producer->index];
    return starts;
}

/* Marks the nodes that read and make values of at most so many pixels, as all nodes behind them do; whether they have many weights for several pixels. */
static bool mark_late(const Plan *p, const Graph *g, int64_t pixels, bool *late)
{
    int64_t weights = 0;
    for (int i = g->n_node - 1; i >= 0; i--) {
        const Node *n = g->node[i];
        late[i] = (are_late(p, n->in, n->n_in, pixels) || passes_thin(p, n)) && are_late(p, n->out, n->n_out, pixels);
        for (int k = 0; k < n->n_out; k++)
            for (int u = 0; n->out[k] && u < n->out[k]->n_user; u++) late[i] = late[i] && n->out[k]->user[u]->graph == g && late[n->out[k]->user[u]->index];
    }
    for (int i = 0; i < g->n_node; i++) {
        const Node *n = g->node[i];
        late[i] = late[i] && starts_late(n, late);
        const bool conv = late[i] && !strcmp(n->op_type, "Conv");
        const Buffer *y = conv ? map_get(&p->map, n->out[0]) : NULL, *w = conv ? map_get(&p->map, n->in[1]) : NULL;
        if (y && w && pixels_of(y) > 1) weights += w->count;
    }
    return weights >= MANY_WEIGHTS;
}

/* Stages ------------------------------------------------------------------------------------------------------------------------------- */

/* The nodes of g that are in stage `number`: stage[] is by their index. thin: values that pass so. */
typedef struct Part { const Graph *g; const int *stage; int number; const Thin *thin; int n_thin; } Part;

static bool holds(const Part *part, const Node *n) { return n && n->graph == part->g && part->stage[n->index] == part->number; }

static bool is_listed(Value *const *list, int n, const Value *v)
{
    for (int i = 0; i < n; i++) if (list[i] == v) return true;
    return false;
}

static const Thin *thin_of(const Part *part, const Value *v)
{
    for (int i = 0; i < part->n_thin; i++) if (part->thin[i].of == v) return &part->thin[i];
    return NULL;
}

/* Whether others than its nodes want v. */
static bool is_wanted(const Part *part, const Value *v)
{
    bool wanted = v->is_output;
    for (int i = 0; i < v->n_user && !wanted; i++) wanted = !holds(part, v->user[i]);
    return wanted;
}

/* The part as a graph of its own. */
static Err part_graph(Plan *p, const Part *part, Graph **out)
{
    Graph *g;
    int room_in = 0, room_out = 0;
    TRY(plan_array(p, 1, sizeof *g, &g));
    *g = *part->g;
    TRY(plan_array(p, g->n_node + 1, sizeof *g->node, &g->node));
    g->n_node = 0;
    for (int i = 0; i < part->g->n_node; i++) {
        Node *n = part->g->node[i];
        if (!holds(part, n)) continue;
        const Thin *thin = n->n_in && n->in[0] && !holds(part, n->in[0]->producer) ? thin_of(part, n->in[0]) : NULL;
        if (thin) TRY(thin_node(p, n, thin, &n));
        g->node[g->n_node++] = n;
    }
    g->in = g->out = NULL;
    g->n_in = g->n_out = 0;
    for (int i = 0; i < g->n_node; i++) {
        const Node *n = g->node[i];
        for (int k = 0; k < n->n_in; k++) {
            Value *v = n->in[k];
            if (!v || v->constant || holds(part, v->producer) || is_listed(g->in, g->n_in, v)) continue;
            TRY(grow(p, &g->in, g->n_in, &room_in, sizeof(Value *)));
            g->in[g->n_in++] = v;
        }
        for (int k = 0; k < n->n_out; k++) {
            if (!n->out[k] || !is_wanted(part, n->out[k])) continue;
            TRY(grow(p, &g->out, g->n_out, &room_out, sizeof(Value *)));
            g->out[g->n_out++] = n->out[k];
        }
    }
    *out = g;
    return OK;
}

/* The batch's buffers of these values, if all of them lie along it; *found: they do. */
static Err values_along(Plan *p, Value *const *value, int n, int64_t batch, Passed **out, bool *found)
{
    TRY(plan_array(p, n + 1, sizeof **out, out));
    for (int i = 0; i < n; i++) {
        Buffer *b = map_get(&p->map, value[i]);
        *found = *found && b && !b->constant && b->shape.rank > 0 && b->shape.dim[0] == batch && b->bytes;
        (*out)[i] = (Passed){ .whole = b, .local = value[i]->producer && !value[i]->is_output, .step = 1 };
    }
    return OK;
}

/* Outputs that pass thinned out. */
static void thin_outputs(const Plan *p, const Part *part, Value *const *value, int n, Passed *out)
{
    for (int i = 0; i < n; i++) {
        const Thin *thin = thin_of(part, value[i]);
        if (!thin) continue;
        out[i].whole = map_get(&p->map, thin->value);
        out[i].step = thin->step;
    }
}

/* Whether so many pieces are the whole: a constant may know the batch. */
static bool pieces_make(const Stage *s)
{
    const Plan *piece = s->piece[0];
    for (int i = 0; i < piece->n_out; i++) {
        const Buffer *y = piece->out[i], *whole = s->out[i].whole;
        const int64_t step = s->out[i].step;
        int64_t count = y->count;
        if (step > 1) count = count / (y->shape.dim[2] * y->shape.dim[3]) * thin_size(y->shape.dim[2], step) * thin_size(y->shape.dim[3], step);
        if (y->dtype != whole->dtype || count * s->pieces != whole->count) return false;
    }
    return true;
}

/* Plans the part for pieces of n samples; *done: it can be run so. */
static Err plan_stage(Plan *p, const Part *part, int64_t batch, int64_t n, bool *done)
{
    Graph *g;
    PlanInput *input;
    bool *any_layout;
    PlanOptions options = p->options;
    Stage *s = &p->stage[p->n_stage];
    bool found = true;
    *s = (Stage){ .pieces = batch / n, .samples = n };
    *done = false;
    TRY(part_graph(p, part, &g));
    TRY(values_along(p, g->in, g->n_in, batch, &s->in, &found));
    TRY(values_along(p, g->out, g->n_out, batch, &s->out, &found));
    thin_outputs(p, part, g->out, g->n_out, s->out);
    if (!found) return OK;
    TRY(plan_array(p, g->n_in + 1, sizeof *input, &input));
    TRY(plan_array(p, g->n_in + g->n_out + 1, sizeof *any_layout, &any_layout));
    for (int i = 0; i < g->n_in; i++) {
        input[i] = (PlanInput){ s->in[i].whole->name, s->in[i].whole->dtype, s->in[i].whole->shape };
        input[i].shape.dim[0] = n;
        any_layout[i] = g->in[i]->producer && !is_wanted(part, g->in[i]);
    }
    for (int i = 0; i < g->n_out; i++) any_layout[g->n_in + i] = s->out[i].local;
    options.threads = 1;
    options.whole = true;
    const int plans = s->pieces < p->threads ? (int)s->pieces : p->threads;
    TRY(plan_array(p, plans, sizeof *s->piece, &s->piece));
    Err e = plan_part(p->model, g, input, any_layout, &options, &s->piece[0]);
    if (e == ERR_ARG || e == ERR_SHAPE || e == ERR_UNSUPPORTED) return OK;             /* a model that knows its batch runs as a whole */
    TRY(e);
    s->n_piece = 1;
    p->n_stage++;
    *done = pieces_make(s);
    for (; *done && s->n_piece < plans; s->n_piece++) TRY(plan_clone(s->piece[0], &s->piece[s->n_piece]));
    return OK;
}

void pieces_free(Plan *p)
{
    for (; p->n_stage > 0; p->n_stage--) {
        Stage *s = &p->stage[p->n_stage - 1];
        for (int i = s->n_piece - 1; i >= 0; i--) plan_free(s->piece[i]);
    }
}

/* What stages before make, they make as the pieces of this one want it. */
static void lay_inputs(Plan *p, int at)
{
    const Stage *s = &p->stage[at];
    for (int i = 0; i < s->piece[0]->n_in; i++)
        for (int k = 0; k < at && s->piece[0]->in[i]->panel == BY_CHANNEL; k++)
            for (int o = 0; o < p->stage[k].piece[0]->n_out; o++)
                if (p->stage[k].out[o].whole == s->in[i].whole) p->stage[k].out[o].together = s->samples;
}

/* Memory for what the stage makes. */
static Err give_memory(Plan *p, const Stage *s)
{
    const Stage *last = &p->stage[p->n_stage - 1];
    for (int i = 0; i < s->piece[0]->n_out; i++) {
        Buffer *b = s->out[i].whole;
        const int64_t samples = s->out[i].local ? last->n_piece * last->samples : last->pieces * last->samples;
        if (!b->data) TRY(plan_alloc(p, b->bytes / (size_t)(last->pieces * last->samples) * (size_t)samples, &b->data));
    }
    return OK;
}

/* In which stage each node is, and how many samples its pieces have; how many stages. */
static int cut(const Plan *p, int64_t batch, int64_t n, bool *late, int *stage, int64_t *samples)
{
    const Graph *g = p->model->graph;
    int stages = 1;
    samples[0] = n;
    for (size_t i = 0; i < sizeof LATE / sizeof *LATE; i++) {
        const int64_t before = samples[stages - 1], more = late_samples(p, batch, before, LATE[i].samples);
        const bool many = mark_late(p, g, LATE[i].pixels, late);
        int left = 0;
        for (int k = 0; k < g->n_node; k++) left += stage[k] == stages - 1 && !late[k];
        if (!many || more == before || (stages == 1 && !left)) continue;
        if (left) stages++;                    /* otherwise all nodes of the stage before are of this one */
        for (int k = 0; k < g->n_node; k++) if (late[k]) stage[k] = stages - 1;
        samples[stages - 1] = more;
    }
    return stages;
}

/* The step with which all who read v in later stages do so; 0: not all do. */
static int64_t common_step(const Plan *p, const Graph *g, const int *stage, const Value *v)
{
    int64_t common = 0;
    for (int i = 0; i < v->n_user; i++) {
        const Node *n = v->user[i];
        if (n->graph != g) return 0;
        if (stage[n->index] == stage[v->producer->index]) continue;
        const int64_t step = passes_thin(p, n) ? thin_step(n) : 0;
        if (!step || (common && step != common)) return 0;
        common = step;
    }
    return common;
}

/* What is left of v, for those who read it in later stages. */
static Err thin_value(Plan *p, const int *stage, Value *v, int64_t step, Thin *out)
{
    const Buffer *whole = map_get(&p->map, v);
    Shape shape = whole->shape;
    Value *left;
    Buffer *b;
    for (int d = 2; d < 4; d++) shape.dim[d] = thin_size(shape.dim[d], step);
    TRY(plan_array(p, 1, sizeof *left, &left));
    *left = *v;
    TRY(plan_array(p, v->n_user, sizeof *left->user, &left->user));
    left->n_user = 0;
    for (int i = 0; i < v->n_user; i++) if (stage[v->user[i]->index] != stage[v->producer->index]) left->user[left->n_user++] = v->user[i];
    TRY(buffer_new(p, v->name, &b));
    TRY(buffer_set(b, whole->dtype, &shape));
    TRY(map_put(p, left, b));
    *out = (Thin){ v, left, step };
    return OK;
}

static Err thin_values(Plan *p, const Graph *g, const int *stage, Thin **out, int *n)
{
    int room = 0;
    *out = NULL;
    *n = 0;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_out; k++) {
            Value *v = g->node[i]->out[k];
            const int64_t step = v ? common_step(p, g, stage, v) : 0;
            if (!step) continue;
            TRY(grow(p, out, *n, &room, sizeof **out));
            TRY(thin_value(p, stage, v, step, &(*out)[(*n)++]));
        }
    return OK;
}

static Err plan_stages(Plan *p, int64_t batch, int64_t n)
{
    const Graph *g = p->model->graph;
    int *stage, n_thin;
    bool *late, done = true;
    int64_t samples[STAGES];
    Thin *thin;
    TRY(plan_array(p, g->n_node + 1, sizeof *stage, &stage));
    TRY(plan_array(p, g->n_node + 1, sizeof *late, &late));
    const int stages = cut(p, batch, n, late, stage, samples);
    TRY(thin_values(p, g, stage, &thin, &n_thin));
    for (int i = 0; i < stages && done; i++) TRY(plan_stage(p, &(Part){ g, stage, i, thin, n_thin }, batch, samples[i], &done));
    if (!done) pieces_free(p);
    if (!done && stages > 1) {
        memset(stage, 0, (size_t)g->n_node * sizeof *stage);
        TRY(plan_stage(p, &(Part){ g, stage, 0, NULL, 0 }, batch, n, &done));
        if (!done) pieces_free(p);
    }
    for (int i = 1; i < p->n_stage; i++) lay_inputs(p, i);
    return OK;
}

Err pieces_plan(Plan *p)
{
    const bool watched = p->options.tap || p->options.keep;
    int64_t batch = 0, n = 0;
    if (!watched && !p->outer && !p->options.whole) TRY(batch_of(p, &batch));
    if (batch > 1) n = early_samples(p, batch);
    if (!n || n == batch) return OK;
    TRY(plan_stages(p, batch, n));
    if (!p->n_stage) return OK;
    p->n_step = 0;
    for (int k = 0; k < p->n_stage; k++) TRY(give_memory(p, &p->stage[k]));
    return OK;
}

/* Running ------------------------------------------------------------------------------------------------------------------------------- */

/* Every step-th of n floats. */
static void copy_every(const float *x, int64_t n, int64_t step, float *y)
{
    if (step == 1) memcpy(y, x, (size_t)n * sizeof *x);
    else for (int64_t i = 0; i < n; i += step) *y++ = x[i];
}

/* Samples of a piece to their places from `at` on, where so many lie BY_CHANNEL together (1: as they are). They may do so already. */
static void lay(const Buffer *from, int64_t samples, const Passed *v, int64_t at, int64_t together)
{
    const Shape *s = &from->shape;
    const int64_t channels = s->dim[1], step = v->step, height = step > 1 ? s->dim[2] : 1, width = from->count / (samples * channels * height);
    const int64_t row = thin_size(width, step), pixels = row * thin_size(height, step);
    const int64_t plane = height * width, next = from->panel == BY_CHANNEL ? samples * plane : plane, image = from->panel == BY_CHANNEL ? plane : channels * plane;
    for (int64_t i = at; i < at + samples; i++) {
        const float *x = (const float *)from->data + (i - at) * image;
        float *y = (float *)v->whole->data + i / together * together * channels * pixels + i % together * pixels;
        for (int64_t c = 0; c < channels; c++, x += next, y += together * pixels)
            for (int64_t k = 0; k < height; k += step) copy_every(x + k * width, width, step, y + k / step * row);
    }
}

/* Where sample `at` of the batch has its place, or would have it in the thread's own memory. */
static int64_t place_of(const Plan *p, const Passed *v, int64_t at)
{
    const int64_t samples = p->stage[p->n_stage - 1].samples;
    return v->local ? omp_get_thread_num() * samples + at % samples : at;
}

static Err run_piece(const Plan *p, const Stage *s, int64_t i)
{
    Plan *piece = s->piece[omp_get_thread_num()];
    const int64_t at = i * s->samples;
    for (int k = 0; k < piece->n_in; k++)
        piece->in[k]->data = (char *)s->in[k].whole->data + (size_t)(place_of(p, &s->in[k], at) / s->samples) * piece->in[k]->bytes;
    TRY(plan_run_steps(piece));
    for (int k = 0; k < piece->n_out; k++) {
        const Buffer *y = piece->out[k];
        const Passed *to = &s->out[k];
        const int64_t place = place_of(p, to, at);
        if (to->together || to->step > 1 || y->panel == BY_CHANNEL) lay(y, s->samples, to, place, to->together ? to->together : 1);
        else memcpy((char *)to->whole->data + (size_t)(place / s->samples) * y->bytes, y->data, y->bytes);
    }
    return OK;
}

/* Piece i of stage `at`, behind those pieces of the stages before that make what it reads: that is in caches then. */
static Err run_pieces(const Plan *p, int at, int64_t i)
{
    const Stage *s = &p->stage[at];
    const int64_t each = at > 0 ? s->samples / s[-1].samples : 0;
    for (int64_t k = i * each; k < (i + 1) * each; k++) TRY(run_pieces(p, at - 1, k));
    return run_piece(p, s, i);
}

Err pieces_run(Plan *p)
{
    const Stage *last = &p->stage[p->n_stage - 1];
    Err first = OK;
    char text[1024] = "";
    for (int k = 0; k < p->n_stage; k++) for (int i = 0; i < p->stage[k].n_piece; i++) p->stage[k].piece[i]->deadline = p->deadline;
    #pragma omp parallel for schedule(dynamic) num_threads(last->n_piece)
    for (int64_t i = 0; i < last->pieces; i++) {
        Err e = run_pieces(p, p->n_stage - 1, i);
        if (e == OK) continue;
        #pragma omp critical
        {
            first = e;
            snprintf(text, sizeof text, "%s", err_text());     /* messages belong to their thread */
        }
    }
    return first == OK ? OK : err_set(first, "%s", text);
}
