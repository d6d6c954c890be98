/* Half precision (float16, bfloat16) is carried as float32 from operator to operator, as ONNX Runtime does on CPUs: there are fast loops and fusions for it, and
 * intermediate results are rounded less often. Where halves have to be, a Cast step makes them: what the plan gets and gives, what bodies and late steps read
 * and write, and operators whose types their nodes name. */
#include <string.h>
#include "engine/fuse.h"
#include "engine/plan_internal.h"

/* Twins are found by the number of the buffer, as far as it is this plan's own. */
typedef struct Halves {
    Plan *plan;
    int own;                       /* buffers before the first twin */
    Buffer **twin;                 /* NULL: none yet */
    bool *behind;                  /* only the twin is up to date */
    Step **step; int n, room;      /* the new steps */
} Halves;

static bool is_half(const Buffer *b) { return b && (b->dtype == DT_F16 || b->dtype == DT_BF16) && b->shape.rank >= 0; }

static bool is_own(const Halves *h, const Buffer *b) { return b->number < h->own && h->plan->buffer[b->number] == b; }

static Err append(Halves *h, Step *s)
{
    TRY(grow(h->plan, &h->step, h->n, &h->room, sizeof *h->step));
    s->at = h->n;
    h->step[h->n++] = s;
    return OK;
}

static Err append_cast(Halves *h, const Step *beside, Buffer *from, Buffer *to)
{
    Node *n = arena_alloc(h->plan->arena, sizeof *n);
    Step *s = arena_alloc(h->plan->arena, sizeof *s);
    if (!n || !s) return err_set(ERR_NOMEM, "Out of memory while planning.");
    *n = (Node){ .name = to->name, .op_type = "Cast", .domain = "", .graph = beside->node->graph, .op = op_find("", "Cast") };
    *s = (Step){ .node = n, .op = n->op, .opset = graph_opset(n->graph, ""), .n_in = 1, .n_out = 1 };
    TRY(plan_array(h->plan, n->op->max_in + 1, sizeof *s->in, &s->in));
    TRY(plan_array(h->plan, n->op->max_out + 1, sizeof *s->out, &s->out));
    s->in[0] = from;
    s->out[0] = to;
    return append(h, s);
}

static Err twin_new(Halves *h, Buffer *b, Buffer **twin)
{
    TRY(buffer_new(h->plan, b->name, twin));
    TRY(buffer_set(*twin, DT_F32, &b->shape));
    if (is_own(h, b)) h->twin[b->number] = *twin;
    return OK;
}

/* The twin of what a step reads. */
static Err widen(Halves *h, const Step *reader, Buffer *b, Buffer **twin)
{
    *twin = is_own(h, b) ? h->twin[b->number] : NULL;
    if (*twin) return OK;
    TRY(twin_new(h, b, twin));
    return b->constant ? constant_widen(h->plan, b, *twin) : append_cast(h, reader, b, *twin);
}

/* Brings the halves of what is read as such up to date. */
static Err narrow(Halves *h, const Step *beside, Buffer *b)
{
    if (!is_half(b) || !is_own(h, b) || !h->behind[b->number]) return OK;
    h->behind[b->number] = false;
    return append_cast(h, beside, h->twin[b->number], b);
}

/* Whether it runs on float32 instead: where its types follow from its inputs', and all are tensors. A Cast from halves reads what was not rounded to them; of a table
 * few rows are read. */
static bool widens(const Step *s)
{
    static const char *const exact[] = { "CastLike", "BitCast", "QuantizeLinear", "DequantizeLinear" };
    bool reads = false, writes = false;
    if (s->late || step_has_bodies(s) || node_attr(s->node, "dtype") || (is_type(s, "Gather") && s->in[0]->constant)) return false;
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) if (is_type(s, exact[i])) return false;
    for (int i = 0; i < s->n_in; i++) {
        if (s->in[i] && s->in[i]->shape.rank < 0) return false;
        reads |= is_half(s->in[i]);
    }
    for (int i = 0; i < s->n_out; i++) {
        if (s->out[i] && s->out[i]->shape.rank < 0) return false;
        writes |= is_half(s->out[i]);
    }
    return reads && !(is_type(s, "Cast") && writes);
}

static Err carry(Halves *h, Step *s)
{
    const bool wide = widens(s);
    for (int i = 0; i < s->n_capture; i++) TRY(narrow(h, s, s->capture[i]));
    for (int i = 0; i < s->n_in; i++) {
        if (!wide) TRY(narrow(h, s, s->in[i]));
        else if (is_half(s->in[i])) TRY(widen(h, s, s->in[i], &s->in[i]));
    }
    for (int i = 0; wide && i < s->n_out; i++) {
        if (!is_half(s->out[i])) continue;
        h->behind[s->out[i]->number] = true;
        TRY(twin_new(h, s->out[i], &s->out[i]));
    }
    return append(h, s);
}

Err carry_halves(Plan *p)
{
    Halves h = { .plan = p, .own = p->n_buffer };
    bool any = false;
    for (int i = 0; i < p->n_step; i++) any |= widens(p->step[i]);
    if (!any) return OK;
    TRY(plan_array(p, h.own, sizeof *h.twin, &h.twin));
    TRY(plan_array(p, h.own, sizeof *h.behind, &h.behind));
    for (int i = 0; i < p->n_step; i++) TRY(carry(&h, p->step[i]));
    for (int i = 0; i < p->n_out; i++) TRY(narrow(&h, p->step[p->n_step - 1], p->out[i]));
    p->step = h.step;
    p->n_step = h.n;
    p->room_step = h.room;
    return OK;
}
