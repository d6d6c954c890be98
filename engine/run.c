/* Running a plan. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/plan.h"
#include "engine/plan_internal.h"
#include "engine/run_ops.h"
#include "engine/seconds.h"
#include "kernels/kernels.h"

Err buffer_learn(Plan *p, Buffer *b)
{
    b->fact.element = NULL;
    b->fact.real = NULL;
    if (b->count > INFER_ELEMENTS || !b->data || b->dtype == DT_STRING || !dtype_is_real(b->dtype)) return OK;
    int64_t *whole;
    TRY(plan_array(p, b->count + 1, sizeof *whole, &whole));
    if (!dtype_is_float(b->dtype)) {
        elements_to_i64(b->dtype, b->data, 0, b->count, whole);
        for (int64_t i = 0; i < b->count; i++)     /* Slice's "from the very first": the smallest number that is no symbol */
            if (dim_is_symbol(whole[i])) whole[i] = SYMBOL_BASE + MAX_SYMBOLS;
        b->fact.element = whole;
        return OK;
    }
    double *real;
    bool fractions = false;
    TRY(plan_array(p, b->count + 1, sizeof *real, &real));
    elements_to_f64(b->dtype, b->data, 0, b->count, real);
    for (int64_t i = 0; i < b->count && !fractions; i++) {
        fractions = !(real[i] > -0x1p62 && real[i] < 0x1p62) || real[i] != (double)(int64_t)real[i];
        if (!fractions) whole[i] = (int64_t)real[i];
    }
    if (fractions) b->fact.real = real;
    else b->fact.element = whole;
    return OK;
}

static bool fact_known(const Fact *f) { return f->is_tensor && f->dtype != DT_NONE && shape_known(&f->shape); }

Err step_infer(Plan *p, Step *s, bool *known)
{
    int room_in = s->n_in > s->op->max_in ? s->n_in : s->op->max_in, room_out = s->n_out > s->op->max_out ? s->n_out : s->op->max_out;
    const Fact **in;
    Fact *out;
    TRY(plan_in_time(p));
    TRY(plan_array(p, room_in + 1, sizeof *in, &in));
    TRY(plan_array(p, room_out + 1, sizeof *out, &out));
    for (int i = 0; i < s->n_in; i++) in[i] = s->in[i] ? &s->in[i]->fact : NULL;
    for (int i = 0; i < room_out; i++) out[i] = (Fact){ .is_tensor = true, .shape = { .rank = -1 } };
    Inference x = { .model = p->model, .arena = p->now, .opset = s->opset };
    if (s->op->infer && !step_has_bodies(s)) TRY(s->op->infer(&x, s->node, in, out));     /* what bodies give is seen when they run */
    *known = true;
    for (int i = 0; i < s->n_out; i++) {
        Buffer *b = s->out[i];
        if (!b) continue;
        if (fact_known(&out[i])) { TRY(buffer_set(b, out[i].dtype, &out[i].shape)); continue; }
        b->dtype = out[i].dtype;
        buffer_forget(b);
        *known = false;
    }
    return OK;
}

static bool inside_block(const Plan *p, const Buffer *b)
{
    const char *at = b->data;
    for (const Plan *q = p; q; q = q->outer) if (q->block && at >= q->block && at < q->block + q->block_bytes) return true;
    return false;
}

static Err execute(Plan *p, Step *s)
{
    bool known;
    s->run = NULL; s->state = NULL; s->scratch_bytes = 0;
    for (int i = 0; i < s->n_out; i++) if (s->out[i]) buffer_forget(s->out[i]);
    for (int i = 0; i < s->n_in; i++) {
        if (!s->in[i]) continue;
        TRY(buffer_load(p, s->in[i]));
        if (s->in[i]->list && !s->op->lists)
            return err_set(ERR_UNSUPPORTED, "%s does not run on the sequence, optional or map '%s'.", s->op->type, s->in[i]->name);
        if (!s->in[i]->constant) TRY(buffer_learn(p, s->in[i]));
    }
    TRY(step_infer(p, s, &known));
    TRY(s->op->prep(p, s));
    for (int i = 0; i < s->n_out; i++) {
        Buffer *b = s->out[i];
        if (b && b->shape.rank >= 0 && !b->base) TRY(plan_alloc(p, b->bytes, &b->data));
    }
    void *scratch = NULL;
    TRY(plan_alloc(p, s->scratch_bytes, &scratch));
    s->scratch = scratch;
    TRY(s->run(p, s));
    for (int i = 0; i < s->n_out; i++) {       /* planned memory is used again: a late view of it needs a copy */
        Buffer *b = s->out[i];
        if (!b || !b->base) continue;
        b->base = NULL;
        if (!inside_block(p, b)) continue;
        const void *from = b->data;
        TRY(plan_alloc(p, b->bytes, &b->data));
        memcpy(b->data, from, b->bytes);
    }
    return OK;
}

/* What was learned of the inputs is of this run: a body that is planned later must not take it for known. */
Err step_execute(Plan *p, Step *s)
{
    Err e = execute(p, s);
    for (int i = 0; i < s->n_in; i++) if (s->in[i] && !s->in[i]->constant) s->in[i]->fact.element = NULL, s->in[i]->fact.real = NULL;
    return e;
}

Err step_output(Plan *p, Step *s, int i, DType dtype, const Shape *shape)
{
    Buffer *b = s->out[i];
    if (!b) return OK;
    if (b->data && b->dtype == dtype && shape_equal(&b->shape, shape)) return OK;
    if (b->shape.rank >= 0 && (b->dtype != dtype || !shape_equal(&b->shape, shape)))
        return err_set(ERR_SHAPE, "The output '%s' has another type or shape than shape inference said.", b->name);
    TRY(buffer_set(b, dtype, shape));
    return plan_alloc(p, b->bytes, &b->data);
}

void step_view(Step *s, int i, int j, size_t at)
{
    s->out[i]->base = s->in[j];
    s->out[i]->base_at = at;
}

Err view_run(Plan *p, Step *s)
{
    (void)p;
    for (int i = 0; i < s->n_out; i++) if (s->out[i] && s->out[i]->base) s->out[i]->data = (char *)s->out[i]->base->data + s->out[i]->base_at;
    return OK;
}

Err step_refuse(const Step *s, const char *what, const Buffer *b)
{
    return err_set(ERR_UNSUPPORTED, "%s does not run on %s (%s '%s', opset %lld).", s->op->type, dtype_name(b->dtype), what, b->name, (long long)s->opset);
}

void plan_start(Plan *p)
{
    double limit = p->options.seconds_limit;
    p->deadline = p->outer ? p->outer->deadline : limit > 0 ? seconds_now() + limit : INFINITY;
}

Err plan_in_time(const Plan *p)
{
    bool late = p->options.seconds_limit > 0 && seconds_now() > p->deadline;
    return late ? err_set(ERR_TIME, "This model takes longer than the limit of %g seconds.", p->options.seconds_limit) : OK;
}

Err find_kernels(const Kernels **out)
{
    *out = kernels_best();
    if (*out) return OK;
    return err_set(ERR_ARG, "ONESHOT_ISA names no instruction set that this machine runs; the highest here is %s.", kernels_isa(kernels_levels() - 1));
}

Err plan_run_steps(Plan *p)
{
    arena_reset(p->late, p->late_start);
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        TRY(plan_in_time(p));
        double start = p->options.timed ? seconds_now() : 0;
        Err e = s->late ? step_execute(p, s) : s->run(p, s);
        if (e != OK) return err_in(e, "node '%s' (%s)", s->node->name, s->node->op_type);
        if (p->options.timed) s->total += s->seconds = seconds_now() - start;
        if (p->options.tap) p->options.tap(p->options.tap_user, s);
    }
    return OK;
}

Err plan_run(Plan *p, const Tensor *in, int n_in)
{
    if (n_in != p->n_in) return err_set(ERR_ARG, "The model takes %d inputs, %d were given.", p->n_in, n_in);
    for (int i = 0; i < n_in; i++) {
        Buffer *b = p->in[i];
        if (in[i].dtype != b->dtype || !shape_equal(&in[i].shape, &b->shape) || (in[i].bytes != b->bytes && b->dtype != DT_STRING))
            return err_set(ERR_ARG, "The data for input '%s' has another type or shape than the plan was made for.", b->name);
        if (b->list || b->shape.rank < 0) buffer_hold(b, in[i].data);
        else b->data = in[i].data ? in[i].data : p->block;      /* an empty tensor may come without memory */
    }
    plan_start(p);
    return p->n_stage ? pieces_run(p) : plan_run_steps(p);
}

void plan_watch(Plan *p, bool timed, Tap *tap, void *user)
{
    p->options.timed = timed;
    p->options.tap = tap;
    p->options.tap_user = user;
    for (int k = 0; k < p->n_stage; k++) for (int i = 0; i < p->stage[k].n_piece; i++) plan_watch(p->stage[k].piece[i], timed, tap, user);
}

Err plan_body_run(Plan *p, Buffer *const *in, int n_in)
{
    for (int i = 0; i < n_in; i++) {
        if (in[i]->list) buffer_hold(p->in[i], in[i]->list);
        else p->in[i]->data = in[i]->data;
    }
    p->used_by_outer = plan_used(p->outer);
    plan_start(p);
    return plan_run_steps(p);
}
