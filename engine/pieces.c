/* Large batches, a few samples at a time: one smaller plan for each thread takes pieces of the batch from input to output. Activations then stay in caches, and
 * threads do not wait for each other after each step.
 *
 * Late layers of networks for images have many weights and few pixels: fewer than a panel has columns. They are a stage of their own, of larger pieces: columns of
 * several images share panels, and weights are read once for all of them. */
#include <stdio.h>
#include <string.h>
#include <omp.h>
#include "engine/plan_internal.h"
#include "kernels/panel.h"

enum { MOST_LATE = 16 };       /* samples of a piece of late layers */

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

static int64_t late_samples(const Plan *p, int64_t batch)
{
    for (int64_t n = batch < MOST_LATE ? batch : MOST_LATE; n > 1; n--) if (shares(p, batch, n)) return n;
    return 1;
}

/* Late layers ------------------------------------------------------------------------------------------------------------------------- */

/* Pixels of an image, or 1; 0: not known to be that. */
static int64_t pixels_of(const Buffer *b)
{
    if (b->shape.rank == 4) return b->shape.dim[2] * b->shape.dim[3];
    return b->shape.rank == 1 || b->shape.rank == 2;
}

static bool is_late(const Plan *p, const Node *n)
{
    for (int i = 0; i < n->n_out; i++) {
        const Buffer *b = n->out[i] ? map_get(&p->map, n->out[i]) : NULL;
        if (b && !b->constant && (pixels_of(b) < 1 || pixels_of(b) > PANEL_COLUMNS)) return false;
    }
    return true;
}

/* The first node of the late layers; the number of nodes: there are none, or none of them is a convolution that gains. */
static int late_from(const Plan *p, const Graph *g)
{
    bool gains = false;
    int from = g->n_node;
    for (; from > 0 && is_late(p, g->node[from - 1]); from--) {
        const Node *n = g->node[from - 1];
        const Buffer *y = !strcmp(n->op_type, "Conv") ? map_get(&p->map, n->out[0]) : NULL;
        gains |= y && pixels_of(y) > 1;
    }
    return gains ? from : g->n_node;
}

/* Stages ------------------------------------------------------------------------------------------------------------------------------- */

/* Nodes first ... end - 1 of g, and what they read and make for others. */
typedef struct Part { const Graph *g; int first, end; } Part;

static bool holds(const Part *part, const Node *n) { return n && n->graph == part->g && n->index >= part->first && n->index < part->end; }

static bool is_listed(Value *const *list, int n, const Value *v)
{
    for (int i = 0; i < n; i++) if (list[i] == v) return true;
    return false;
}

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
    g->node += part->first;
    g->n_node = part->end - part->first;
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
static Err buffers_along(Plan *p, Value *const *value, int n, int64_t batch, Buffer ***out, bool *found)
{
    TRY(plan_array(p, n + 1, sizeof **out, out));
    for (int i = 0; i < n; i++) {
        Buffer *b = map_get(&p->map, value[i]);
        *found = *found && b && !b->constant && b->shape.rank > 0 && b->shape.dim[0] == batch && b->bytes;
        (*out)[i] = b;
    }
    return OK;
}

/* Whether so many pieces are the whole: a constant may know the batch. */
static bool pieces_make(const Stage *s)
{
    const Plan *piece = s->piece[0];
    for (int i = 0; i < piece->n_out; i++)
        if (piece->out[i]->dtype != s->out[i]->dtype || piece->out[i]->bytes * (size_t)s->pieces != s->out[i]->bytes) return false;
    return true;
}

/* Plans the part for pieces of n samples; *done: it can be run so. */
static Err plan_stage(Plan *p, const Part *part, int64_t batch, int64_t n, bool *done)
{
    Graph *g;
    PlanInput *input;
    PlanOptions options = p->options;
    Stage *s = &p->stage[p->n_stage];
    bool found = true;
    *s = (Stage){ .pieces = batch / n };
    *done = false;
    TRY(part_graph(p, part, &g));
    TRY(buffers_along(p, g->in, g->n_in, batch, &s->in, &found));
    TRY(buffers_along(p, g->out, g->n_out, batch, &s->out, &found));
    if (!found) return OK;
    TRY(plan_array(p, g->n_in + 1, sizeof *input, &input));
    for (int i = 0; i < g->n_in; i++) {
        input[i] = (PlanInput){ s->in[i]->name, s->in[i]->dtype, s->in[i]->shape };
        input[i].shape.dim[0] = n;
    }
    options.threads = 1;
    options.whole = true;
    const int plans = s->pieces < p->threads ? (int)s->pieces : p->threads;
    TRY(plan_array(p, plans, sizeof *s->piece, &s->piece));
    Err e = plan_part(p->model, g, input, &options, &s->piece[0]);
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

static Err plan_stages(Plan *p, int64_t batch, int64_t n)
{
    const Graph *g = p->model->graph;
    const int late = late_from(p, g);
    const int64_t more = late_samples(p, batch);
    bool done = false;
    if (late > 0 && late < g->n_node && more > n) {
        TRY(plan_stage(p, &(Part){ g, 0, late }, batch, n, &done));
        if (done) TRY(plan_stage(p, &(Part){ g, late, g->n_node }, batch, more, &done));
        if (!done) pieces_free(p);
    }
    if (!done) TRY(plan_stage(p, &(Part){ g, 0, g->n_node }, batch, n, &done));
    if (!done) pieces_free(p);
    return OK;
}

Err pieces_plan(Plan *p)
{
    const bool watched = p->options.tap || p->options.timed || p->options.keep;
    int64_t batch = 0, n = 0;
    if (!watched && !p->outer && !p->options.whole) TRY(batch_of(p, &batch));
    if (batch > 1) n = early_samples(p, batch);
    if (!n || n == batch) return OK;
    TRY(plan_stages(p, batch, n));
    if (!p->n_stage) return OK;
    p->n_step = 0;
    for (int k = 0; k < p->n_stage; k++) {
        const Stage *s = &p->stage[k];
        for (int i = 0; i < s->piece[0]->n_out; i++) if (!s->out[i]->data) TRY(plan_alloc(p, s->out[i]->bytes, &s->out[i]->data));
    }
    return OK;
}

/* Running ------------------------------------------------------------------------------------------------------------------------------- */

static Err run_piece(const Stage *s, int64_t i)
{
    Plan *piece = s->piece[omp_get_thread_num()];
    for (int k = 0; k < piece->n_in; k++) piece->in[k]->data = (char *)s->in[k]->data + (size_t)i * piece->in[k]->bytes;
    TRY(plan_run_steps(piece));
    for (int k = 0; k < piece->n_out; k++) memcpy((char *)s->out[k]->data + (size_t)i * piece->out[k]->bytes, piece->out[k]->data, piece->out[k]->bytes);
    return OK;
}

static Err run_stage(const Stage *s, double deadline)
{
    Err first = OK;
    char text[1024] = "";
    for (int i = 0; i < s->n_piece; i++) s->piece[i]->deadline = deadline;
    #pragma omp parallel for schedule(dynamic) num_threads(s->n_piece)
    for (int64_t i = 0; i < s->pieces; i++) {
        Err e = run_piece(s, i);
        if (e == OK) continue;
        #pragma omp critical
        {
            first = e;
            snprintf(text, sizeof text, "%s", err_text());     /* messages belong to their thread */
        }
    }
    return first == OK ? OK : err_set(first, "%s", text);
}

Err pieces_run(Plan *p)
{
    for (int i = 0; i < p->n_stage; i++) TRY(run_stage(&p->stage[i], p->deadline));
    return OK;
}
