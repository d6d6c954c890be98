#include "engine/trial.h"

static MultiplyForm form_of(Variant v)
{
    return v == VARIANT_TOKENS_GATHER ? MULTIPLY_GATHER : v == VARIANT_TOKENS_BITMAP ? MULTIPLY_BITMAP : variant_is_sparse(v) ? MULTIPLY_SPARSE : MULTIPLY_DENSE;
}

void trial_plan(const Product *p, Variant v, Trial *t)
{
    t->variant = t->columns.variant = v;
    if (variant_is_tokens(v)) {
        t->tokens = *p->tokens;
        tokens_plan(&t->tokens, form_of(v));
        t->bytes = t->tokens.packed.bytes;
        t->scratch = t->tokens.scratch;
    } else if (variant_is_winograd(v)) {
        winograd_plan(p->columns, p->kernels, p->threads, v == VARIANT_WINOGRAD_2 ? 2 : 4, &t->columns.winograd);
        t->bytes = t->columns.winograd.bytes;
        t->scratch = t->columns.winograd.scratch;
    } else {
        multiply_plan(p->columns, p->kernels, p->threads, form_of(v), &t->columns.multiply);
        t->bytes = t->columns.multiply.packed.bytes;
        t->scratch = t->columns.multiply.scratch;
    }
    t->columns.scratch = t->scratch;
}

Packed *trial_packed(Trial *t) { return variant_is_tokens(t->variant) ? &t->tokens.packed : &t->columns.multiply.packed; }

void trial_pack(Trial *t, void *memory)
{
    if (variant_is_winograd(t->variant)) winograd_pack(&t->columns.winograd, memory);
    else packed_fill(trial_packed(t), memory);
}

void trial_at(Trial *t, void *memory)
{
    if (variant_is_winograd(t->variant)) t->columns.winograd.packed = memory;
    else packed_at(trial_packed(t), memory);
}

void *trial_memory(Trial *t)
{
    return variant_is_winograd(t->variant) ? (void *)(uintptr_t)t->columns.winograd.packed : trial_packed(t)->memory;
}

void columns_run(const Columns *c, const MultiplyRun *run)
{
    if (variant_is_winograd(c->variant)) winograd_run(&c->winograd, run);
    else multiply_run(&c->multiply, run);
}

void trial_run(const Trial *t, const MultiplyRun *run)
{
    if (variant_is_tokens(t->variant)) tokens_run(&t->tokens, run);
    else columns_run(&t->columns, run);
}
