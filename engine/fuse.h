/* Fusing: what happens to the values of a step right after it is done while they are in cache, so that they are not written and read again.
 *
 * A step whose operator says that it `fuses` (Conv, Gemm, MatMul with constant weights) takes over what follows it: a scale and shift of its channels
 * (BatchNormalization, Mul and Add with constants) goes into weights and bias; activations and the arithmetic with another value of the same shape (the
 * residual Add) become posts. A value disappears only if nothing else reads it and it is no output of the plan. Only float32 fuses. */
#pragma once
#include <string.h>
#include "engine/multiply.h"
#include "engine/plan.h"

struct Fused {
    float *scale, *shift;      /* of the output's channels; both or neither */
    Posts posts;
    void *own;                 /* of a step that a pattern made: what its row's prep wants to know */
};

/* For prep and run of operators that fuse --------------------------------------------------------------------------------------------- */

/* What multiplies the channels of the weights; NULL: nothing but 1. */
const float *fused_scale(const Step *s, int64_t channels);
/* The weights of input 1, whose axis `axis` is the output's channels, scaled: the constant itself, or memory for the time of prep. Reads them if they are not. */
Err fused_weights(Plan *plan, const Step *s, int axis, const float **out);
/* What each of the channels starts with: bias * scale + shift, where bias (NULL: 0) is a constant if there is a scale. *out NULL: nothing. */
Err fused_bias(Plan *plan, const Step *s, const Buffer *bias, int64_t channels, const float **out);
/* What the first post adds, which a product takes as its residual; NULL: nothing. */
Buffer *fused_residual(const Step *s);
/* Bits of the inputs that posts combine with out[0]: they lie as it does. */
unsigned fused_operands(const Step *s);
/* Sets residual (if this product `adds` one), lo, hi and posts of a run that has none yet. */
void fused_run(const Step *s, bool adds, MultiplyRun *run);

/* Whether one of its posts has an operand of its own. */
bool fused_combines(const Step *s);
/* The step that reads b as its first input, if nothing else does. After fusing. */
Step *only_reader(const Plan *p, const Buffer *b);

/* For patterns ------------------------------------------------------------------------------------------------------------------------ */

static inline bool is_type(const Step *s, const char *type) { return !strcmp(s->op->type, type); }
/* The planned step of operator `type` that writes b, NULL: none does. readers: how many steps and outputs must read b, 0: any number. */
Step *written_by(const Buffer *b, const char *type, int readers);
/* Input i of s when nothing but s reads it and a planned step of operator `type` writes it: that step. NULL otherwise. */
Step *only_from(const Step *s, int i, const char *type);
/* Whether input i of s is a float32 constant of one element: its value. */
bool  number_of(const Step *s, int i, float *value);
/* Whether it has this value, but for rounding. */
bool  is_number(const Step *s, int i, float value);
/* The other input of s, which has two of which one is this number; NULL: it has not. */
Buffer *beside_number(const Step *s, float value);
/* Makes s a step of `row`, which no model can name, that reads these inputs (NULL: left out) and writes what it wrote. Steps that nobody reads any more are
 * dropped. */
Err   step_become(Plan *plan, Step *s, const Op *row, Buffer *const *in, int n_in);
/* Makes s a step that applies an activation to x and nothing else. */
Err   become_activation(Plan *plan, Step *s, Buffer *x, const Activate *activate);
extern const Op op_Activation;
/* Activations that exporters write as several nodes become one step: SiLU, HardSwish, Gelu, Mish. */
Err   fuse_activations(Plan *plan);
/* The same for LayerNormalization and RMSNormalization over the last axis. */
Err   fuse_norms(Plan *plan);
/* Slices of slices. */
Err   fuse_slices(Plan *plan);
/* Rotary embeddings, of halves and of pairs. */
Err   fuse_rotary(Plan *plan);
/* Softmax(Q * K' * scale + mask) * V, for all heads, with operands and result read and written where Reshape, Transpose and Expand leave them. */
Err   fuse_attention(Plan *plan);
