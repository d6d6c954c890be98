/* Values that do not lie row-major: of tokens in panels, of images by channel.
 *
 * A value whose last axis is features has the features of a token in a row. Sparse products want tokens side by side instead: what they make, and what is made for
 * them, lies in panels, [panel][feature][token of the panel], where every step that reads or writes it can have it so. The last panel is filled up with anything.
 *
 * BY_CHANNEL: of images (N, C, ...) the channels are outermost. What a product makes of all images of a batch are rows of it then, however few pixels each has. */
#pragma once
#include "engine/plan.h"
#include "kernels/kernels.h"

enum { BY_CHANNEL = -1 };      /* instead of tokens of a panel */

static inline int64_t features_of(const Buffer *b) { return b->shape.dim[b->shape.rank - 1]; }

/* Says, in prep, that s can have out[0] and the inputs of these bits in panels of `panel` tokens, or BY_CHANNEL; of `alike`: if both are. */
void panels_allow(Step *s, int panel, unsigned inputs, unsigned alike);
/* Chooses the values that lie so: Buffer.panel. After all steps are prepared; before placing, as panels are larger than what they hold. */
void panels_choose(Plan *p);

/* Tokens of in[0] normalized into out[0], both in panels or rows. scratch: bytes of s->scratch that it needs. */
size_t panels_normalize_scratch(const Plan *p, const Step *s);
void   panels_normalize(const Plan *p, const Step *s, const Normalize *n);
