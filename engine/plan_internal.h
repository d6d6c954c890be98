/* What plan.c, run.c and inline.c share. */
#pragma once
#include "engine/plan.h"

/* Room for one more in a list of n in the plan's own arena: doubled when it is full. */
Err  grow(Plan *p, void *list, int n, int *room, size_t size);
size_t plan_used(const Plan *p);                       /* bytes of this plan and of those around it, without what it shares */
Err  plan_room(const Plan *p, size_t bytes);            /* ERR_NOMEM if so many more would pass the limit */
void plan_start(Plan *p);                              /* the time limit counts from now */
Err  plan_in_time(const Plan *p);                      /* ERR_TIME after the limit */
Err  buffer_new(Plan *p, const char *name, Buffer **out);
Err  map_put(Plan *p, const Value *v, Buffer *b);
Buffer *map_get(const BufferMap *map, const Value *v);  /* NULL: unknown */
/* The buffer of a value that a node reads: of this plan, of an enclosing one, or a constant met for the first time. */
Err  buffer_of(Plan *p, const Value *v, Buffer **out);
Err  plan_workspace(Plan *p);                          /* memory for the block of block_bytes bytes */
/* Reads the elements of a constant that still lies in the file, into p->now. */
Err  buffer_load(Plan *p, Buffer *b);
/* The same for the time of a prep: buffer_unload has to follow. */
Err  buffer_load_temporary(Plan *p, Buffer *b);
void buffer_unload(const Plan *p, Buffer *b);
Buffer *root_of(Buffer *b);                            /* whose memory b's is */
size_t base_offset(const Buffer *b);                   /* bytes of b behind the start of its root */
Err  buffer_set(Buffer *b, DType dtype, const Shape *shape);
void buffer_forget(Buffer *b);                         /* back to "not known before it runs" */
void buffer_hold(Buffer *b, List *list);               /* the value is this list */
/* Writes a small buffer's elements into its fact, in p->now. */
Err  buffer_learn(Plan *p, Buffer *b);
/* Asks the operator's row for the outputs and sets their types and shapes; *known: all of them have both. */
Err  step_infer(Plan *p, Step *s, bool *known);
/* Infers, prepares, allocates from p->now and runs: for constants while planning, for late steps in the run. */
Err  step_execute(Plan *p, Step *s);
bool step_has_bodies(const Step *s);                   /* If, Loop, Scan ... */
/* The function's nodes as a graph of their own, attributes resolved against the call, values new. Bodies inside are copied too. */
Err  function_expand(Arena *arena, const Graph *function, const Node *call, Graph **out);
/* The nodes that n's row expands to. Everything lives in the arena. */
Err  node_expand(Arena *arena, Model *m, const Node *n, Graph **out);
const Graph *function_of(const Model *m, const Node *n);   /* NULL: not a call */
/* The plan of a body of step s for these inputs, in s->body[slot], and a run of it. */
Err  run_body(Plan *plan, Step *s, int slot, const Graph *body, Buffer *const *in, int n_in);
/* Lets steps that read or write half precision do so in float32: engine/halves.c. */
Err  carry_halves(Plan *p);
/* Makes `wide` the float32 constant of b's numbers. */
Err  constant_widen(Plan *p, Buffer *b, Buffer *wide);
/* Lets steps that can share one pass over their values become one: engine/fuse.h. */
Err  fuse(Plan *p);
void close_gaps(Plan *p);                              /* steps that are NULL */
/* Takes the weights out of products whose results are constant or that nobody reads: engine/dead.c. */
Err  drop_dead(Plan *p);
/* Gives every planned value its place in the block. */
Err  place(Plan *p);
Err  plan_new(Model *m, Plan *outer, const PlanOptions *options, Plan **out);
Err  plan_run_steps(Plan *p);
/* A plan that shares what p prepared, for another thread; to be freed before p. p has no late steps. */
Err  plan_clone(const Plan *p, Plan **out);
/* The size of the batch where its samples do not meet, else 0. Its steps are as the nodes are. */
Err  batch_of(Plan *p, int64_t *out);
/* A plan of some nodes of m's graph, whose inputs and outputs are part->in and part->out. input: of part->in, in order. any_layout: Plan.any_layout, borrowed. ERR_ARG
 * where the model wants another size. */
Err  plan_part(Model *m, const Graph *part, const PlanInput *input, const bool *any_layout, const PlanOptions *options, Plan **out);
/* Makes p a plan of pieces where its batch can be split: engine/pieces.c. */
Err  pieces_plan(Plan *p);
Err  pieces_run(Plan *p);
void pieces_free(Plan *p);
