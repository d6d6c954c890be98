/* Constant weights as the kernels of panels read them, in units: the rows of a chunk in one K block. Chunks do not depend on the number of threads, nor
 * does any order of sums. */
#pragma once
#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "kernels/whole.h"

enum { PACKED_SHARES = 64 };

typedef enum MultiplyForm { MULTIPLY_DENSE, MULTIPLY_SPARSE, MULTIPLY_GATHER, MULTIPLY_BITMAP } MultiplyForm;      /* the last two: of few tokens */

typedef struct Packed {
    /* Given: */
    Weights weights;           /* of one group; those of group g start at weights.w + g * weights.rows * weights.row. w NULL: they are not read yet, nonzeros is
                                * known, and one that is `like` this may do */
    int     groups, k;         /* columns of W */
    size_t  nonzeros;          /* of all groups; 0: not counted yet */
    const Kernels *kernels;
    MultiplyForm form;
    int     threads;           /* to pack and to run with */
    int     width;             /* dense: of strips or tiles */
    int     block;             /* columns of W in a K block, at most */
    int     chunk_rows;        /* dense: a multiple of width */
    const struct Packed *like; /* NULL, or the same weights as they are packed for another plan; its own `like` is the next one */
    const uint16_t *order;     /* sparse: NULL, or for each group its rows in the order of chunks: heads count rows from the group's first one then, not the chunk's */
    /* Computed: */
    int     blocks, chunks;
    size_t  bytes;             /* of memory for packed_fill; 0: weights have to be read first */
    int     alike;             /* rows that `order` brought together */
    size_t  share[PACKED_SHARES];      /* bytes of the units that one thread packs one after the other */
    char   *memory;
    size_t *at;                /* where units begin; in `memory` */
} Packed;
static inline bool packed_few(const Packed *p) { return p->form == MULTIPLY_GATHER || p->form == MULTIPLY_BITMAP; }

/* Weights of all groups other than 0. */
size_t packed_nonzeros(const Weights *weights, int groups, int k, int threads);

/* Sets form, and block and chunk_rows as sparse forms want them. */
void packed_form(Packed *p, MultiplyForm form);
/* Makes blocks equal and computes blocks, chunks and bytes. One that is `like` it, with the same layout, gives its memory and order: then it is packed. */
void packed_plan(Packed *p);
/* Packs into memory of p->bytes bytes (64-byte aligned), which is used until the last run. */
void packed_fill(Packed *p, void *memory);
/* What was packed elsewhere, with the same layout, lies in `memory` now. */
void packed_at(Packed *p, void *memory);

static inline const char *packed_unit(const Packed *p, int group, int block, int chunk)
{
    return p->memory + p->at[((size_t)group * (size_t)p->blocks + (size_t)block) * (size_t)p->chunks + (size_t)chunk];
}
static inline int packed_block_end(const Packed *p, int block)
{
    return least((block + 1) * p->block, p->k);
}
static inline int packed_chunk_rows(const Packed *p, int chunk)
{
    return least(p->weights.rows - chunk * p->chunk_rows, p->chunk_rows);
}
/* A unit of sparse weights for the kernel; rows: of the chunk. */
SparsePart packed_sparse(const Packed *p, const char *unit, int rows, const float *panel);
