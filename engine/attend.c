/* Attention: query rows by blocks, so that the scores of a block stay in cache. */
#include <math.h>
#include <string.h>
#include "engine/attend.h"
#include "engine/matmul.h"
#include "engine/move.h"
#include "engine/walk.h"

enum { BLOCK = 64 };               /* query rows at a time */

/* One block of query rows of one head. */
typedef struct Block { int64_t sample, head, row, rows; } Block;

static int64_t keys_of(const Attend *a, int64_t sample)
{
    return !a->keys ? a->total : a->keys[sample] < a->total ? a->keys[sample] : a->total;
}

/* Keys [from, to) that query `row` of `sample` sees, before any bias. */
static void seen_range(const Attend *a, int64_t sample, int64_t row, int64_t *from, int64_t *to)
{
    int64_t at = (a->first ? a->first[sample] : a->past) + row + 1;
    *from = 0;
    *to = keys_of(a, sample);
    if (a->causal && at < *to) *to = at;
    if (a->causal && a->window && at - a->window > 0) *from = at - a->window;
    if (*to < 0) *to = 0;
    if (*from > *to) *from = *to;
}

#define REAL float
#define NAME(x) x##_f32
#define FN(x) x##f
#include "engine/loops_attend.inc"
#undef REAL
#undef NAME
#undef FN
#define REAL double
#define NAME(x) x##_f64
#define FN(x) x
#include "engine/loops_attend.inc"
#undef REAL
#undef NAME
#undef FN

static Matmul scores_product(const Attend *a, const Kernels *kernels, int64_t rows)
{
    return (Matmul){ kernels, (int)rows, (int)a->total, (int)a->size, (size_t)a->q.row, 1, 1, (size_t)a->k.row, (size_t)a->total };
}

static Matmul values_product(const Attend *a, const Kernels *kernels, int64_t rows)
{
    return (Matmul){ kernels, (int)rows, (int)a->value_size, (int)a->total, (size_t)a->total, 1, (size_t)a->v.row, 1, (size_t)a->y.row };
}

/* Floats of scratch for the products of one thread. */
static size_t product_scratch(const Attend *a)
{
    Matmul s = scores_product(a, kernels_best(), BLOCK), v = values_product(a, kernels_best(), BLOCK);
    size_t one = matmul_scratch(&s), other = matmul_scratch(&v);
    return ((one > other ? one : other) + 15) / 16 * 16;
}

static size_t block_elements(const Attend *a) { return ((size_t)(BLOCK * a->total) + 15) / 16 * 16; }

Err attend_scratch(const Plan *plan, const Attend *a, size_t *bytes)
{
    const int64_t most = 1 << 24;
    if (!kernels_best())
        return err_set(ERR_ARG, "ONESHOT_ISA names no instruction set that this machine runs; the highest here is %s.", kernels_isa(kernels_levels() - 1));
    if (a->kv_heads < 1 || a->heads % a->kv_heads) return err_set(ERR_SHAPE, "%lld heads do not share %lld heads of keys.", (long long)a->heads, (long long)a->kv_heads);
    if (a->size < 1 || a->total > most || a->size > most || a->value_size > most) return err_set(ERR_SHAPE, "Heads of this size cannot be run.");
    *bytes = 0;
    if (!a->total || !a->value_size) return OK;
    *bytes = (size_t)plan->threads * (block_elements(a) * (a->dtype == DT_F64 ? 8 : 4) + (a->dtype == DT_F32 ? product_scratch(a) * 4 : 0));
    return OK;
}

static void block_f32(const Attend *a, const Block *b, float *scores)
{
    float *scratch = scores + block_elements(a);
    int64_t g = b->head / (a->heads / a->kv_heads);
    Matmul s = scores_product(a, kernels_best(), b->rows), v = values_product(a, kernels_best(), b->rows);
    const float *q = (const float *)a->q.data + b->sample * a->q.sample + b->head * a->q.head + b->row * a->q.row;
    const float *k = (const float *)a->k.data + b->sample * a->k.sample + g * a->k.head;
    matmul_one(&s, q, k, scores, scratch);
    softmax_f32(a, b, scores);
    matmul_one(&v, scores, (const float *)a->v.data + b->sample * a->v.sample + g * a->v.head,
               (float *)a->y.data + b->sample * a->y.sample + b->head * a->y.head + b->row * a->y.row, scratch);
}

static void block_f64(const Attend *a, const Block *b, double *scores)
{
    int64_t g = b->head / (a->heads / a->kv_heads);
    const double *q = (const double *)a->q.data + b->sample * a->q.sample + b->head * a->q.head, *k = (const double *)a->k.data + b->sample * a->k.sample + g * a->k.head;
    const double *v = (const double *)a->v.data + b->sample * a->v.sample + g * a->v.head;
    double *y = (double *)a->y.data + b->sample * a->y.sample + b->head * a->y.head;
    for (int64_t i = 0; i < b->rows; i++)
        for (int64_t j = 0; j < a->total; j++) {
            double sum = 0;
            for (int64_t c = 0; c < a->size; c++) sum += q[(b->row + i) * a->q.row + c] * k[j * a->k.row + c];
            scores[i * a->total + j] = sum;
        }
    softmax_f64(a, b, scores);
    for (int64_t i = 0; i < b->rows; i++) {
        double *to = y + (b->row + i) * a->y.row;
        memset(to, 0, (size_t)a->value_size * sizeof *to);
        for (int64_t j = 0; j < a->total; j++)
            for (int64_t c = 0; c < a->value_size; c++) to[c] += scores[i * a->total + j] * v[j * a->v.row + c];
    }
}

void attend(const Plan *plan, const Attend *a, void *scratch)
{
    if (!a->total || !a->value_size) return;
    int64_t blocks = (a->length + BLOCK - 1) / BLOCK, count = a->batch * a->heads * blocks, threads = plan->threads;
    size_t share;
    if (attend_scratch(plan, a, &share) != OK) return;         /* it succeeded when the step was prepared */
    share /= (size_t)threads;
    #pragma omp parallel for num_threads(plan->threads) if (count * a->total * a->size > PARALLEL_WORK / BLOCK)
    for (int64_t t = 0; t < threads; t++)
        for (int64_t i = count * t / threads; i < count * (t + 1) / threads; i++) {
            Block b = { i / blocks / a->heads, i / blocks % a->heads, i % blocks * BLOCK, BLOCK };
            if (b.rows > a->length - b.row) b.rows = a->length - b.row;
            void *mine = (char *)scratch + (size_t)t * share;
            if (a->dtype == DT_F32) block_f32(a, &b, mine);
            else block_f64(a, &b, mine);
        }
}

Err attend_bias(const Attend *a, const Buffer *b, bool partly, Bias *out)
{
    const int64_t wanted[4] = { a->batch, a->heads, a->length, a->total };
    int64_t step = 1;
    if (!b) return OK;
    if (b->shape.rank > 4) return err_set(ERR_SHAPE, "The mask '%s' has rank %d, expected at most 4.", b->name, b->shape.rank);
    if (b->dtype != DT_BOOL && b->dtype != a->dtype) return err_set(ERR_UNSUPPORTED, "A mask of %s cannot be run with %s.", dtype_name(b->dtype), dtype_name(a->dtype));
    *out = (Bias){ .data = b->data, .seen = b->dtype == DT_BOOL, .keys = a->total };
    for (int i = 3, k = b->shape.rank - 1; k >= 0; i--, k--) {
        int64_t d = b->shape.dim[k];
        bool part = i == 3 && partly && d <= a->total;
        if (d != 1 && d != wanted[i] && !part) return err_set(ERR_SHAPE, "The mask '%s' does not broadcast to the scores.", b->name);
        out->stride[i] = d == 1 && !part ? 0 : step;
        if (part) out->keys = d;
        step *= d;
    }
    return OK;
}

HeadsOf heads_of(const Buffer *b, int64_t heads)
{
    const int64_t *d = b->shape.dim;
    if (b->shape.rank == 4) return (HeadsOf){ b->data, d[1] * d[2] * d[3], d[2] * d[3], d[3] };
    return (HeadsOf){ b->data, d[1] * d[2], heads ? d[2] / heads : 0, d[2] };
}

void heads_copy(const Plan *plan, const HeadsOf *from, const HeadsOf *to, const int64_t size[4], size_t element)
{
    Copy c = { 0 };
    copy_axis(&c, size[0], from->sample, to->sample);
    copy_axis(&c, size[1], from->head, to->head);
    copy_axis(&c, size[2], from->row, to->row);
    copy_axis(&c, size[3], 1, 1);
    copy_strided(plan, &c, from->data, to->data, element);
}
