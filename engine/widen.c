/* float16 and bfloat16 through double. */
#include <string.h>
#include "engine/element.h"
#include "engine/plan_internal.h"
#include "engine/widen.h"
#include "kernels/whole.h"

typedef struct Widened { Step step; Buffer *in, *out; } Widened;       /* the step on double buffers; in, out: one for each of the real ones */

static bool is_half(const Buffer *b) { return b && (b->dtype == DT_F16 || b->dtype == DT_BF16); }

static Err widened_run(Plan *plan, Step *s)
{
    Widened *w = s->state;
    char *at = s->scratch;
    w->step.scratch = at;
    at += to_line(w->step.scratch_bytes);
    for (int i = 0; i < s->n_in; i++) {
        if (!s->in[i]) continue;
        w->in[i].data = s->in[i]->data;
        if (!is_half(s->in[i])) continue;
        w->in[i].data = at;
        elements_to_f64(s->in[i]->dtype, s->in[i]->data, 0, s->in[i]->count, w->in[i].data);
        at += to_line(w->in[i].bytes);
    }
    for (int i = 0; i < s->n_out; i++) {
        if (!s->out[i]) continue;
        w->out[i].data = is_half(s->out[i]) ? at : s->out[i]->data;
        if (is_half(s->out[i])) at += to_line(w->out[i].bytes);
    }
    TRY(w->step.run(plan, &w->step));
    for (int i = 0; i < s->n_out; i++)
        if (is_half(s->out[i])) elements_from_f64(s->out[i]->dtype, w->out[i].data, s->out[i]->count, s->out[i]->data, 0);
    return OK;
}

static Err widen_list(Plan *plan, Buffer *const *real, int n, Buffer *wide, Buffer **list)
{
    for (int i = 0; i < n; i++) {
        if (!real[i]) continue;
        wide[i] = *real[i];
        if (is_half(real[i]) && real[i]->shape.rank >= 0) TRY(buffer_set(&wide[i], DT_F64, &real[i]->shape));
        else if (is_half(real[i])) wide[i].dtype = DT_F64;
        wide[i].fact = real[i]->fact;
        if (is_half(real[i])) wide[i].constant = false;
        list[i] = &wide[i];
    }
    (void)plan;
    return OK;
}

static Err widen_prep(Plan *plan, Step *s, Err (*prep)(Plan *, Step *))
{
    Widened *w;
    int room_in = s->n_in > s->op->max_in ? s->n_in : s->op->max_in, room_out = s->n_out > s->op->max_out ? s->n_out : s->op->max_out;
    TRY(plan_array(plan, 1, sizeof *w, &w));
    w->step = *s;
    TRY(plan_array(plan, room_in + 1, sizeof *w->in, &w->in));
    TRY(plan_array(plan, room_out + 1, sizeof *w->out, &w->out));
    TRY(plan_array(plan, room_in + 1, sizeof *w->step.in, &w->step.in));
    TRY(plan_array(plan, room_out + 1, sizeof *w->step.out, &w->step.out));
    TRY(widen_list(plan, s->in, s->n_in, w->in, w->step.in));
    TRY(widen_list(plan, s->out, s->n_out, w->out, w->step.out));
    TRY(prep(plan, &w->step));
    for (int i = 0; i < s->n_out; i++)
        if (w->step.out[i] && (w->step.out[i]->base || w->step.out[i]->shape.rank < 0)) return step_refuse(s, "output", s->out[i]);
    s->state = w;
    s->run = widened_run;
    s->scratch_bytes = to_line(w->step.scratch_bytes);
    for (int i = 0; i < s->n_in; i++) if (is_half(s->in[i])) s->scratch_bytes += to_line(w->in[i].bytes);
    for (int i = 0; i < s->n_out; i++) if (is_half(s->out[i])) s->scratch_bytes += to_line(w->out[i].bytes);
    return OK;
}

bool widened(Plan *plan, Step *s, Err (*prep)(Plan *, Step *), Err *e)
{
    bool any = false;
    for (int i = 0; i < s->n_in; i++) any = any || is_half(s->in[i]);
    for (int i = 0; i < s->n_out; i++) any = any || is_half(s->out[i]);
    if (any) *e = widen_prep(plan, s, prep);
    return any;
}
