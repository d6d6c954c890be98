/* Operators with bodies: If, Loop, Scan.     https://onnx.ai/onnx/operators/onnx__Loop.html */
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <string.h>

enum { MAX_PASSES = 3 };       /* over a loop's body: with the first state, without the sizes that change */

static Graph *body_of(const Node *n, const char *name)
{
    const Attr *a = node_attr(n, name);
    return a && a->kind == ATTR_G ? a->g : NULL;
}

static Err unknown_facts(Inference *x, int n, Fact **out)
{
    *out = arena_array(x->arena, (size_t)n, sizeof **out);
    if (!*out) return err_set(ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) (*out)[i] = FACT_UNKNOWN;
    return OK;
}

/* ---- If ---- */

/* A condition that is known decides; else the result is what both branches have in common, and contradictions may be why a branch is not taken. */
static Err if_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Graph *branch[2] = { body_of(n, "else_branch"), body_of(n, "then_branch") };
    double condition;
    bool decided = fact_number(in[0], 0, &condition);
    if (!branch[0] || !branch[1]) return err_set(ERR_SHAPE, "a branch is missing");
    Fact *result[2];
    for (int i = 0; i < 2; i++) {
        TRY(unknown_facts(x, n->n_out, &result[i]));
        Body b = { .graph = branch[i], .out = result[i], .n_out = n->n_out, .silent = !decided || (condition != 0) != i };
        TRY(infer_body(x, &b));
    }
    for (int k = 0; k < n->n_out; k++) {
        out[k] = result[1][k];
        if (decided) out[k] = result[condition != 0][k];
        else fact_join(&out[k], &result[0][k]);
    }
    return OK;
}

/* ---- Loop and Scan ---- */

/* The states among the facts that a body is given and gives back: given[first + i] becomes result[skip + i]. */
typedef struct Turns { Graph *graph; Fact *given, *result; int first, skip, n_state; } Turns;

static Fact without_elements(Fact f)
{
    f.element = NULL;
    f.real = NULL;
    return f;
}

/* Forgets of a state what a turn changes. Says whether it held for the next turn as well. */
static bool settle(const Turns *t, int i)
{
    Fact *given = &t->given[t->first + i], next = *given;
    Fact seen = without_elements(t->graph->in[t->first + i]->fact), after = without_elements(t->result[t->skip + i]), both = seen;
    fact_join(&both, &after);
    if (!both.is_tensor) next.is_tensor = false;
    if (both.dtype != seen.dtype) next.dtype = DT_NONE;
    if (both.shape.rank != seen.shape.rank) next.shape.rank = -1;
    for (int k = 0; k < next.shape.rank; k++)
        if (both.shape.dim[k] != seen.shape.dim[k]) next.shape.dim[k] = DIM_UNKNOWN;
    bool held = fact_equal(&next, given);
    *given = next;
    return held;
}

/* Walks the body until what it is given holds for every turn, then once more, and now contradictions count. */
static Err take_turns(Inference *x, const Turns *t)
{
    Body b = { .graph = t->graph, .in = t->given, .n_in = t->graph->n_in, .out = t->result, .n_out = t->graph->n_out, .silent = true };
    for (int i = 0; i < t->n_state; i++) t->given[t->first + i] = without_elements(t->given[t->first + i]);
    for (int pass = 0; pass < MAX_PASSES; pass++) {
        TRY(infer_body(x, &b));
        bool held = true;
        for (int i = 0; i < t->n_state; i++) held &= settle(t, i);
        if (held) break;
        if (pass + 1 == MAX_PASSES)
            for (int i = 0; i < t->n_state; i++) t->given[t->first + i].shape.rank = -1;
    }
    b.silent = false;
    return infer_body(x, &b);
}

/* What a state is in the end: of the last turn, or as it was given if there was none. */
static Fact final_state(const Turns *t, int i, const Fact *given)
{
    Fact f = without_elements(t->result[t->skip + i]);
    if (given) fact_join(&f, &(Fact[]){ without_elements(*given) }[0]);
    return f;
}

/* Results of each turn, stacked along a new axis. */
static Err stacked(const Fact *turn, int64_t count, int64_t axis, Fact *out)
{
    out->dtype = turn->dtype;
    if (!fact_shaped(turn)) return OK;
    int at;
    if (turn->shape.rank == MAX_RANK) return err_set(ERR_SHAPE, "rank %d is beyond %d", MAX_RANK + 1, MAX_RANK);
    TRY(axis_read(axis, turn->shape.rank + 1, &at));
    out->shape.rank = turn->shape.rank + 1;
    for (int i = 0, k = 0; i < out->shape.rank; i++) out->shape.dim[i] = i == at ? count : turn->shape.dim[k++];
    return OK;
}

/* Body: turn, condition, states -> condition, states, results of the turn. How often it turns is not followed. */
static Err loop_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Graph *body = body_of(n, "body");
    int n_state = n->n_in - 2;
    if (!body || body->n_in < 2 + n_state || body->n_out < 1 + n_state || n->n_out > body->n_out - 1) return err_set(ERR_SHAPE, "the body does not fit");
    Fact *given, *result;
    TRY(unknown_facts(x, body->n_in, &given));
    TRY(unknown_facts(x, body->n_out, &result));
    given[0] = (Fact){ .is_tensor = true, .dtype = DT_I64 };
    given[1] = (Fact){ .is_tensor = true, .dtype = DT_BOOL };
    for (int i = 0; i < n_state; i++)
        if (in[2 + i]) given[2 + i] = *in[2 + i];
    Turns t = { .graph = body, .given = given, .result = result, .first = 2, .skip = 1, .n_state = n_state };
    TRY(take_turns(x, &t));
    for (int i = 0; i < n->n_out; i++) {
        if (i >= n_state) {
            TRY(stacked(&result[1 + i], DIM_UNKNOWN, 0, &out[i]));
            continue;
        }
        out[i] = final_state(&t, i, in[2 + i]);
    }
    return OK;
}

static int64_t entry(const Node *n, const char *name, int i)
{
    const int64_t *v;
    return i < attr_is(n, name, &v) ? v[i] : 0;
}

/* The slice of input f that a turn of Scan sees. */
static Err slice_of(const Node *n, int i, const Fact *f, Fact *slice, int64_t *steps)
{
    slice->dtype = f->dtype;
    if (!fact_shaped(f)) return OK;
    int axis;
    TRY(axis_read(entry(n, "scan_input_axes", i), f->shape.rank, &axis));
    slice->shape.rank = f->shape.rank - 1;
    for (int k = 0, j = 0; k < f->shape.rank; k++)
        if (k != axis) slice->shape.dim[j++] = f->shape.dim[k];
    return dim_merge(*steps, f->shape.dim[axis], steps);
}

/* Inputs: states, sequences. Body: states, a slice of each sequence -> states, results of the turn. Opset 8 had a batch axis and is another operator. */
static Err scan_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Graph *body = body_of(n, "body");
    int64_t n_scan = attr_i(n, "num_scan_inputs", 0), steps = DIM_UNKNOWN;
    if (!body || n_scan < 1 || n_scan > n->n_in || body->n_in != n->n_in || body->n_out != n->n_out) return err_set(ERR_SHAPE, "the body does not fit");
    int n_state = n->n_in - (int)n_scan;
    if (n_state > n->n_out) return err_set(ERR_SHAPE, "the body does not fit");
    Fact *given, *result;
    TRY(unknown_facts(x, body->n_in, &given));
    TRY(unknown_facts(x, body->n_out, &result));
    for (int i = 0; i < n->n_in; i++) {
        if (!in[i]) continue;
        if (i < n_state) given[i] = *in[i];
        else TRY(slice_of(n, i - n_state, in[i], &given[i], &steps));
    }
    Turns t = { .graph = body, .given = given, .result = result, .n_state = n_state };
    TRY(take_turns(x, &t));
    for (int i = 0; i < n->n_out; i++) {
        if (i >= n_state) {
            TRY(stacked(&result[i], steps, entry(n, "scan_output_axes", i - n_state), &out[i]));
            continue;
        }
        out[i] = final_state(&t, i, in[i]);
    }
    return OK;
}

static const AttrSpec IF_ATTRS[] = { { "then_branch", ATTR_G, true }, { "else_branch", ATTR_G, true }, { 0 } };
static const AttrSpec LOOP_ATTRS[] = { { "body", ATTR_G, true }, { 0 } };
static const AttrSpec SCAN_ATTRS[] = { { "body", ATTR_G, true }, { "num_scan_inputs", ATTR_I, true }, { 0 } };

const Op op_If = { "If", "", 1, 1, 1, 1, -1, .attrs = IF_ATTRS, .infer = if_infer, .prep = if_prep, .lists = true };
const Op op_Loop = { "Loop", "", 1, 2, -1, 1, -1, .attrs = LOOP_ATTRS, .infer = loop_infer, .prep = loop_prep, .lists = true };
const Op op_Scan = { "Scan", "", 9, 1, -1, 1, -1, .attrs = SCAN_ATTRS, .infer = scan_infer, .prep = scan_prep };
