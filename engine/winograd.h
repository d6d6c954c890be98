/* Convolutions of stride 1 or 2 with fewer multiplications, see kernels/winograd.h. Used like engine/multiply.h: plan, pack, run.
 *
 * The weights are transformed once, when they are packed. A run goes block by block: some rows of tiles (bands), of one or several images, whose transformed input,
 * and products with one panel of outputs, stay in the cache. Threads take blocks; if there are too few, they share the block: first its channels, then its
 * panels. Results do not depend on the number of threads. */
#pragma once
#include "engine/multiply.h"

typedef struct Winograd {
    MultiplyShape shape;
    const Kernels *kernels;
    int    threads;
    WinogradForm form;
    int    positions;
    int    inputs, channels, panels;       /* of a group: channels; with each phase counted; panels of outputs */
    int    step, apart;        /* pixels that are gathered are every so many-th of the image, those of a phase every so many-th of these */
    int    down, cuts, wide;   /* bands of an image: rows of tiles, each cut into `cuts` pieces of at most `wide` tiles */
    int    blocks, tiles;      /* of a group; tiles of a block at most. A block is one band or, where cuts is 1, several */
    bool   shared;             /* threads share blocks */
    size_t pitch, position;    /* floats from tile to tile and from position to position of the transformed input */
    size_t product;            /* floats from position to position of the products */
    size_t stage;              /* floats that pixels need */
    size_t bytes;              /* of packed weights */
    size_t scratch;            /* bytes that winograd_run needs, for all threads */
    const float *packed;
} Winograd;

/* The m that is expected to be faster than the direct product of dense weights, 0 if none is or there is no form for the shape. */
int  winograd_choose(const MultiplyShape *shape);
/* Decides blocks, and computes `bytes` and `scratch`. m: 2 or 4, with a form for the shape. */
void winograd_plan(const MultiplyShape *shape, const Kernels *kernels, int threads, int m, Winograd *out);
/* Transforms the weights into memory of w->bytes bytes (64-byte aligned), which is used until the last run. */
void winograd_pack(Winograd *w, void *memory);
/* As multiply_run, with scratch of w->scratch bytes. */
void winograd_run(const Winograd *w, const MultiplyRun *run);
