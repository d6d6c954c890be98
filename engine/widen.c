/* float16 and bfloat16 through double. */
#include <string.h>
#include "engine/element.h"
#include "engine/plan_internal.h"
#include "engine/widen.h"
#include "kernels/whole.h"

/* The step on double buffers, those of the inputs first, as it was prepared; a run has its own copy in scratch. */
typedef struct Widened { Step step; const Buffer *wide; int room_in, room; } Widened;

static bool is_half(const Buffer *b) { return b && (b->dtype == DT_F16 || b->dtype == DT_BF16); }

static void *take(char **at, size_t bytes)
{
    void *here = *at;
    *at += to_line(bytes);
    return here;
}

/* The copy. */
static Step step_of_run(const Widened *w, const Step *s, char **at)
{
    Step step = w->step;
    Buffer *wide = take(at, (size_t)w->room * sizeof *wide), **list = take(at, (size_t)w->room * sizeof *list);
    memcpy(wide, w->wide, (size_t)w->room * sizeof *wide);
    memset(list, 0, (size_t)w->room * sizeof *list);
    step.in = list;
    step.out = list + w->room_in;
    for (int i = 0; i < s->n_in; i++) if (s->in[i]) step.in[i] = &wide[i];
    for (int i = 0; i < s->n_out; i++) if (s->out[i]) step.out[i] = &wide[w->room_in + i];
    step.scratch = take(at, step.scratch_bytes);
    return step;
}

static Err widened_run(Plan *plan, Step *s)
{
    char *at = s->scratch;
    Step step = step_of_run(s->state, s, &at);
    for (int i = 0; i < s->n_in; i++) {
        if (!s->in[i]) continue;
        step.in[i]->data = is_half(s->in[i]) ? take(&at, step.in[i]->bytes) : s->in[i]->data;
        if (is_half(s->in[i])) elements_to_f64(s->in[i]->dtype, s->in[i]->data, 0, s->in[i]->count, step.in[i]->data);
    }
    for (int i = 0; i < s->n_out; i++) if (s->out[i]) step.out[i]->data = is_half(s->out[i]) ? take(&at, step.out[i]->bytes) : s->out[i]->data;
    TRY(step.run(plan, &step));
    for (int i = 0; i < s->n_out; i++)
        if (is_half(s->out[i])) elements_from_f64(s->out[i]->dtype, step.out[i]->data, s->out[i]->count, s->out[i]->data, 0);
    return OK;
}

static Err widen_list(Buffer *const *real, int n, Buffer *wide, Buffer **list)
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
    return OK;
}

static Err widen_prep(Plan *plan, Step *s, Err (*prep)(Plan *, Step *))
{
    Widened *w;
    Buffer *wide;
    const int room_in = (s->n_in > s->op->max_in ? s->n_in : s->op->max_in) + 1, room = room_in + (s->n_out > s->op->max_out ? s->n_out : s->op->max_out) + 1;
    TRY(plan_array(plan, 1, sizeof *w, &w));
    TRY(plan_array(plan, room, sizeof *wide, &wide));
    *w = (Widened){ .step = *s, .wide = wide, .room_in = room_in, .room = room };
    TRY(plan_array(plan, room, sizeof *w->step.in, &w->step.in));
    w->step.out = w->step.in + room_in;
    TRY(widen_list(s->in, s->n_in, wide, w->step.in));
    TRY(widen_list(s->out, s->n_out, wide + room_in, w->step.out));
    TRY(prep(plan, &w->step));
    for (int i = 0; i < s->n_out; i++)
        if (w->step.out[i] && (w->step.out[i]->base || w->step.out[i]->shape.rank < 0)) return step_refuse(s, "output", s->out[i]);
    s->state = w;
    s->run = widened_run;
    s->scratch_bytes = to_line(w->step.scratch_bytes) + to_line((size_t)room * sizeof *wide) + to_line((size_t)room * sizeof *w->step.in);
    for (int i = 0; i < s->n_in; i++) if (is_half(s->in[i])) s->scratch_bytes += to_line(wide[i].bytes);
    for (int i = 0; i < s->n_out; i++) if (is_half(s->out[i])) s->scratch_bytes += to_line(wide[room_in + i].bytes);
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
