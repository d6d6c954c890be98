/* A second plan for another thread: memory of its own for activations and scratch, everything that was prepared is shared. */
#include "engine/plan_internal.h"

static void *moved(const Plan *from, const Plan *to, void *at)
{
    char *c = at;
    return c >= from->block && c < from->block + from->block_bytes ? to->block + (c - from->block) : at;
}

static Err clone_buffers(const Plan *p, Plan *c)
{
    Buffer *all;
    TRY(plan_array(c, p->n_buffer + 1, sizeof *all, &all));
    TRY(plan_array(c, p->n_buffer + 1, sizeof *c->buffer, &c->buffer));
    for (int i = 0; i < p->n_buffer; i++) {
        all[i] = *p->buffer[i];
        all[i].data = moved(p, c, all[i].data);
        c->buffer[i] = &all[i];
    }
    for (int i = 0; i < p->n_buffer; i++) if (all[i].base) all[i].base = c->buffer[all[i].base->number];
    return OK;
}

static Err clone_list(Plan *c, Buffer *const *from, int n, int room, Buffer ***out)
{
    Buffer **list;
    TRY(plan_array(c, (room > n ? room : n) + 1, sizeof *list, &list));
    for (int i = 0; i < n; i++) if (from[i]) list[i] = c->buffer[from[i]->number];
    *out = list;
    return OK;
}

static Err clone_steps(const Plan *p, Plan *c)
{
    TRY(plan_array(c, p->n_step + 1, sizeof *c->step, &c->step));
    for (int i = 0; i < p->n_step; i++) {
        const Step *s = p->step[i];
        Step *copy;
        TRY(plan_array(c, 1, sizeof *copy, &copy));
        *copy = *s;
        copy->body[0] = copy->body[1] = NULL;
        copy->scratch = moved(p, c, s->scratch);
        TRY(clone_list(c, s->in, s->n_in, s->op->max_in, &copy->in));
        TRY(clone_list(c, s->out, s->n_out, s->op->max_out, &copy->out));
        c->step[c->n_step++] = copy;           /* counted when it is there: plan_free reads them after a failure */
    }
    return OK;
}

static Err fill_clone(const Plan *p, Plan *c)
{
    void *block;
    TRY(plan_alloc(c, p->block_bytes, &block));
    c->block = block;
    TRY(clone_buffers(p, c));
    TRY(clone_steps(p, c));
    TRY(clone_list(c, p->in, p->n_in, 0, &c->in));
    TRY(clone_list(c, p->out, p->n_out, 0, &c->out));
    c->now = c->late;
    return OK;
}

Err plan_clone(const Plan *p, Plan **out)
{
    Plan *c;
    TRY(plan_new(p->model, NULL, &p->options, &c));
    c->n_buffer = p->n_buffer; c->n_in = p->n_in; c->n_out = p->n_out; c->block_bytes = p->block_bytes;
    c->used_by_outer = plan_used(p);
    Err e = fill_clone(p, c);
    if (e != OK) plan_free(c);
    else *out = c;
    return e;
}
