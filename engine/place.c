/* Placing the values of a plan in one block of memory. */
#include "engine/plan_internal.h"

Buffer *root_of(Buffer *b)
{
    while (b->base) b = b->base;
    return b;
}

size_t base_offset(const Buffer *b)
{
    size_t at = 0;
    for (; b->base; b = b->base) at += b->base_at;
    return at;
}

/* A part of a larger value is written before the step that makes the whole. */
static void written_at(Buffer *b, int at)
{
    b = root_of(b);
    if (b->first < 0 || at < b->first) b->first = at;
    if (b->last < at) b->last = at;
}

static void read_at(Buffer *b, int at)
{
    b = root_of(b);
    if (b->last < at) b->last = at;
}

static void set_lifetimes(Plan *p)
{
    for (int i = 0; i < p->n_buffer; i++) p->buffer[i]->first = p->buffer[i]->last = -1;
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        for (int j = 0; j < s->n_out && !s->late; j++) if (s->out[j]) written_at(s->out[j], i);
        for (int j = 0; j < s->n_in; j++) if (s->in[j]) read_at(s->in[j], i);
        for (int j = 0; j < s->n_capture; j++) read_at(s->capture[j], i);
    }
    for (int i = 0; i < p->n_out; i++) read_at(p->out[i], p->n_step);
}

/* Joins ------------------------------------------------------------------------------------------------------------------------------- */

/* The value whose memory the inputs of s from number i on cover, from its first byte to its last; *n is how many inputs that takes. */
static Buffer *covered(const Step *s, int i, int *n)
{
    Buffer *root = root_of(s->in[i]);
    size_t at = 0;
    for (*n = 0; i + *n < s->n_in; ++*n) {
        Buffer *b = s->in[i + *n];
        if (at == root->bytes || root_of(b) != root || base_offset(b) != at) break;
        at += b->bytes;
    }
    return *n && at == root->bytes ? root : NULL;      /* 0: an empty value */
}

/* What is only made to be joined is written where it will lie. A value that already has a place, or is not this plan's to place, is copied when s runs. */
static void join(Step *s)
{
    size_t at = 0;
    for (int i = 0, n; i < s->n_in; i += n) {
        Buffer *part = covered(s, i, &n), *whole = s->out[0];
        if (part && part->first >= 0 && part->first < s->at && root_of(whole) != part) {
            part->base = whole;
            part->base_at = at;
        }
        n = part ? n : 1;
        for (int k = i; k < i + n; k++) at += s->in[k]->bytes;
    }
}

static void join_all(Plan *p)
{
    for (int i = 0; i < p->n_step; i++) if (p->step[i]->joins && !p->step[i]->late) join(p->step[i]);
}

/* Overwriting ------------------------------------------------------------------------------------------------------------------------- */

/* What a step adds to is at hand while its sum is made, and nobody wants it afterwards: half the memory to move, and a chain of residual blocks stays in caches. */
static void overwrite(Step *s)
{
    Buffer *y = s->n_out ? s->out[0] : NULL, *x = s->over ? root_of(s->over) : NULL;
    int uses = 0;
    for (int i = 0; i < s->n_in; i++) uses += s->in[i] && root_of(s->in[i]) == x;
    if (!x || s->over->panel != y->panel || y->base || uses != 1 || x->first < 0 || x->last != s->at || x->bytes != y->bytes) return;
    x->last = y->last;
    y->base = x;
    y->base_at = 0;
}

static void overwrite_all(Plan *p)
{
    for (int i = 0; i < p->n_step && !p->options.tap; i++) if (!p->step[i]->late) overwrite(p->step[i]);
}

/* Values that some step writes, and one buffer for the scratch of all steps: each thread finds its part of it where it left it, in a cache of its own. */
static Err collect(Plan *p, Buffer ***list, int *n, Buffer **scratch)
{
    Buffer **all = arena_array(p->arena, (size_t)p->n_buffer + 1, sizeof *all), *own = arena_alloc(p->arena, sizeof *own);
    if (!all || !own) return err_set(ERR_NOMEM, "Out of memory while planning.");
    *own = (Buffer){ .name = "scratch", .last = p->n_step };
    *n = 0;
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        if (s->late) continue;
        for (int j = 0; j < s->n_out; j++) {
            Buffer *b = s->out[j];
            if (!b || b->base) continue;
            if (p->options.keep) b->last = p->n_step;
            all[(*n)++] = b;
        }
        if (s->scratch_bytes > own->bytes) own->bytes = s->scratch_bytes;
    }
    if (own->bytes) all[(*n)++] = own;
    *scratch = own;
    *list = all;
    return OK;
}

/* With several threads, memory of one value only is written and read by the same threads in every run, each in its caches: a line that another processor holds is
 * dear. Where all values would leave the caches, memory that is used again is better. */
static void keep_apart(const Plan *p, Buffer *const *list, int n)
{
    const size_t most = 8 << 20;
    size_t bytes = 0;
    for (int i = 0; i < n; i++) bytes += list[i]->bytes;
    for (int i = 0; i < n && p->threads > 1 && bytes <= most; i++) {
        list[i]->first = 0;
        list[i]->last = p->n_step;
    }
}

Err place(Plan *p)
{
    Buffer **list = NULL, *scratch = NULL;
    int n = 0;
    set_lifetimes(p);
    if (!p->options.keep) {
        join_all(p);
        set_lifetimes(p);
        overwrite_all(p);
    }
    TRY(collect(p, &list, &n, &scratch));
    keep_apart(p, list, n);
    TRY(memplan(p->arena, list, n, &p->block_bytes));
    TRY(plan_workspace(p));
    for (int i = 0; i < n; i++) list[i]->data = p->block + list[i]->offset;
    for (int i = 0; i < p->n_buffer; i++) {
        Buffer *b = p->buffer[i], *root = root_of(b);
        if (b != root && root->data) b->data = (char *)root->data + base_offset(b);
    }
    for (int i = 0; i < p->n_step; i++) p->step[i]->scratch = scratch->bytes ? scratch->data : p->block;
    return OK;
}
