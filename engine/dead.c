/* Work that pruning left dead, dropped before products are prepared.
 *
 *   forward    An output channel without weights is constant: its bias, through what was fused behind it. Constants pass through activations, pools, joins and
 *              sums. Where a product reads a constant channel, what the channel contributes goes into the bias and the channel's weights become zero.
 *   backward   An output channel that nobody reads (all weights that meet it are zero) needs no weights either.
 *   removed    Channels between two convolutions that the second one does not read disappear, also where depthwise ones lie between: dense products and planes get
 *              smaller. Elsewhere channels keep their places; what became zero costs a sparse product nothing.
 *
 * Only float32. Channels are axis 1, of tokens the last axis. A constant other than 0 that meets padding stays, since the border sees less of it. */
#include <string.h>
#include "engine/conv.h"
#include "engine/fuse.h"
#include "engine/plan_internal.h"
#include "engine/run_ops.h"

/* What is known of the channels of a value; n 0: nothing, and all of them count as read. */
typedef struct Channels { int64_t n; int axis; bool *constant, *read; float *value; } Channels;

typedef struct Dead { Plan *plan; Channels *of; int n; Channels none; const Kernels *kernels; } Dead;

/* A product's weights: rows are output channels and columns input channels, both of one group, with taps that lie together. */
typedef struct Product {
    int64_t groups, rows, columns, taps, group_step, row_step, column_step;
    bool pads;
    const char *weights;       /* at any alignment */
} Product;

static bool conv_product(const Step *s, Product *p)
{
    ConvShape c;
    if (conv_shape(s, s->in[0], s->in[1], &c) != OK) return false;
    *p = (Product){ .groups = c.group, .rows = c.outputs / c.group, .columns = c.channels, .taps = c.kernel[0] * c.kernel[1] * c.kernel[2] };
    p->column_step = p->taps;
    p->row_step = p->columns * p->taps;
    p->group_step = p->rows * p->row_step;
    for (int i = 0; i < 3; i++) p->pads |= c.pad[i] != 0 || (c.out[i] - 1) * c.stride[i] + (c.kernel[i] - 1) * c.dilation[i] >= c.in[i];
    return true;
}

static bool token_product(const Step *s, Product *p)
{
    const Shape *w = &s->in[1]->shape;
    bool transposed = is_type(s, "Gemm") && attr_i(s->node, "transB", 0);
    if (w->rank != 2) return false;
    int64_t k = w->dim[transposed], n = w->dim[!transposed];
    *p = (Product){ .groups = 1, .rows = n, .columns = k, .taps = 1, .row_step = transposed ? k : 1, .column_step = transposed ? 1 : n };
    return true;
}

static bool read_product(const Dead *d, const Step *s, Product *p)
{
    const void *weights = NULL;
    if (s->late || !s->op->fuses || is_type(s, "ConvTranspose") || s->op->fuses(s) < 0) return false;
    if (!(is_type(s, "Conv") ? conv_product(s, p) : token_product(s, p))) return false;
    if (s->in[1]->halves && !s->in[1]->data) return false;           /* made when it is packed */
    if (s->in[1]->data) weights = s->in[1]->data;
    else if (constant_read(d->plan->model, s->in[1]->stored, &weights) != OK) return false;
    p->weights = weights;
    return true;
}

static int64_t weight_place(const Product *p, int64_t out, int64_t column)
{
    return out / p->rows * p->group_step + out % p->rows * p->row_step + column * p->column_step;
}

static float weight_at(const Product *p, int64_t at)
{
    float w;
    memcpy(&w, p->weights + at * (int64_t)sizeof w, sizeof w);
    return w;
}

static bool meets(const Product *p, int64_t out, int64_t column)
{
    int64_t at = weight_place(p, out, column);
    for (int64_t t = 0; t < p->taps; t++) if (weight_at(p, at + t) != 0) return true;
    return false;
}

static bool has_weights(const Product *p, int64_t out)
{
    for (int64_t c = 0; c < p->columns; c++) if (meets(p, out, c)) return true;
    return false;
}

static int product_axis(const Step *s, const Buffer *b) { return is_type(s, "Conv") ? 1 : b->shape.rank - 1; }

/* Knowledge of values ------------------------------------------------------------------------------------------------------------------- */

/* Constants made here have no entry: nothing is known of them. */
static Channels *channels_of(Dead *d, const Buffer *b) { return b->number < d->n ? &d->of[b->number] : &d->none; }

static Err know(Dead *d, const Buffer *b, int axis, Channels **out)
{
    Channels *c = channels_of(d, b);
    int64_t n = b->shape.dim[axis];
    void *memory;
    TRY(plan_temporary(d->plan, (size_t)n * (sizeof(float) + 2 * sizeof(bool)) + 1, &memory));
    memset(memory, 0, (size_t)n * (sizeof(float) + 2 * sizeof(bool)));
    *c = (Channels){ .n = n, .axis = axis, .value = memory };
    c->constant = (bool *)(c->value + n);
    c->read = c->constant + n;
    *out = c;
    return OK;
}

/* A copy of the step's input that may change; NULL before: zeros. */
static Err own_constant(Dead *d, Step *s, int input, int64_t n, float **out)
{
    Buffer *b, *old = s->in[input];
    TRY(buffer_new(d->plan, old ? old->name : "bias", &b));
    TRY(buffer_set(b, DT_F32, old ? &old->shape : &(Shape){ 1, { n } }));
    TRY(plan_alloc(d->plan, b->bytes, &b->data));
    memset(b->data, 0, b->bytes);
    if (old) TRY(buffer_load(d->plan, old));
    if (old) memcpy(b->data, old->data, b->bytes);
    b->constant = true;
    s->in[input] = b;
    if (s->n_in <= input) s->n_in = input + 1;
    *out = b->data;
    return OK;
}

/* Forward ------------------------------------------------------------------------------------------------------------------------------- */

/* Whether the constant input channel of this column, in this group, can go into the bias. */
static bool folds(const Product *p, const Channels *in, int64_t channel)
{
    return in->constant[channel] && (in->value[channel] == 0 || !p->pads);
}

static bool anything_folds(const Product *p, const Channels *in)
{
    for (int64_t ch = 0; ch < in->n; ch++) {
        if (!folds(p, in, ch)) continue;
        for (int64_t r = 0; r < p->rows; r++) if (meets(p, ch / p->columns * p->rows + r, ch % p->columns)) return true;
    }
    return false;
}

static Err fold_inputs(Dead *d, Step *s, Product *p)
{
    const Channels *in = channels_of(d, s->in[0]);
    float *w, *bias;
    bool takes_bias = !is_type(s, "MatMul");
    if (in->n != p->groups * p->columns || in->axis != product_axis(s, s->in[0]) || !takes_bias || !anything_folds(p, in)) return OK;
    TRY(own_constant(d, s, 1, 0, &w));
    TRY(own_constant(d, s, 2, p->groups * p->rows, &bias));
    p->weights = (const char *)w;
    for (int64_t out = 0; out < p->groups * p->rows; out++)
        for (int64_t c = 0; c < p->columns; c++) {
            int64_t ch = out / p->rows * p->columns + c, at = weight_place(p, out, c);
            if (!folds(p, in, ch)) continue;
            double sum = 0;
            for (int64_t t = 0; t < p->taps; t++) sum += (double)w[at + t];
            bias[out] += (float)(sum * (double)in->value[ch]);
            memset(w + at, 0, (size_t)p->taps * sizeof *w);
        }
    return OK;
}

/* The value of channel c behind the posts, if every operand is constant there. */
static bool through_posts(Dead *d, const Step *s, int64_t c, float *v)
{
    const Posts *posts = s->fused ? &s->fused->posts : NULL;
    for (int i = 0; posts && i < posts->n; i++) {
        const Post *p = &posts->post[i];
        const Channels *operand = p->combines ? channels_of(d, s->in[p->input]) : NULL;
        if (operand && (operand->n <= c || operand->axis != channels_of(d, s->out[0])->axis || !operand->constant[c])) return false;
        if (operand) d->kernels->combine_f32(&(Combine){ p->arithmetic, 1, 1 }, v, &operand->value[c], v, 1);
        else d->kernels->activate_f32(&p->activate, v, v, 1, 1, 0);
    }
    return true;
}

static Err learn_product(Dead *d, Step *s, Product *p)
{
    Channels *out;
    TRY(fold_inputs(d, s, p));
    TRY(know(d, s->out[0], product_axis(s, s->out[0]), &out));
    const Buffer *b = is_type(s, "MatMul") || s->n_in < 3 ? NULL : s->in[2];
    if (out->n != p->groups * p->rows || (b && b->count != out->n)) { out->n = 0; return OK; }
    for (int64_t c = 0; c < out->n; c++) {
        if (has_weights(p, c)) continue;
        float v = b ? ((const float *)b->data)[c] : 0;
        if (s->fused && s->fused->scale) v = v * s->fused->scale[c] + s->fused->shift[c];
        out->constant[c] = through_posts(d, s, c, &v);
        out->value[c] = v;
    }
    return OK;
}

/* Steps that keep every channel to itself, and constant ones constant. */
static bool keeps_channels(const Step *s, const Channels *in)
{
    const Shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
    if (s->late || !in->n) return false;
    bool each = is_type(s, "Activation") || is_type(s, "Identity") || is_type(s, "MaxPool") || is_type(s, "GlobalAveragePool") || is_type(s, "GlobalMaxPool");
    if (each) return s->n_out == 1;
    if (is_type(s, "AveragePool")) return !attr_i(s->node, "count_include_pad", 0);
    bool view = is_type(s, "Flatten") || is_type(s, "Reshape") || is_type(s, "Squeeze");
    return view && in->axis == 1 && y->rank == 2 && x->dim[0] == y->dim[0] && y->dim[1] == in->n && s->in[0]->count == s->out[0]->count;
}

static Err learn_kept(Dead *d, const Step *s)
{
    const Channels *in = channels_of(d, s->in[0]);
    Channels *out;
    TRY(know(d, s->out[0], in->axis, &out));
    for (int64_t c = 0; c < out->n; c++) {
        out->value[c] = in->value[c];
        out->constant[c] = in->constant[c] && (!s->fused || through_posts(d, s, c, &out->value[c]));
    }
    return OK;
}

/* Whether s is a Concat of values whose channels are known, along them. */
static bool joins_channels(Dead *d, const Step *s)
{
    if (s->late || !is_type(s, "Concat")) return false;
    for (int i = 0; i < s->n_in; i++) {
        const Channels *in = channels_of(d, s->in[i]);
        int64_t axis = attr_i(s->node, "axis", 1);
        if (!in->n || in->axis != (axis < 0 ? axis + s->in[i]->shape.rank : axis)) return false;
    }
    return true;
}

static Err learn_joined(Dead *d, const Step *s)
{
    Channels *out;
    int64_t at = 0;
    TRY(know(d, s->out[0], channels_of(d, s->in[0])->axis, &out));
    for (int i = 0; i < s->n_in; i++) {
        const Channels *in = channels_of(d, s->in[i]);
        memcpy(out->constant + at, in->constant, (size_t)in->n * sizeof *in->constant);
        memcpy(out->value + at, in->value, (size_t)in->n * sizeof *in->value);
        at += in->n;
    }
    return OK;
}

/* Backward ------------------------------------------------------------------------------------------------------------------------------ */

static void read_all(Dead *d, const Buffer *b)
{
    Channels *c = channels_of(d, b);
    for (int64_t i = 0; i < c->n; i++) c->read[i] = true;
}

static void read_some(Dead *d, const Buffer *b, const bool *read, int64_t n)
{
    Channels *c = channels_of(d, b);
    for (int64_t i = 0; i < c->n; i++) c->read[i] |= i >= n || read[i];
}

/* Rows that nobody reads lose their weights; then what the other rows meet is read. */
static Err read_by_product(Dead *d, Step *s, Product *p)
{
    Channels *in = channels_of(d, s->in[0]), *out = channels_of(d, s->out[0]);
    float *w = NULL;
    for (int64_t c = 0; c < out->n; c++) {
        if (out->read[c] || !has_weights(p, c)) continue;
        if (!w) TRY(own_constant(d, s, 1, 0, &w));
        p->weights = (const char *)w;
        for (int64_t k = 0; k < p->columns; k++) memset(w + weight_place(p, c, k), 0, (size_t)p->taps * sizeof *w);
    }
    for (int i = 2; i < s->n_in; i++) if (s->in[i]) read_some(d, s->in[i], out->read, out->n);
    if (in->n != p->groups * p->columns || in->axis != product_axis(s, s->in[0])) { read_all(d, s->in[0]); return OK; }
    for (int64_t ch = 0; ch < in->n; ch++)
        for (int64_t r = 0; r < p->rows && !in->read[ch]; r++) in->read[ch] = meets(p, ch / p->columns * p->rows + r, ch % p->columns);
    return OK;
}

static Err read_by(Dead *d, Step *s)
{
    Product p;
    const Channels *out = s->n_out && s->out[0] ? channels_of(d, s->out[0]) : NULL;
    if (read_product(d, s, &p) && out->n) return read_by_product(d, s, &p);
    if (out && out->n && joins_channels(d, s)) {
        int64_t at = 0;
        for (int i = 0; i < s->n_in; at += channels_of(d, s->in[i++])->n) read_some(d, s->in[i], out->read + at, out->n - at);
        return OK;
    }
    bool kept = out && out->n && keeps_channels(s, channels_of(d, s->in[0]));
    for (int i = 0; i < s->n_in; i++) {
        if (!s->in[i]) continue;
        if (kept && i == 0) read_some(d, s->in[i], out->read, out->n);
        else read_all(d, s->in[i]);
    }
    for (int i = 0; i < s->n_capture; i++) read_all(d, s->capture[i]);
    return OK;
}

static Err learn(Dead *d, Step *s)
{
    Product p;
    if (read_product(d, s, &p)) return learn_product(d, s, &p);
    if (s->n_in && s->n_out && s->in[0] && s->out[0] && keeps_channels(s, channels_of(d, s->in[0]))) return learn_kept(d, s);
    return joins_channels(d, s) ? learn_joined(d, s) : OK;
}

/* Removal ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Live { const int64_t *channel; int64_t n; } Live;

/* Input i of s keeps the live channels, which are this axis. */
static Err keep_input(Dead *d, Step *s, int i, int axis, const Live *live)
{
    Buffer *old = s->in[i], *b;
    Shape shape = old->shape;
    int64_t outer = 1, channels = shape.dim[axis];
    shape.dim[axis] = live->n;
    TRY(buffer_load(d->plan, old));
    TRY(buffer_new(d->plan, old->name, &b));
    TRY(buffer_set(b, DT_F32, &shape));
    TRY(plan_alloc(d->plan, b->bytes, &b->data));
    b->constant = true;
    s->in[i] = b;
    for (int k = 0; k < axis; k++) outer *= shape.dim[k];
    const size_t inner = b->bytes / (size_t)(outer * live->n);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t c = 0; c < live->n; c++)
            memcpy((char *)b->data + (size_t)(o * live->n + c) * inner, (const char *)old->data + (size_t)(o * channels + live->channel[c]) * inner, inner);
    return OK;
}

static Err keep_outputs(Dead *d, Step *s, const Live *live)
{
    Shape y = s->out[0]->shape;
    y.dim[1] = live->n;
    TRY(keep_input(d, s, 1, 0, live));
    if (s->n_in > 2 && s->in[2]) TRY(keep_input(d, s, 2, 0, live));
    for (int64_t c = 0; s->fused && s->fused->scale && c < live->n; c++) {
        s->fused->scale[c] = s->fused->scale[live->channel[c]];
        s->fused->shift[c] = s->fused->shift[live->channel[c]];
    }
    return buffer_set(s->out[0], DT_F32, &y);
}

/* The convolution that alone reads what s makes. */
static Step *conv_behind(const Dead *d, const Step *s, Product *p)
{
    Step *next = fused_combines(s) ? NULL : only_reader(d->plan, s->out[0]);
    return next && is_type(next, "Conv") && read_product(d, next, p) ? next : NULL;
}

/* The channels that this product meets; n 0: all, or none. */
static Err live_of(const Dead *d, const Product *p, Live *live)
{
    int64_t *channel;
    void *memory;
    TRY(plan_temporary(d->plan, (size_t)(p->columns + 1) * sizeof *channel, &memory));
    channel = memory;
    *live = (Live){ .channel = channel };
    for (int64_t c = 0; c < p->columns; c++) {
        int64_t r = 0;
        while (r < p->rows && !meets(p, r, c)) r++;
        if (r < p->rows) channel[live->n++] = c;
    }
    if (live->n == p->columns) live->n = 0;
    return OK;
}

/* What lies between s and the next convolution over all channels. */
static Err narrow_behind(Dead *d, Step *s)
{
    enum { MOST = 8 };
    Step *chain[MOST], *next = s;
    Product p;
    Live live;
    int n = 0;
    if (!is_type(s, "Conv") || !read_product(d, s, &p) || p.groups != 1) return OK;
    do {
        chain[n++] = next;
        next = conv_behind(d, next, &p);
    } while (next && n < MOST && p.groups > 1 && p.rows == 1 && p.columns == 1);
    if (!next || p.groups != 1) return OK;
    TRY(live_of(d, &p, &live));
    if (!live.n) return OK;
    for (int i = 0; i < n; i++) TRY(keep_outputs(d, chain[i], &live));
    return keep_input(d, next, 1, 1, &live);
}

Err drop_dead(Plan *p)
{
    Dead d = { .plan = p, .n = p->n_buffer };
    void *of;
    TRY(find_kernels(&d.kernels));
    TRY(plan_temporary(p, (size_t)(p->n_buffer + 1) * sizeof *d.of, &of));
    d.of = memset(of, 0, (size_t)(p->n_buffer + 1) * sizeof *d.of);
    for (int i = 0; i < p->n_step; i++) TRY(learn(&d, p->step[i]));
    for (int i = 0; i < p->n_out; i++) read_all(&d, p->out[i]);
    for (int i = p->n_step - 1; i >= 0; i--) TRY(read_by(&d, p->step[i]));
    for (int i = 0; i < p->n_step; i++) TRY(narrow_behind(&d, p->step[i]));
    arena_reset(p->late, p->late_start);
    return OK;
}
