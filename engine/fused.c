/* How operators that fuse find their weights, biases and posts. See engine/fuse.h. */
#include <math.h>
#include <string.h>
#include "engine/fuse.h"
#include "engine/plan_internal.h"
#include "engine/walk.h"

const float *fused_scale(const Step *s, int64_t channels)
{
    const float *scale = s->fused ? s->fused->scale : NULL;
    for (int64_t c = 0; scale && c < channels; c++) if (scale[c] != 1) return scale;
    return NULL;
}

Err fused_weights(Plan *p, const Step *s, int axis, const float **out)
{
    Buffer *b = s->in[1];
    const float *scale = fused_scale(s, b->shape.dim[axis]);
    TRY(buffer_load_temporary(p, b));
    const float *from = b->data;
    int64_t outer = shape_span(&b->shape, 0, axis), channels = b->shape.dim[axis], inner = shape_span(&b->shape, axis + 1, b->shape.rank);
    void *copy;
    *out = from;
    if (!scale) return OK;
    TRY(plan_temporary(p, b->bytes, &copy));
    float *to = copy;
    for (int64_t o = 0; o < outer; o++, from += channels * inner, to += channels * inner) {
        for (int64_t c = 0; inner == 1 && c < channels; c++) to[c] = from[c] * scale[c];
        for (int64_t c = 0; inner != 1 && c < channels; c++)
            for (int64_t i = c * inner; i < (c + 1) * inner; i++) to[i] = from[i] * scale[c];
    }
    *out = copy;
    return OK;
}

Err fused_bias(Plan *p, const Step *s, const Buffer *bias, int64_t channels, const float **out)
{
    const Fused *f = s->fused;
    const float *from = bias ? bias->data : NULL;
    float *sum;
    *out = from;
    if (!f || !f->scale) return OK;
    TRY(plan_array(p, channels, sizeof *sum, &sum));
    for (int64_t c = 0; c < channels; c++) sum[c] = from ? from[c] * f->scale[c] + f->shift[c] : f->shift[c];
    *out = sum;
    return OK;
}

Buffer *fused_residual(const Step *s)
{
    const Post *first = s->fused && s->fused->posts.n ? &s->fused->posts.post[0] : NULL;
    return first && first->combines && first->arithmetic == ARITHMETIC_ADD ? s->in[first->input] : NULL;
}

unsigned fused_operands(const Step *s)
{
    unsigned operands = 0;
    for (int i = 0; s->fused && i < s->fused->posts.n; i++) {
        const Post *post = &s->fused->posts.post[i];
        if (post->combines) operands |= 1u << post->input;
    }
    return operands;
}

void fused_run(const Step *s, bool adds, MultiplyRun *run)
{
    static const Posts none;
    const Posts *posts = s->fused ? &s->fused->posts : &none;
    int i = 0;
    run->lo = -INFINITY;
    run->hi = INFINITY;
    const Buffer *residual = adds ? fused_residual(s) : NULL;
    if (residual) {
        run->residual = residual->data;
        i++;
    }
    if (i < posts->n && !posts->post[i].combines && posts->post[i].activate.kind == ACTIVATION_CLAMP) {
        run->lo = posts->post[i].activate.alpha;
        run->hi = posts->post[i++].activate.beta;
    }
    for (; i < posts->n; i++) {
        Post *post = &run->posts.post[run->posts.n++];
        *post = posts->post[i];
        if (post->combines) post->operand = s->in[post->input]->data;
    }
}

bool fused_combines(const Step *s)
{
    for (int i = 0; s->fused && i < s->fused->posts.n; i++) if (s->fused->posts.post[i].combines) return true;
    return false;
}

Step *only_reader(const Plan *p, const Buffer *b)
{
    Step *reader = NULL;
    int uses = 0;
    for (int i = 0; i < p->n_step; i++) {
        Step *s = p->step[i];
        for (int k = 0; k < s->n_capture; k++) uses += s->capture[k] == b;
        for (int k = 0; k < s->n_in; k++) uses += s->in[k] == b;
        if (s->n_in > 0 && s->in[0] == b) reader = s;
    }
    for (int i = 0; i < p->n_out; i++) uses += p->out[i] == b;
    for (int i = 0; i < p->n_buffer; i++) uses += p->buffer[i]->base == b;
    return uses == 1 ? reader : NULL;
}
