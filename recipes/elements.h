/* The stored elements of one weight, whatever their type: read as magnitudes, set to zero.
 *
 * A magnitude is the bits of the float |value|, which order like the values (kernels.h). Quantized elements stand for |(q - zero) * scale|, and their zero is the
 * zero point. A value that is not zero never gets the magnitude 0, even where float would round it there; so magnitude 0 means zero, for every type. */
#pragma once
#include "engine/weights.h"
#include "kernels/kernels.h"

typedef struct Elements {
    DType dtype;
    void *data; int64_t count;
    /* quantized weights only */
    const Tensor *scale, *zero;    /* NULL: none */
    bool scale_each, zero_each;    /* more than one number for all elements ... */
    int64_t inner, length, block;  /* ... along the axis of this length, whose indices lie `inner` apart; block 0: one for each index */
} Elements;

/* Fetches the weight's constants. ERR_UNSUPPORTED for types without a zero; errors of constant_fetch; ERR_SHAPE when scale and weight do not fit together. */
Err  elements_open(Model *m, const Weight *w, Elements *e);
/* Gives them back; edited: their data was changed. */
Err  elements_close(Model *m, const Weight *w, bool edited);

/* Magnitudes of the elements from begin on: scratch filled, or for float32 the elements themselves, whose sign bit the reader must ignore. */
const uint32_t *elements_magnitudes(const Elements *e, int64_t begin, int64_t count, uint32_t *scratch);
uint32_t        elements_convert(const Elements *e, int64_t at);       /* the magnitude of one element, of any type but float32 */
static inline uint32_t elements_magnitude(const Elements *e, int64_t at)
{
    return e->dtype == DT_F32 ? ((const uint32_t *)e->data)[at] & MAGNITUDE_BITS : elements_convert(e, at);
}
void            elements_zero(const Elements *e, int64_t at);
/* The stored bits of one element, to put it back later. Not for two threads on one byte of a type below 8 bits. */
uint64_t        elements_get(const Elements *e, int64_t at);
void            elements_put(const Elements *e, int64_t at, uint64_t bits);
/* Zeroes those of the elements [begin, begin + count) whose magnitude is below limit, and says how many these are. */
int64_t         elements_zero_below(const Elements *e, int64_t begin, int64_t count, uint32_t limit, const Kernels *k);
