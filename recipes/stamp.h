/* Writes into a model's metadata what was done to it: producer_name and producer_version become ours (what stood there moves to oneshot.source_producer),
 * and metadata_props gets
 *   oneshot.version         of this program
 *   oneshot.method          "magnitude"
 *   oneshot.recipe          the options in one line of YAML
 *   oneshot.sparsity        reached over the pruned layers, 0..1
 *   oneshot.source_sha256   of the .onnx file that was read (not of external data)
 * Other entries stay. */
#pragma once
#include "recipes/prune.h"

Err model_stamp(Model *m, const PruneOptions *o, const PruneResult *r, const char *sha256);
/* "magnitude: {sparsity: 0.8, scope: uniform, pattern: 2:4}"; in the arena; NULL: out of memory. */
const char *prune_recipe(Arena *arena, const PruneOptions *o);
const char *scope_name(Scope s);
const char *pattern_name(Arena *arena, const Pattern *p);      /* "unstructured", "2:4", "4x1"; NULL: out of memory */
