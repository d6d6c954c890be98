/* Values that do not lie row-major: of tokens in panels, of images by channel or in panels.
 *
 * A value whose last axis is features has the features of a token in a row. Sparse products want tokens side by side instead: what they make, and what is made for
 * them, lies in panels, [panel][feature][token of the panel], where every step that reads or writes it can have it so. The last panel is filled up with anything.
 *
 * Of images (N, C, ...): BY_CHANNEL and IN_PANELS, see engine/layout.h. */
#pragma once
#include "engine/layout.h"
#include "engine/plan.h"
#include "kernels/kernels.h"

static inline int64_t features_of(const Buffer *b) { return b->shape.dim[b->shape.rank - 1]; }

/* Says, in prep, that s can have out[0] and the inputs of these bits in panels of `panel` tokens, or in a Layout. Of `alike`: while neither they nor out[0] are
 * row-major. A step may allow several. */
void panels_allow(Step *s, int panel, unsigned inputs, unsigned alike);
/* Only the inputs. */
void panels_allow_inputs(Step *s, int panel, unsigned inputs);
/* Chooses the values that lie so: Buffer.panel. After all steps are prepared; before placing, as panels are larger than what they hold. */
void panels_choose(Plan *p);

/* Tokens of in[0] normalized into out[0], both in panels or rows. scratch: bytes of s->scratch that it needs. */
size_t panels_normalize_scratch(const Plan *p, const Step *s);
void   panels_normalize(const Plan *p, const Step *s, const Normalize *n);
