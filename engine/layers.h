/* Which products are the first and the last weighted layer of a model.
 *
 * First: its data comes from the model's inputs and passed no other weighted product (an embedding counts as one: Gather from a table of floats, or of a quantized one).
 * Last: what it gives meets no other weighted product on any way. So every convolution that ends a head is a last one, while keys and values that
 * a decoder also returns for its cache are not. Products of two activations, as in attention, are no layers. Nor is the small product behind a Softmax
 * that turns a distribution into its mean (box regression of detectors): it weighs with constants of the method. */
#pragma once
#include "engine/weights.h"

/* Bits. A product inside a local function is first or last only if it is so in all calls. */
enum { LAYER_FIRST = 1, LAYER_LAST = 2 };

typedef struct Layers Layers;
/* weight: all weights of the model with their uses. Scratch memory. ERR_NOMEM. */
Err layers_find(Model *m, Arena *scratch, const Weight *weight, int n, Layers **out);
int layers_of(const Layers *l, const Node *product);
