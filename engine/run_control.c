/* Control flow: If, Loop, Scan. Bodies are plans of their own, made when first needed and again when shapes change.
 * https://onnx.ai/onnx/operators/onnx__Loop.html , onnx__Scan.html */
#include <string.h>
#include "engine/element.h"
#include "engine/list.h"
#include "engine/move.h"
#include "engine/plan_internal.h"
#include "engine/run_ops.h"

static const Graph *body_of(const Step *s, const char *name)
{
    const Attr *a = node_attr(s->node, name);
    return a && a->kind == ATTR_G ? a->g : NULL;
}

Err run_body(Plan *plan, Step *s, int slot, const Graph *body, Buffer *const *in, int n_in)
{
    if (!s->body[slot] || !plan_body_fits(s->body[slot], in, n_in)) {
        plan_free(s->body[slot]);
        s->body[slot] = NULL;
        TRY(plan_body(plan, body, in, n_in, &s->body[slot]));
    }
    return plan_body_run(s->body[slot], in, n_in);
}

static Err if_run(Plan *plan, Step *s)
{
    bool taken = *(const uint8_t *)s->in[0]->data;
    TRY(run_body(plan, s, taken, body_of(s, taken ? "then_branch" : "else_branch"), NULL, 0));
    const Plan *body = s->body[taken];
    for (int i = 0; i < s->n_out; i++) TRY(step_value(plan, s, i, body->out[i]));
    return OK;
}

Err if_prep(Plan *plan, Step *s)
{
    const Graph *branch[2] = { body_of(s, "else_branch"), body_of(s, "then_branch") };
    (void)plan;
    if (s->in[0]->dtype != DT_BOOL || s->in[0]->count != 1) return err_set(ERR_SHAPE, "The condition of an If should be one bool.");
    for (int i = 0; i < 2; i++) if (!branch[i] || branch[i]->n_out != s->n_out) return err_set(ERR_FORMAT, "A branch does not fit its If.");
    s->run = if_run;
    return OK;
}

/* Turns of a body ------------------------------------------------------------------------------------------------------------------- */

/* A value that grows by one slice a turn. */
typedef struct Growing { char *data; size_t room; int64_t turns; Buffer slice; int64_t axis; bool reverse; } Growing;

/* Body inputs: `fixed` of them, then the states, then what changes with the turn. Outputs: `skip`, then the states, then what is collected.
 * States live in two sets of memory in turn, since a body may hand its inputs through in another order. */
typedef struct Turns {
    const Graph *body;
    Buffer **in; int n_in, first_state, n_state, skip, n_grown;
    struct { void *data; size_t room; } memory[2][64];
    int set;
    Growing *grown;
} Turns;

static Err reserve(Plan *plan, void **data, size_t *room, size_t bytes)
{
    if (bytes <= *room && *data) return OK;
    TRY(plan_alloc(plan, bytes, data));
    *room = bytes;
    return OK;
}

static Err turns_new(Plan *plan, Step *s, const Graph *body, Turns **out)
{
    Turns *t;
    TRY(plan_array(plan, 1, sizeof *t, &t));
    t->body = body;
    t->n_in = body->n_in;
    TRY(plan_array(plan, body->n_in + 1, sizeof *t->in, &t->in));
    TRY(plan_array(plan, body->n_out + 1, sizeof *t->grown, &t->grown));
    for (int i = 0; i < body->n_in; i++) TRY(plan_array(plan, 1, sizeof **t->in, &t->in[i]));
    (void)s;
    *out = t;
    return OK;
}

static Err take_state(Plan *plan, Turns *t, int i, const Buffer *from)
{
    Buffer *to = t->in[t->first_state + i], *copy;
    if (from->list) {
        TRY(value_copy(plan, from, &copy));
        buffer_hold(to, copy->list);
        return OK;
    }
    TRY(reserve(plan, &t->memory[t->set][i].data, &t->memory[t->set][i].room, from->bytes));
    memcpy(t->memory[t->set][i].data, from->data, from->bytes);
    to->list = NULL;
    TRY(buffer_set(to, from->dtype, &from->shape));
    to->data = t->memory[t->set][i].data;
    return OK;
}

static Err take_slice(Plan *plan, Growing *g, const Buffer *from)
{
    if (g->turns && (g->slice.dtype != from->dtype || !shape_equal(&g->slice.shape, &from->shape)))
        return err_set(ERR_SHAPE, "A body gives slices of different shapes.");
    size_t used = (size_t)g->turns * from->bytes;
    if (used + from->bytes > g->room || !g->data) {
        void *bigger;
        g->room = 2 * (used + from->bytes);
        TRY(plan_alloc(plan, g->room, &bigger));
        if (used) memcpy(bigger, g->data, used);
        g->data = bigger;
    }
    memcpy(g->data + used, from->data, from->bytes);
    g->slice = *from;
    g->turns++;
    return OK;
}

static Err turn(Plan *plan, Step *s, Turns *t)
{
    TRY(plan_in_time(plan));                           /* a body without steps looks at no clock */
    TRY(run_body(plan, s, 0, t->body, t->in, t->n_in));
    const Plan *body = s->body[0];
    t->set = !t->set;
    for (int i = 0; i < t->n_state; i++) TRY(take_state(plan, t, i, body->out[t->skip + i]));
    for (int i = 0; i < t->n_grown; i++) TRY(take_slice(plan, &t->grown[i], body->out[t->skip + t->n_state + i]));
    return OK;
}

static Err start_states(Plan *plan, Step *s, Turns *t, int first_input)
{
    if (t->n_state > 64) return err_set(ERR_UNSUPPORTED, "%s with more than 64 states cannot be run.", s->op->type);
    for (int i = 0; i < t->n_state; i++) {
        if (!s->in[first_input + i]) return err_set(ERR_UNSUPPORTED, "%s with a state left out cannot be run.", s->op->type);
        TRY(take_state(plan, t, i, s->in[first_input + i]));
    }
    return OK;
}

/* Output i of the step: the slices collected, stacked along `axis` in the order of the turns or in reverse. */
static Err give_grown(Plan *plan, Step *s, int i, const Growing *g, const Value *declared)
{
    bool reverse = g->reverse;
    Shape slice = g->slice.shape, y = { 0 };
    DType dtype = g->slice.dtype;
    int axis = 0;
    if (!g->turns) {               /* never run: what the file says about the body's output */
        slice = declared->fact.shape;
        dtype = declared->fact.dtype;
        if (slice.rank < 0 || dtype == DT_NONE) return err_set(ERR_UNSUPPORTED, "%s took no turn and its body does not say what it would have given.", s->op->type);
        for (int k = 0; k < slice.rank; k++) if (slice.dim[k] < 0) slice.dim[k] = 0;
    }
    if (slice.rank + 1 > MAX_RANK) return err_set(ERR_UNSUPPORTED, "%s gives a tensor of more than %d axes.", s->op->type, MAX_RANK);
    y.rank = slice.rank + 1;
    TRY(axis_of(g->axis, y.rank, &axis));
    for (int k = 0, from = 0; k < y.rank; k++) y.dim[k] = k == axis ? g->turns : slice.dim[from++];
    TRY(step_output(plan, s, i, dtype, &y));
    if (!s->out[i] || !s->out[i]->count) return OK;
    int64_t outer = shape_span(&y, 0, axis), inner = shape_span(&y, axis + 1, y.rank), n = g->turns;
    size_t size = element_size(dtype);
    Copy c = { 0 };
    copy_axis(&c, outer, inner, n * inner);
    copy_axis(&c, n, reverse ? -outer * inner : outer * inner, inner);
    copy_axis(&c, inner, 1, 1);
    copy_strided(plan, &c, g->data + (reverse ? (size_t)((n - 1) * outer * inner) * size : 0), s->out[i]->data, size);
    return OK;
}

static Err loop_run(Plan *plan, Step *s)
{
    Turns *t;
    TRY(turns_new(plan, s, body_of(s, "body"), &t));
    t->first_state = 2; t->skip = 1;
    t->n_state = s->n_in - 2;
    t->n_grown = t->body->n_out - 1 - t->n_state;
    int64_t limit = INT64_MAX, i = 0, *number;
    uint8_t *condition;
    if (s->in[0]) limit = whole_at(s->in[0], 0);
    TRY(buffer_set(t->in[0], DT_I64, &(Shape){ 0 }));
    TRY(buffer_set(t->in[1], DT_BOOL, &(Shape){ 0 }));
    TRY(plan_array(plan, 1, sizeof *number, &number));
    TRY(plan_array(plan, 1, sizeof *condition, &condition));
    t->in[0]->data = number;
    t->in[1]->data = condition;
    *condition = s->in[1] ? *(const uint8_t *)s->in[1]->data : 1;
    TRY(start_states(plan, s, t, 2));
    for (; i < limit && *condition; i++) {
        *number = i;
        TRY(turn(plan, s, t));
        const Buffer *go_on = s->body[0]->out[0];
        if (go_on->dtype != DT_BOOL || go_on->count != 1) return err_set(ERR_SHAPE, "The condition of a Loop should be one bool.");
        *condition = *(const uint8_t *)go_on->data;
    }
    for (int k = 0; k < t->n_state; k++) TRY(step_value(plan, s, k, t->in[2 + k]));
    for (int k = 0; k < t->n_grown && t->n_state + k < s->n_out; k++)
        TRY(give_grown(plan, s, t->n_state + k, &t->grown[k], t->body->out[1 + t->n_state + k]));
    return OK;
}

Err loop_prep(Plan *plan, Step *s)
{
    const Graph *body = body_of(s, "body");
    (void)plan;
    if (!body || body->n_in != s->n_in || body->n_out < s->n_in - 1) return err_set(ERR_FORMAT, "The body does not fit its Loop.");
    for (int i = 0; i < 2; i++) if (s->in[i] && s->in[i]->count != 1) return err_set(ERR_SHAPE, "A Loop's count and condition should be single numbers.");
    if (s->in[1] && s->in[1]->dtype != DT_BOOL) return err_set(ERR_SHAPE, "The condition of a Loop should be one bool.");
    s->run = loop_run;
    return OK;
}

/* Scan ------------------------------------------------------------------------------------------------------------------------------ */

static int64_t listed(const Step *s, const char *name, int i)
{
    const int64_t *v;
    return i < attr_is(s->node, name, &v) ? v[i] : 0;
}

/* Slice number i of scan input k, copied to the body's input. */
static Err slice_input(const Plan *plan, const Step *s, Turns *t, int k, int64_t i)
{
    const Buffer *x = s->in[t->n_state + k];
    int axis = 0;
    TRY(axis_of(listed(s, "scan_input_axes", k), x->shape.rank, &axis));
    int64_t n = x->shape.dim[axis], outer = shape_span(&x->shape, 0, axis), inner = shape_span(&x->shape, axis + 1, x->shape.rank);
    size_t size = element_size(x->dtype);
    Copy c = { 0 };
    copy_axis(&c, outer, n * inner, inner);
    copy_axis(&c, inner, 1, 1);
    if (listed(s, "scan_input_directions", k)) i = n - 1 - i;
    copy_strided(plan, &c, (const char *)x->data + (size_t)(i * inner) * size, t->in[t->n_state + k]->data, size);
    return OK;
}

static Err start_inputs(Plan *plan, const Step *s, Turns *t, int scanned, int64_t *length)
{
    *length = -1;
    for (int k = 0; k < scanned; k++) {
        const Buffer *x = s->in[t->n_state + k];
        Buffer *slice = t->in[t->n_state + k];
        int axis = 0;
        TRY(axis_of(listed(s, "scan_input_axes", k), x->shape.rank, &axis));
        Shape shape = { .rank = x->shape.rank - 1 };
        for (int i = 0, to = 0; i < x->shape.rank; i++) if (i != axis) shape.dim[to++] = x->shape.dim[i];
        TRY(buffer_set(slice, x->dtype, &shape));
        TRY(plan_alloc(plan, slice->bytes, &slice->data));
        if (*length >= 0 && *length != x->shape.dim[axis]) return err_set(ERR_SHAPE, "The inputs of a Scan have different lengths.");
        *length = x->shape.dim[axis];
    }
    return OK;
}

static Err scan_run(Plan *plan, Step *s)
{
    Turns *t;
    int scanned = (int)attr_i(s->node, "num_scan_inputs", 0);
    int64_t length;
    TRY(turns_new(plan, s, body_of(s, "body"), &t));
    t->n_state = s->n_in - scanned;
    t->n_grown = t->body->n_out - t->n_state;
    TRY(start_states(plan, s, t, 0));
    TRY(start_inputs(plan, s, t, scanned, &length));
    for (int64_t i = 0; i < length; i++) {
        for (int k = 0; k < scanned; k++) TRY(slice_input(plan, s, t, k, i));
        TRY(turn(plan, s, t));
    }
    for (int k = 0; k < t->n_state; k++) TRY(step_value(plan, s, k, t->in[k]));
    for (int k = 0; k < t->n_grown && t->n_state + k < s->n_out; k++) {
        t->grown[k].axis = listed(s, "scan_output_axes", k);
        t->grown[k].reverse = listed(s, "scan_output_directions", k);
        TRY(give_grown(plan, s, t->n_state + k, &t->grown[k], t->body->out[t->n_state + k]));
    }
    return OK;
}

Err scan_prep(Plan *plan, Step *s)
{
    const Graph *body = body_of(s, "body");
    int64_t scanned = attr_i(s->node, "num_scan_inputs", 0);
    (void)plan;
    if (!body || body->n_in != s->n_in || scanned < 1 || scanned > s->n_in || body->n_out < s->n_in - scanned)
        return err_set(ERR_FORMAT, "The body does not fit its Scan.");
    for (int i = 0; i < s->n_in; i++) {
        if (!s->in[i]) return err_set(ERR_SHAPE, "A Scan needs all of its inputs.");
        TRY(movable(s, s->in[i]));
    }
    s->run = scan_run;
    return OK;
}

/* SequenceMap: the body for each item of the sequences; inputs that are tensors are the same for all ------------------------------------- */

static Err map_run(Plan *plan, Step *s)
{
    const Graph *body = body_of(s, "body");
    List *first, **given;
    Buffer **in;
    TRY(list_of(s, 0, LIST_SEQUENCE, &first));
    TRY(plan_array(plan, s->n_in + 1, sizeof *in, &in));
    TRY(plan_array(plan, s->n_out + 1, sizeof *given, &given));
    for (int k = 0; k < s->n_out; k++) TRY(list_new(plan, LIST_SEQUENCE, first->n, &given[k]));
    for (int64_t i = 0; i < first->n; i++) {
        for (int k = 0; k < s->n_in; k++) {
            const List *l = s->in[k]->list;
            if (l && i >= l->n) return err_set(ERR_SHAPE, "The sequences of a SequenceMap have different lengths.");
            in[k] = l ? l->item[i] : s->in[k];
        }
        TRY(run_body(plan, s, 0, body, in, s->n_in));
        for (int k = 0; k < s->n_out; k++) TRY(value_copy(plan, s->body[0]->out[k], &given[k]->item[i]));
    }
    for (int k = 0; k < s->n_out; k++) TRY(step_list(s, k, given[k]));
    return OK;
}

Err sequence_map_prep(Plan *plan, Step *s)
{
    const Graph *body = body_of(s, "body");
    (void)plan;
    if (!body || body->n_in != s->n_in || body->n_out < s->n_out) return err_set(ERR_FORMAT, "The body does not fit its SequenceMap.");
    for (int i = 0; i < s->n_in; i++) if (!s->in[i]) return err_set(ERR_SHAPE, "A SequenceMap needs all of its inputs.");
    s->run = map_run;
    return OK;
}
