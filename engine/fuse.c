/* What steps take over from the steps behind them. See engine/fuse.h. */
#include <math.h>
#include <string.h>
#include "engine/floats.h"
#include "engine/fuse.h"
#include "engine/plan_internal.h"

/* Writers and readers ----------------------------------------------------------------------------------------------------------------- */

static void index_values(Plan *p)
{
    for (int i = 0; i < p->n_buffer; i++) {
        p->buffer[i]->writer = NULL;
        p->buffer[i]->readers = 0;
    }
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        for (int k = 0; k < s->n_in; k++) if (s->in[k]) s->in[k]->readers++;
        for (int k = 0; k < s->n_capture; k++) s->capture[k]->readers++;
        for (int k = 0; k < s->n_out; k++) if (s->out[k] && !s->late) s->out[k]->writer = s;
    }
    for (int i = 0; i < p->n_out; i++) p->out[i]->readers++;
}

Step *written_by(const Buffer *b, const char *type, int readers)
{
    return b && b->writer && (!readers || b->readers == readers) && is_type(b->writer, type) ? b->writer : NULL;
}

Step *only_from(const Step *s, int i, const char *type) { return i < s->n_in ? written_by(s->in[i], type, 1) : NULL; }

bool number_of(const Step *s, int i, float *value)
{
    const Buffer *b = i < s->n_in ? s->in[i] : NULL;
    bool number = b && b->constant && b->dtype == DT_F32 && b->count == 1;
    if (number) *value = *(const float *)b->data;
    return number;
}

bool is_number(const Step *s, int i, float value)
{
    float is;
    if (!number_of(s, i, &is)) return false;
    const Buffer *halves = s->in[i]->halves;
    const float rounding = !halves ? 1e-6f : halves->dtype == DT_F16 ? 0x1p-11f : 0x1p-8f;
    return fabsf(is - value) <= rounding * fabsf(value);
}

Buffer *beside_number(const Step *s, float value)
{
    for (int k = 0; s->n_in == 2 && k < 2; k++) if (is_number(s, k, value)) return s->in[!k];
    return NULL;
}

/* Drops the step that writes b when nobody reads what it writes, and then those that only it read: the nodes of a pattern. */
static void drop_unread(Plan *p, const Buffer *b)
{
    Step *s = b ? b->writer : NULL;
    if (!s) return;
    for (int k = 0; k < s->n_out; k++) if (s->out[k] && s->out[k]->readers) return;
    for (int k = 0; k < s->n_out; k++) if (s->out[k]) s->out[k]->writer = NULL;
    p->step[s->at] = NULL;
    for (int k = 0; k < s->n_in; k++) if (s->in[k]) s->in[k]->readers--;
    for (int k = 0; k < s->n_in; k++) drop_unread(p, s->in[k]);
}

Err step_become(Plan *p, Step *s, const Op *row, Buffer *const *in, int n_in)
{
    Buffer **before = s->in;
    int n_before = s->n_in;
    TRY(plan_array(p, (n_in > row->max_in ? n_in : row->max_in) + 1, sizeof *s->in, &s->in));
    TRY(plan_array(p, 1, sizeof *s->fused, &s->fused));
    memcpy(s->in, in, (size_t)n_in * sizeof *in);
    s->n_in = n_in;
    s->op = row;
    for (int k = 0; k < n_in; k++) if (in[k]) in[k]->readers++;
    for (int k = 0; k < n_before; k++) if (before[k]) before[k]->readers--;
    for (int k = 0; k < n_before; k++) drop_unread(p, before[k]);
    return OK;
}

void close_gaps(Plan *p)
{
    int n = 0;
    for (int i = 0; i < p->n_step; i++) {
        if (!p->step[i]) continue;
        p->step[i]->at = n;
        p->step[n++] = p->step[i];
    }
    p->n_step = n;
}

/* Absorbing --------------------------------------------------------------------------------------------------------------------------- */

/* The step whose result x is, if it can take over what happens to x. */
static Step *absorber(const Buffer *x)
{
    Step *w = x->writer;
    return w && x->readers == 1 && x->dtype == DT_F32 && w->op->fuses && w->op->fuses(w) >= 0 ? w : NULL;
}

/* `reader` becomes part of w, which takes its place and writes what it wrote. */
static void absorb(Plan *p, Step *w, Step *reader)
{
    w->out[0] = reader->out[0];
    w->out[0]->writer = w;
    p->step[w->at] = NULL;
    w->at = reader->at;
    p->step[w->at] = w;
}

static Err fused_of(Plan *p, Step *s, Fused **out)
{
    if (!s->fused) TRY(plan_array(p, 1, sizeof *s->fused, &s->fused));
    *out = s->fused;
    return OK;
}

/* One more input; operators find their own by number, so it comes behind all that they could have. */
static Err add_input(Plan *p, Step *s, Buffer *b, int *number)
{
    int n = s->n_in > s->op->max_in ? s->n_in : s->op->max_in;
    Buffer **in = arena_array(p->arena, (size_t)n + 2, sizeof *in);
    if (!in) return err_set(ERR_NOMEM, "Out of memory while planning.");
    memcpy(in, s->in, (size_t)s->n_in * sizeof *in);
    in[n] = b;
    s->in = in;
    s->n_in = n + 1;
    *number = n;
    return OK;
}

/* Scales and shifts of channels --------------------------------------------------------------------------------------------------------- */

/* Element for channel c of a constant that has one for each channel of y, or one for all; NULL: it is something else. */
static const float *per_channel(const Buffer *b, const Shape *y, int axis, int64_t *step)
{
    int missing = y->rank - b->shape.rank;
    if (!b->constant || b->dtype != DT_F32 || missing < 0) return NULL;
    *step = b->count > 1;
    if (b->count != 1 && b->count != y->dim[axis]) return NULL;
    for (int i = 0; b->count > 1 && i < b->shape.rank; i++) if (b->shape.dim[i] != 1 && i + missing != axis) return NULL;
    return b->data;
}

static Err scale_of(Plan *p, Step *w, int64_t channels, Fused **out)
{
    TRY(fused_of(p, w, out));
    Fused *f = *out;
    if (f->scale) return OK;
    TRY(plan_array(p, channels, sizeof *f->scale, &f->scale));
    TRY(plan_array(p, channels, sizeof *f->shift, &f->shift));
    for (int64_t c = 0; c < channels; c++) f->scale[c] = 1;
    return OK;
}

/* y = (x - mean) * (gamma / sqrt(variance + epsilon)) + beta */
static Err absorb_norm(Plan *p, Step *w, Step *r, int axis)
{
    const float *v[4];
    int64_t channels = r->out[0]->shape.dim[axis];
    Fused *f;
    if (axis != 1 || attr_i(r->node, "training_mode", 0) || (r->n_out > 1 && r->out[1])) return OK;
    for (int k = 0; k < 4; k++) {
        const Buffer *b = r->in[k + 1];
        if (!b->constant || b->dtype != DT_F32 || b->count != channels) return OK;
        v[k] = b->data;
    }
    TRY(scale_of(p, w, channels, &f));
    double epsilon = (double)attr_f(r->node, "epsilon", 1e-5f);
    for (int64_t c = 0; c < channels; c++) {
        double factor = (double)v[0][c] / sqrt((double)v[3][c] + epsilon);
        f->scale[c] = (float)((double)f->scale[c] * factor);
        f->shift[c] = (float)(((double)f->shift[c] - (double)v[2][c]) * factor + (double)v[1][c]);
    }
    absorb(p, w, r);
    return OK;
}

/* x op constant, or constant op x for Add and Mul. */
static Err absorb_constant(Plan *p, Step *w, Step *r, const Buffer *constant, int axis)
{
    int64_t step, channels = r->out[0]->shape.dim[axis];
    const float *v = per_channel(constant, &r->out[0]->shape, axis, &step);
    char op = *r->op->type == 'S' ? '-' : *r->op->type == 'A' ? '+' : *r->op->type == 'M' ? '*' : '/';
    Fused *f;
    if (!v) return OK;
    TRY(scale_of(p, w, channels, &f));
    for (int64_t c = 0; c < channels; c++) {
        float u = v[c * step];
        if (op == '+') f->shift[c] += u;
        if (op == '-') f->shift[c] -= u;
        if (op == '*') { f->scale[c] *= u; f->shift[c] *= u; }
        if (op == '/') { f->scale[c] /= u; f->shift[c] /= u; }
    }
    absorb(p, w, r);
    return OK;
}

/* Posts --------------------------------------------------------------------------------------------------------------------------------- */

static bool clip_limits(const Step *s, Activate *a)
{
    *a = (Activate){ ACTIVATION_CLAMP, attr_f(s->node, "min", -INFINITY), attr_f(s->node, "max", INFINITY) };
    for (int i = 1; i < 3 && i < s->n_in; i++) {
        const Buffer *b = s->in[i];
        if (!b) continue;
        if (!b->constant || b->count != 1 || b->dtype != DT_F32) return false;
        *(i == 1 ? &a->alpha : &a->beta) = *(const float *)b->data;
    }
    return a->alpha <= a->beta;
}

static bool arithmetic_of(const Step *s, Arithmetic *kind)
{
    static const struct { const char *type; Arithmetic kind; } ROW[] = {
        { "Add", ARITHMETIC_ADD }, { "Sub", ARITHMETIC_SUB }, { "Mul", ARITHMETIC_MUL }, { "Div", ARITHMETIC_DIV },
    };
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        *kind = ROW[i].kind;
        if (is_type(s, ROW[i].type)) return true;
    }
    return false;
}

static Err add_post(Plan *p, Step *w, Step *r, const Post *post)
{
    Fused *f;
    TRY(fused_of(p, w, &f));
    f->posts.post[f->posts.n++] = *post;
    absorb(p, w, r);
    return OK;
}

static bool has_room(const Step *w) { return !w->fused || w->fused->posts.n < MAX_POSTS; }

static bool same_size(const Buffer *a, const Buffer *b) { return a->dtype == b->dtype && shape_equal(&a->shape, &b->shape); }

/* r combines two values: the step that makes one of them, the later one if both can, takes over. */
static Err fuse_pair(Plan *p, Step *r, Arithmetic kind)
{
    Step *w = NULL;
    int from = 0, input = 0;
    for (int k = 0; k < 2; k++) {
        Step *candidate = absorber(r->in[k]);
        bool turns = k == 1 && (kind == ARITHMETIC_SUB || kind == ARITHMETIC_DIV);
        if (!candidate || turns || !same_size(r->in[k], r->out[0]) || (w && candidate->at < w->at)) continue;
        w = candidate;
        from = k;
    }
    if (!w || r->in[0] == r->in[1]) return OK;
    Buffer *other = r->in[!from];
    bool plain = !w->fused || !w->fused->posts.n;
    if (plain && other->constant) TRY(absorb_constant(p, w, r, other, w->op->fuses(w)));
    if (p->step[r->at] == w || !has_room(w) || !same_size(other, r->out[0])) return OK;
    TRY(add_input(p, w, other, &input));
    return add_post(p, w, r, &(Post){ .combines = true, .arithmetic = kind, .input = input });
}

static Err fuse_step(Plan *p, Step *r)
{
    Arithmetic kind;
    Post post = { 0 };
    if (r->late || r->n_in < 1 || !r->in[0] || r->n_out < 1 || !r->out[0] || r->out[0]->dtype != DT_F32) return OK;
    if (arithmetic_of(r, &kind)) return fuse_pair(p, r, kind);
    Step *w = absorber(r->in[0]);
    if (!w || !same_size(r->in[0], r->out[0])) return OK;
    if (is_type(r, "BatchNormalization")) return w->fused && w->fused->posts.n ? OK : absorb_norm(p, w, r, w->op->fuses(w));
    if (r->op == &op_Activation) post = r->fused->posts.post[0];
    else if (!(is_type(r, "Clip") ? clip_limits(r, &post.activate) : activation_of(r, &post.activate))) return OK;
    return has_room(w) ? add_post(p, w, r, &post) : OK;
}

Err fuse(Plan *p)
{
    index_values(p);
    TRY(fuse_norms(p));
    TRY(fuse_activations(p));
    TRY(fuse_rotary(p));
    TRY(fuse_attention(p));
    TRY(fuse_slices(p));
    for (int i = 0; i < p->n_step; i++) if (p->step[i]) TRY(fuse_step(p, p->step[i]));
    close_gaps(p);
    return OK;
}
