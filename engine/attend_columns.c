/* Attention with a query in each column: the scores K Q' of some queries at a time stay in a tile, the softmax runs down its columns, without sums across lanes, and
 * Y = P V or Y' = V' P' reads the tile as it lies. Tokens in panels are read and written in place. */
#include <math.h>
#include <string.h>
#include "engine/attend.h"
#include "engine/matmul.h"
#include "engine/walk.h"
#include "kernels/whole.h"

enum { SCORES = 16384, FEWEST = 32 };          /* scores of a tile at most; queries at least, and columns where a level's tile has as many */

/* Scratch of a thread, in floats: scores, their mask turned, queries and values as the dense kernel reads them. */
typedef struct Layout {
    const Kernels *kernels;
    int     columns;                           /* queries at a time */
    int64_t value_columns;                     /* of a tile of packed values */
    bool    mask_by_query;                     /* queries differ in their masks */
    size_t  scores, mask, queries, values;
} Layout;

/* Neighbouring queries of a head, one in each column of the tile that scratch begins with. */
typedef struct Block { int64_t sample, head, row; int n; float *scratch; } Block;

/* Panels are cut into equal parts. */
static int columns_of(const Attend *a, const Kernels *k)
{
    int tile = k->sizes.tile, width = (int)a->panel;
    int64_t columns = width ? ceil_div(width, ceil_div(width, tile)) : lesser(tile, SCORES / a->total);
    return (int)(columns / PANEL_VECTOR * PANEL_VECTOR);
}

static Layout layout_of(const Attend *a)
{
    Layout l = { .kernels = kernels_best() };
    const int tile = l.kernels->sizes.tile;
    l.columns = columns_of(a, l.kernels);
    l.value_columns = round_up(pieces_in(a->value_size, pieces_in(a->value_size, tile)), PANEL_VECTOR);
    l.scores = (size_t)(a->total * l.columns);
    l.mask = l.scores;
    l.queries = (size_t)(a->size * tile);
    l.values = (size_t)(greater(a->value_size, pieces_in(a->value_size, l.value_columns) * a->total) * tile);
    return l;
}

/* Whether all queries of a head have the same mask. */
static bool one_mask(const Attend *a)
{
    const Bias *b = &a->bias[0];
    for (int64_t i = 0; b->data && b->stride[2] && i < (b->stride[0] ? a->batch : 1); i++)
        for (int64_t h = 0; h < (b->stride[1] ? a->heads : 1); h++) {
            const float *first = (const float *)b->data + i * b->stride[0] + h * b->stride[1];
            for (int64_t r = 1; r < a->length; r++)
                if (memcmp(first, first + r * b->stride[2], (size_t)a->total * sizeof *first)) return false;
        }
    return true;
}

/* Apart from data. */
static bool sizes_fit(const Attend *a)
{
    const Bias *b = &a->bias[0];
    bool plain = a->dtype == DT_F32 && a->softcap <= 0 && !a->scores && !a->causal && !a->keys && a->bias[1].kind == BIAS_ADDED && b->kind == BIAS_ADDED;
    bool masked = b->stride[0] || b->stride[1] || b->stride[2] || b->stride[3];
    if (!plain || (masked && (b->stride[3] != 1 || b->keys < a->total)) || a->length < FEWEST || !a->total) return false;
    const Kernels *k = kernels_best();
    int columns = columns_of(a, k);
    return columns >= lesser(FEWEST, k->sizes.tile) && a->total * columns <= SCORES && (!a->panel || a->panel % columns == 0);
}

bool attend_columns_suit(const Attend *a, int panel)
{
    Attend in_panels = *a;
    in_panels.panel = panel;
    return sizes_fit(&in_panels);
}

bool attend_columns_fit(const Attend *a) { return sizes_fit(a) && !a->bias[1].data && (a->panel || one_mask(a)); }

size_t attend_columns_scratch(const Attend *a)
{
    if (!sizes_fit(a)) return 0;
    const Layout l = layout_of(a);
    return (l.scores + l.mask + l.queries + l.values) * sizeof(float);
}

/* Of features in panels, one is a->panel further than the one before. */
static float *head_at(const Attend *a, const HeadsOf *h, int64_t sample, int64_t head, int64_t row)
{
    float *first = (float *)h->data + sample * h->sample;
    if (!a->panel) return first + head * h->head + row * h->row;
    return first + (row / a->panel * h->row + head * h->head) * a->panel + row % a->panel;
}

/* V in tiles of l->value_columns. */
static void pack_values(const Attend *a, const Layout *l, int64_t sample, int64_t head, float *tiles)
{
    const Matmul m = { .kernels = l->kernels, .n = (int)a->value_size, .k = (int)a->total, .b_row = (size_t)a->v.row, .b_column = (size_t)a->v.column };
    for (int64_t j = 0; j < a->value_size; j += l->value_columns) {
        const PanelPart part = { .k1 = m.k, .n = (int)lesser(l->value_columns, a->value_size - j), .width = l->kernels->sizes.tile, .n0 = j };
        matmul_pack(&m, head_at(a, &a->v, sample, head, 0), &part, tiles + j / l->value_columns * a->total * part.width);
    }
}

static int64_t kv_head(const Attend *a, const Block *b) { return b->head / (a->heads / a->kv_heads); }

static void run_scores(const Attend *a, const Layout *l, const Block *b, float *queries)
{
    const int tile = l->kernels->sizes.tile;
    const float *q = head_at(a, &a->q, b->sample, b->head, b->row);
    const int64_t step = a->panel ? a->panel : a->total;
    const size_t row = a->panel ? 1 : (size_t)a->k.row;
    if (!a->panel) {
        const Matmul m = { .kernels = l->kernels, .n = b->n, .k = (int)a->size, .b_row = (size_t)a->q.column, .b_column = (size_t)a->q.row };
        matmul_pack(&m, q, &(PanelPart){ .k1 = m.k, .n = b->n, .width = tile }, queries);
    }
    for (int64_t j = 0; j < a->total; j += step) {
        const DensePart d = { .w = head_at(a, &a->k, b->sample, kv_head(a, b), j), .row = row,
                              .step = (size_t)(a->panel ? a->panel : a->k.column), .rows = (int)lesser(step, a->total - j), .k = (int)a->size,
                              .panel = a->panel ? q : queries, .ldx = (size_t)a->panel };
        const PanelOutput o = { .first = true, .last = true, .columns = b->n, .y = b->scratch + j * l->columns, .ld = (size_t)l->columns, .lo = -INFINITY,
                                .hi = INFINITY };
        l->kernels->dense_f32(&d, &o);
    }
}

static void run_softmax(const Attend *a, const Layout *l, const Block *b)
{
    const size_t ld = (size_t)l->columns;
    const Bias *mask = &a->bias[0];
    SoftmaxColumns p = { .scale = (float)a->scale, .each = l->mask_by_query, .rows = (int)a->total, .columns = b->n, .ld = ld };
    if (mask->data) {
        p.mask = (const float *)mask->data + b->sample * mask->stride[0] + b->head * mask->stride[1];
        p.step = (size_t)mask->stride[3];
    }
    if (p.each) {
        float *turned = b->scratch + l->scores;
        l->kernels->transpose_f32(p.mask + b->row * mask->stride[2], (size_t)mask->stride[2], b->n, p.rows, turned, ld);
        p.mask = turned;
        p.step = ld;
    }
    l->kernels->softmax_columns_f32(&p, b->scratch);
}

/* Y = P V: rows of queries. */
static void run_rows(const Attend *a, const Layout *l, const Block *b, const float *values)
{
    const int tile = l->kernels->sizes.tile;
    DensePart d = { .w = b->scratch, .row = 1, .step = (size_t)l->columns, .rows = b->n, .k = (int)a->total };
    PanelOutput o = { .first = true, .last = true, .ld = (size_t)a->y.row, .lo = -INFINITY, .hi = INFINITY };
    for (int64_t j = 0; j < a->value_size; j += l->value_columns) {
        d.panel = values + j / l->value_columns * a->total * tile;
        o.columns = (int)lesser(l->value_columns, a->value_size - j);
        o.y = head_at(a, &a->y, b->sample, b->head, b->row) + j;
        l->kernels->dense_f32(&d, &o);
    }
}

/* Y' = V' P: rows of features, panel by panel of values. */
static void run_features(const Attend *a, const Layout *l, const Block *b, float *partial)
{
    const int64_t step = a->panel;
    PanelOutput o = { .columns = b->n, .y = head_at(a, &a->y, b->sample, b->head, b->row), .ld = (size_t)a->panel, .lo = -INFINITY, .hi = INFINITY, .partial = partial };
    for (int64_t j = 0; j < a->total; j += step) {
        const DensePart d = { .w = head_at(a, &a->v, b->sample, kv_head(a, b), j), .row = (size_t)step, .step = 1,
                              .rows = (int)a->value_size, .k = (int)lesser(step, a->total - j), .panel = b->scratch + j * l->columns, .ldx = (size_t)l->columns };
        o.first = j == 0;
        o.last = j + step >= a->total;
        l->kernels->dense_f32(&d, &o);
    }
}

static void run_part(const Attend *a, const void *layout, const int64_t sample_head[2], const int64_t part[2], void *memory)
{
    const Layout *l = layout;
    const int64_t group = a->heads / a->kv_heads, blocks = pieces_in(a->length, l->columns), count = group * blocks;
    float *scratch = memory, *queries = scratch + l->scores + l->mask, *values = queries + l->queries;
    if (!a->panel) pack_values(a, l, sample_head[0], sample_head[1], values);
    for (int64_t i = count * part[0] / part[1]; i < count * (part[0] + 1) / part[1]; i++) {
        Block b = { sample_head[0], sample_head[1] * group + i / blocks, i % blocks * l->columns, l->columns, scratch };
        b.n = (int)lesser(b.n, a->length - b.row);
        run_scores(a, l, &b, queries);
        run_softmax(a, l, &b);
        if (a->panel) run_features(a, l, &b, values);
        else run_rows(a, l, &b, values);
    }
}

void attend_columns(const Plan *plan, const Attend *a, void *scratch)
{
    Layout l = layout_of(a);
    l.mask_by_query = a->panel && !one_mask(a);
    attend_share(plan, a, run_part, &l, attend_columns_scratch(a), scratch);
}
