/* Slices of slices take their elements from the first one's input: exporters write a node for each axis. So YOLOX takes every second pixel of every second row. */
#include "engine/fuse.h"
#include "engine/move.h"
#include "engine/run_ops.h"

static Err slices_run(Plan *plan, Step *s) { return slice_take(plan, s, s->fused->own); }

static Err slices_prep(Plan *plan, Step *s)
{
    (void)plan;
    TRY(movable(s, s->in[0]));
    s->run = slices_run;
    slice_share(s, s->fused->own);
    return OK;
}

static const Op op_Slices = { "Slices", "", 1, 1, 1, 1, 1, .prep = slices_prep };

static bool is_known_slice(const Step *s)
{
    for (int i = 1; i < s->n_in; i++) if (s->in[i] && !s->in[i]->data) return false;
    return is_type(s, "Slice") && slice_known(s) && s->in[0]->shape.rank >= 0;
}

/* What s takes of its input; false: that is not known. */
static bool taken_by(const Step *s, SliceView *v)
{
    if (s->op == &op_Slices) *v = *(const SliceView *)s->fused->own;
    if (s->op == &op_Slices || !is_known_slice(s)) return s->op == &op_Slices;
    const SliceView whole = slice_whole(s->in[0]);
    return slice_view(s, &whole, v) == OK;
}

Err fuse_slices(Plan *p)
{
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i], *first = s && s->n_in && s->in[0] ? s->in[0]->writer : NULL;
        SliceView from, v, *own;
        if (!first || !is_known_slice(s) || !taken_by(first, &from)) continue;
        if (slice_view(s, &from, &v) != OK || !shape_equal(&v.shape, &s->out[0]->shape)) continue;
        TRY(plan_array(p, 1, sizeof *own, &own));
        *own = v;
        TRY(step_become(p, s, &op_Slices, first->in, 1));
        s->fused->own = own;
    }
    return OK;
}
