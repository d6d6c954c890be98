/* Attention: keys and values of a head are packed once, as the products read them; then query rows pass by blocks whose scores stay in the L1 cache. */
#include <math.h>
#include <string.h>
#include <omp.h>
#include "engine/attend.h"
#include "engine/matmul.h"
#include "engine/move.h"
#include "engine/run_ops.h"
#include "engine/walk.h"
#include "kernels/whole.h"

enum { SCORES = 4096, LINE = 16 };             /* scores of a block, unless a few rows have more */

/* One block of query rows of one head. */
typedef struct Block { int64_t sample, head, row, rows; } Block;

/* Scratch of a thread, in elements: panels of keys, panels of values, scores. Float64 needs no panels. */
typedef struct Layout {
    const Kernels *kernels;
    int64_t columns;                           /* of a panel of values */
    int64_t rows, ld;                          /* of scores */
    size_t  keys, values, bytes;               /* bytes: of all three */
} Layout;

static int64_t keys_of(const Attend *a, int64_t sample) { return !a->keys ? a->total : lesser(a->keys[sample], a->total); }

/* Keys [seen[0], seen[1]) are those that query `row` of `sample` sees, before any bias. Both rise with the row. */
static void seen_range(const Attend *a, int64_t sample, int64_t row, int64_t seen[2])
{
    int64_t at = (a->first ? a->first[sample] : a->past) + row + 1;
    seen[0] = 0;
    seen[1] = keys_of(a, sample);
    if (a->causal && at < seen[1]) seen[1] = at;
    if (a->causal && a->window && at - a->window > 0) seen[0] = at - a->window;
    if (seen[1] < 0) seen[1] = 0;
    if (seen[0] > seen[1]) seen[0] = seen[1];
}

/* Keys that some row of the block sees; all of them when there are none, or when scores are wanted. */
static void keys_of_block(const Attend *a, const Block *b, int64_t keys[2])
{
    int64_t last[2];
    seen_range(a, b->sample, b->row, keys);
    seen_range(a, b->sample, b->row + b->rows - 1, last);
    keys[1] = last[1];
    if (keys[0] < keys[1] && !a->scores) return;
    keys[0] = 0;
    keys[1] = a->total;
}

#define LOOPS "engine/loops_attend.inc"
#include "engine/reals.inc"

static Layout layout_of(const Attend *a)
{
    Layout l = { .kernels = kernels_best(), .ld = round_up(a->total, LINE) };
    int64_t tile = l.kernels->sizes.tile, strip = l.kernels->sizes.strip, panels = (a->value_size + tile - 1) / tile;
    bool packs = a->dtype == DT_F32;
    l.columns = round_up((a->value_size + panels - 1) / panels, PANEL_VECTOR);
    l.rows = lesser(SCORES / l.ld < strip ? strip : SCORES / l.ld / strip * strip, a->length);
    l.keys = packs ? (size_t)(round_up(a->total, tile) * a->size) : 0;
    l.values = packs ? (size_t)(round_up(a->value_size, l.columns) / l.columns * a->total * tile) : 0;
    l.bytes = (size_t)round_up((int64_t)(l.keys + l.values) + l.rows * l.ld, LINE) * (packs ? sizeof(float) : sizeof(double));
    return l;
}

Err attend_scratch(const Plan *plan, const Attend *a, size_t *bytes)
{
    const int64_t most = 1 << 24;
    const Kernels *kernels;
    TRY(find_kernels(&kernels));
    if (a->kv_heads < 1 || a->heads % a->kv_heads) return err_set(ERR_SHAPE, "%lld heads do not share %lld heads of keys.", (long long)a->heads, (long long)a->kv_heads);
    if (a->size < 1 || a->total > most || a->size > most || a->value_size > most) return err_set(ERR_SHAPE, "Heads of this size cannot be run.");
    *bytes = 0;
    if (!a->total || !a->value_size || !a->length) return OK;
    *bytes = (size_t)plan->threads * (size_t)greater((int64_t)layout_of(a).bytes, (int64_t)attend_columns_scratch(a));
    return OK;
}

/* Float32 ------------------------------------------------------------------------------------------------------------------------------- */

static const float *head_of(const HeadsOf *h, int64_t sample, int64_t head, int64_t row)
{
    return (const float *)h->data + sample * h->sample + head * h->head + row * h->row;
}

/* K' in panels of `tile` keys, V in panels of l->columns. */
static void pack_head(const Attend *a, const Layout *l, int64_t sample, int64_t head, float *scratch)
{
    const int tile = l->kernels->sizes.tile;
    const Matmul keys = { .kernels = l->kernels, .n = (int)a->total, .k = (int)a->size, .b_row = (size_t)a->k.column, .b_column = (size_t)a->k.row };
    const Matmul values = { .kernels = l->kernels, .n = (int)a->value_size, .k = (int)a->total, .b_row = (size_t)a->v.row, .b_column = (size_t)a->v.column };
    for (int64_t j = 0; j < a->total; j += tile) {
        PanelPart part = { .k1 = keys.k, .n = (int)lesser(tile, a->total - j), .width = tile, .n0 = j };
        matmul_pack(&keys, head_of(&a->k, sample, head, 0), &part, scratch + j * a->size);
    }
    for (int64_t j = 0; j < a->value_size; j += l->columns) {
        PanelPart part = { .k1 = values.k, .n = (int)lesser(l->columns, a->value_size - j), .width = tile, .n0 = j };
        matmul_pack(&values, head_of(&a->v, sample, head, 0), &part, scratch + l->keys + j / l->columns * a->total * tile);
    }
}

/* Whether a softmax with a scale and a mask is all that happens to scores. */
static bool is_plain(const Attend *a)
{
    const Bias *b = &a->bias[0];
    return a->softcap <= 0 && !a->scores && !a->bias[1].data && (!b->data || (b->kind == BIAS_ADDED && b->keys >= a->total && (b->stride[3] == 0 || b->stride[3] == 1)));
}

static void softmax_rows(const Attend *a, const Layout *l, const Block *b, const int64_t keys[2], float *scores)
{
    const Bias *mask = &a->bias[0];
    bool plain = is_plain(a);
    for (int64_t i = 0; i < b->rows; i++) {
        const int64_t at[3] = { b->sample, b->head, b->row + i };
        float *s = scores + i * l->ld;
        Softmax p = { .scale = plain ? (float)a->scale : 1 };
        if (plain && mask->data) {
            p.mask = (const float *)mask->data + at[0] * mask->stride[0] + at[1] * mask->stride[1] + at[2] * mask->stride[2] + keys[0] * mask->stride[3];
            p.step = (size_t)mask->stride[3];
        }
        if (plain) hide_f32(a, at, keys, s);
        else prepare_row_f32(a, at, keys, s);
        l->kernels->softmax_f32(&p, s + keys[0], s + keys[0], (size_t)(keys[1] - keys[0]));
        give_scores_f32(a, at, s, SCORES_SOFTMAX);
    }
}

static void block_f32(const Attend *a, const Layout *l, const Block *b, float *scratch)
{
    const int tile = l->kernels->sizes.tile;
    float *scores = scratch + l->keys + l->values, *y = (float *)a->y.data + b->sample * a->y.sample + b->head * a->y.head + b->row * a->y.row;
    int64_t keys[2];
    keys_of_block(a, b, keys);
    DensePart d = { .w = head_of(&a->q, b->sample, b->head, b->row), .row = (size_t)a->q.row, .step = (size_t)a->q.column,
                    .rows = (int)b->rows, .k = (int)a->size };
    PanelOutput o = { .first = true, .last = true, .ld = (size_t)l->ld, .lo = -INFINITY, .hi = INFINITY };
    for (int64_t j = keys[0] / tile * tile; j < keys[1]; j += tile) {
        d.panel = scratch + j * a->size;
        o.columns = (int)lesser(tile, keys[1] - j);
        o.y = scores + j;
        l->kernels->dense_f32(&d, &o);
    }
    softmax_rows(a, l, b, keys, scores);
    d.w = scores + keys[0];
    d.row = (size_t)l->ld;
    d.step = 1;
    d.k = (int)(keys[1] - keys[0]);
    o.ld = (size_t)a->y.row;
    for (int64_t j = 0; j < a->value_size; j += l->columns) {
        d.panel = scratch + l->keys + (j / l->columns * a->total + keys[0]) * tile;
        o.columns = (int)lesser(l->columns, a->value_size - j);
        o.y = y + j;
        l->kernels->dense_f32(&d, &o);
    }
}

/* Float64 ------------------------------------------------------------------------------------------------------------------------------- */

static void softmax_row(double *s, int64_t n)
{
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++) if (s[j] > most) most = s[j];
    for (int64_t j = 0; j < n; j++) sum += s[j] = exp(s[j] - most);
    for (int64_t j = 0; j < n; j++) s[j] /= sum;
}

static void row_f64(const Attend *a, const int64_t at[3], double *s)
{
    int64_t g = at[1] / (a->heads / a->kv_heads), keys[2] = { 0, a->total };
    const double *q = (const double *)a->q.data + at[0] * a->q.sample + at[1] * a->q.head + at[2] * a->q.row;
    const double *k = (const double *)a->k.data + at[0] * a->k.sample + g * a->k.head, *v = (const double *)a->v.data + at[0] * a->v.sample + g * a->v.head;
    double *y = (double *)a->y.data + at[0] * a->y.sample + at[1] * a->y.head + at[2] * a->y.row;
    for (int64_t j = 0; j < a->total; j++) {
        s[j] = 0;
        for (int64_t c = 0; c < a->size; c++) s[j] += q[c * a->q.column] * k[j * a->k.row + c * a->k.column];
    }
    prepare_row_f64(a, at, keys, s);
    softmax_row(s, a->total);
    give_scores_f64(a, at, s, SCORES_SOFTMAX);
    memset(y, 0, (size_t)a->value_size * sizeof *y);
    for (int64_t j = 0; j < a->total; j++)
        for (int64_t c = 0; c < a->value_size; c++) y[c] += s[j] * v[j * a->v.row + c * a->v.column];
}

/* --------------------------------------------------------------------------------------------------------------------------------------- */

static void run_part(const Attend *a, const void *layout, const int64_t sample_head[2], const int64_t part[2], void *scratch)
{
    const Layout *l = layout;
    int64_t group = a->heads / a->kv_heads, blocks = (a->length + l->rows - 1) / l->rows, count = group * blocks;
    if (a->dtype == DT_F32) pack_head(a, l, sample_head[0], sample_head[1], scratch);
    for (int64_t i = count * part[0] / part[1]; i < count * (part[0] + 1) / part[1]; i++) {
        Block b = { sample_head[0], sample_head[1] * group + i / blocks, i % blocks * l->rows, l->rows };
        b.rows = lesser(b.rows, a->length - b.row);
        if (a->dtype == DT_F32) block_f32(a, l, &b, scratch);
        for (int64_t r = 0; a->dtype == DT_F64 && r < b.rows; r++) row_f64(a, (int64_t[]){ b.sample, b.head, b.row + r }, scratch);
    }
}

void attend_share(const Plan *plan, const Attend *a, AttendPart *run, const void *layout, size_t bytes, void *scratch)
{
    int64_t heads = a->batch * a->kv_heads, parts = heads % plan->threads ? plan->threads : 1;
    #pragma omp parallel for schedule(dynamic) num_threads(plan->threads) if (a->batch * a->heads * a->length * a->total * a->size > PARALLEL_WORK)
    for (int64_t i = 0; i < heads * parts; i++)
        run(a, layout, (int64_t[]){ i / parts / a->kv_heads, i / parts % a->kv_heads }, (int64_t[]){ i % parts, parts },
            (char *)scratch + (size_t)omp_get_thread_num() * bytes);
}

void attend(const Plan *plan, const Attend *a, void *scratch)
{
    if (!a->total || !a->value_size || !a->length) return;
    if (attend_columns_fit(a)) {
        attend_columns(plan, a, scratch);
        return;
    }
    Layout l = layout_of(a);
    attend_share(plan, a, run_part, &l, l.bytes, scratch);
}

Err attend_bias(const Attend *a, const Buffer *b, bool partly, Bias *out)
{
    const int64_t wanted[4] = { a->batch, a->heads, a->length, a->total };
    int64_t step = 1;
    if (!b) return OK;
    if (b->shape.rank > 4) return err_set(ERR_SHAPE, "The mask '%s' has rank %d, expected at most 4.", b->name, b->shape.rank);
    if (b->dtype != DT_BOOL && b->dtype != a->dtype) return err_set(ERR_UNSUPPORTED, "A mask of %s cannot be run with %s.", dtype_name(b->dtype), dtype_name(a->dtype));
    *out = (Bias){ .data = b->data, .kind = b->dtype == DT_BOOL ? BIAS_SEEN : BIAS_ADDED, .fill = -INFINITY, .keys = a->total };
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
    if (b->shape.rank == 4) return (HeadsOf){ b->data, d[1] * d[2] * d[3], d[2] * d[3], d[3], 1 };
    return (HeadsOf){ b->data, d[1] * d[2], heads ? d[2] / heads : 0, d[2], 1 };
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
