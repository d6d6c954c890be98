#include "engine/cli/random_input.h"
#include "engine/element.h"

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

Err random_input(Arena *arena, const Value *v, const Shape *shape, int64_t whole, uint64_t *state, Tensor *out)
{
    Tensor *t;
    int64_t n;
    DType dtype = v->stated.dtype;
    if (!v->stated.is_tensor || !shape_known(shape)) return err_set(ERR_ARG, "the input '%s' states no shape; random inputs cannot be made", v->name);
    if (!dtype_is_real(dtype)) return err_set(ERR_ARG, "the input '%s' is of type %s; random inputs cannot be made", v->name, dtype_name(dtype));
    TRY(tensor_new(arena, dtype, shape, &t));
    TRY(shape_count(shape, &n));
    for (int64_t i = 0; i < n; i++) {
        uint64_t r = next_random(state);
        double x = (double)(r >> 40) * 0x1p-24;
        int64_t k = whole ? (int64_t)(r % (uint64_t)whole) : 1;
        if (dtype_is_float(dtype)) elements_from_f64(dtype, &x, 1, t->data, i);
        else elements_from_i64(dtype, &k, 1, t->data, i);
    }
    *out = *t;
    return OK;
}
