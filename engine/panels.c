#include "engine/panels.h"
#include <omp.h>
#include "engine/multiply.h"
#include "engine/walk.h"
#include "kernels/whole.h"

enum { INPUTS = 32, GROUP = PANEL_VECTOR };    /* bits of a step's inputs; tokens that are normalized at a time */

/* A late step is prepared in every run. */
static void allow(Step *s, Allowed allowed)
{
    int i = 0;
    while (s->allowed[i].panel && s->allowed[i].panel != allowed.panel) i++;
    s->allowed[i] = allowed;
}

void panels_allow(Step *s, int panel, unsigned inputs, unsigned alike) { allow(s, (Allowed){ panel, inputs | alike, alike, true }); }

void panels_allow_inputs(Step *s, int panel, unsigned inputs) { allow(s, (Allowed){ panel, inputs, 0, false }); }

static bool has_bit(unsigned inputs, int i) { return i < INPUTS && inputs >> i & 1; }

static bool can_read(const Step *s, const Buffer *b, int panel)
{
    const Allowed none = { 0 }, *allowed = &none;
    for (int i = 0; i < LAYOUTS; i++) if (s->allowed[i].panel == panel) allowed = &s->allowed[i];
    for (int i = 0; i < s->n_capture; i++) if (s->capture[i] == b) return false;
    for (int i = 0; i < s->n_in; i++) if (s->in[i] == b && !has_bit(allowed->inputs, i)) return false;
    return true;
}

/* Outputs stay as they are, if those who read them do not take any layout. */
static bool all_can_read(const Plan *p, const Buffer *b, int panel)
{
    const bool *any = p->any_layout && panel == BY_CHANNEL ? p->any_layout + p->n_in : NULL;
    for (int i = 0; i < p->n_out; i++) if (p->out[i] == b && !(any && any[i])) return false;
    for (int i = 0; i < p->n_step; i++) if (!can_read(p->step[i], b, panel)) return false;
    return true;
}

/* Makes both row-major where one of two values is that must lie alike; whether there were any. */
static bool part_unlike(Plan *p)
{
    bool any = false;
    for (int i = 0; i < p->n_step; i++) {
        const Step *s = p->step[i];
        unsigned alike = 0;
        for (int l = 0; l < LAYOUTS; l++) alike |= s->allowed[l].alike;
        for (int k = 0; k < s->n_in; k++) {
            if (!has_bit(alike, k) || !s->in[k]->panel == !s->out[0]->panel) continue;
            s->in[k]->panel = s->out[0]->panel = 0;
            any = true;
        }
    }
    return any;
}

/* The first layout that the step allows and all who read what it makes. */
static void choose(const Plan *p, const Step *s)
{
    for (int l = 0; l < LAYOUTS && s->allowed[l].panel && s->out[0]->count; l++) {
        if (!s->allowed[l].output || !all_can_read(p, s->out[0], s->allowed[l].panel)) continue;
        s->out[0]->panel = s->allowed[l].panel;
        return;
    }
}

static size_t bytes_of(const Buffer *b)
{
    const int64_t channels = b->shape.rank > 1 ? b->shape.dim[1] : 1;
    if (b->panel == IN_PANELS) return multiply_panels_bytes(kernels_best(), channels, b->count / channels);
    return b->panel > 0 ? (size_t)(round_up(b->count / features_of(b), b->panel) * features_of(b)) * sizeof(float) : b->bytes;
}

void panels_choose(Plan *p)
{
    if (p->options.keep || p->options.tap) return;
    for (int i = 0; i < p->n_step; i++) choose(p, p->step[i]);
    for (int i = 0; i < p->n_in; i++) if (p->any_layout && p->any_layout[i] && all_can_read(p, p->in[i], BY_CHANNEL)) p->in[i]->panel = BY_CHANNEL;
    while (part_unlike(p)) { }
    for (int i = 0; i < p->n_step; i++) p->step[i]->joins |= p->step[i]->joins_channels && p->step[i]->out[0]->panel == BY_CHANNEL;
    for (int i = 0; i < p->n_buffer; i++) p->buffer[i]->bytes = bytes_of(p->buffer[i]);
}

/* Normalization ------------------------------------------------------------------------------------------------------------------------- */

size_t panels_normalize_scratch(const Plan *p, const Step *s)
{
    return (size_t)p->threads * GROUP * (size_t)features_of(s->out[0]) * sizeof(float);
}

static float *token_at(const Buffer *b, int64_t t)
{
    int64_t features = features_of(b);
    return (float *)b->data + (b->panel ? t / b->panel * b->panel * features + t % b->panel : t * features);
}

/* GROUP tokens from t on; rows are turned into columns and back. */
static void normalize_group(const Step *s, const Normalize *n, int64_t t, float *scratch)
{
    const Kernels *k = kernels_best();
    const Buffer *x = s->in[0], *y = s->out[0];
    const int features = (int)features_of(y), tokens = least(y->count / features - t, GROUP);
    if (!x->panel) k->transpose_f32(token_at(x, t), (size_t)features, tokens, features, scratch, GROUP);
    k->normalize_columns_f32(n, x->panel ? token_at(x, t) : scratch, x->panel ? (size_t)x->panel : GROUP, y->panel ? token_at(y, t) : scratch,
                             y->panel ? (size_t)y->panel : GROUP, (size_t)features);
    if (!y->panel) k->transpose_f32(scratch, GROUP, features, tokens, token_at(y, t), (size_t)features);
}

void panels_normalize(const Plan *p, const Step *s, const Normalize *n)
{
    const int64_t features = features_of(s->out[0]), tokens = s->out[0]->count / features;
    const int step = s->in[0]->panel || s->out[0]->panel ? GROUP : 1;
    #pragma omp parallel for num_threads(p->threads) if (tokens * features > PARALLEL_WORK / 2)
    for (int64_t t = 0; t < tokens; t += step) {
        if (step == 1) kernels_best()->normalize_f32(n, token_at(s->in[0], t), token_at(s->out[0], t), (size_t)features);
        else normalize_group(s, n, t, (float *)(void *)s->scratch + (size_t)omp_get_thread_num() * GROUP * (size_t)features);
    }
}
