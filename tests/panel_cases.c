#include "tests/panel_cases.h"
#include "kernels/pack.h"
#include "tests/cmocka.h"
#include "tests/guard.h"
#include <math.h>
#include <string.h>

static void fill(float *x, size_t n, Random *r)
{
    for (size_t i = 0; i < n; i++)
        x[i] = random_float(r);
}

PanelWindow draw_window(Random *r)
{
    PanelWindow g = { 0 };
    bool same = random_between(r, 0, 1);
    for (int i = 0; i < 2; i++) {
        g.kernel[i] = random_between(r, 1, 4);
        g.dilation[i] = random_between(r, 1, 3);
        int reach = (g.kernel[i] - 1) * g.dilation[i] + 1, pads = random_between(r, 0, reach);
        g.stride[i] = same ? 1 : random_between(r, 1, 3);
        g.in[i] = random_between(r, 1, i ? 40 : 12);
        if (same)
            pads = reach - 1;
        if (g.in[i] + pads < reach)
            g.in[i] = reach;
        g.pad[i] = random_between(r, 0, pads);
        g.out[i] = (g.in[i] + pads - reach) / g.stride[i] + 1;
    }
    if (random_between(r, 0, 9) == 0)
        g = (PanelWindow) { .in = { 1, g.in[1] * 4 }, .out = { 1, g.in[1] * 4 }, .kernel = { 1, 1 }, .stride = { 1, 1 }, .dilation = { 1, 1 } };
    g.plane = (size_t)(g.in[0] * g.in[1] + random_between(r, 0, 3));
    return g;
}

void compare_pack(const Kernels *scalar, const Kernels *level, Random *r)
{
    static const int widths[] = { 16, 32, 48, 64 };
    PanelWindow g = draw_window(r);
    int channels = random_between(r, 1, 5), taps = g.kernel[0] * g.kernel[1], images = random_between(r, 1, 3), columns = images * g.out[0] * g.out[1];
    PanelPart p = { .k0 = random_between(r, 0, channels * taps - 1), .n0 = random_between(r, 0, columns - 1), .width = widths[random_below(r, 4)] };
    p.k1 = random_between(r, p.k0 + 1, channels * taps);
    int left = columns - (int)p.n0;
    p.n = random_between(r, 1, left < PANEL_COLUMNS ? left : PANEL_COLUMNS);
    size_t rows = (size_t)(p.k1 - p.k0), width = (size_t)p.width, floats = ((size_t)p.n + width - 1) / width * width * rows;
    size_t inputs = (size_t)(channels - 1) * g.plane + (size_t)(g.in[0] * g.in[1]);
    g.image = inputs + (size_t)random_between(r, 0, 5);
    Guard x = guard_floats((size_t)(images - 1) * g.image + inputs, 10, r), a = guard_new(floats * 4, 0), b = guard_new(floats * 4, 0);
    level->pack_f32(&g, x.data, &p, a.data);
    scalar->pack_f32(&g, x.data, &p, b.data);
    for (size_t k = 0; k < rows; k++)
        for (size_t j = 0; j < (size_t)p.n; j++) {
            size_t at = j / width * width * rows + k * width + j % width;
            assert_memory_equal((float *)a.data + at, (float *)b.data + at, sizeof(float));
        }
    guard_free(&x);
    guard_free(&a);
    guard_free(&b);
}

enum { MOST_ROWS = 20, SHORT = 40, LONG = 900 };                /* LONG: several chains of the dense product */

/* A product of one tile or panel, with buffers that end where they may be touched last. */
typedef struct Case {
    int rows, k, columns, width;
    size_t ld, residual_ld;
    Guard w, panel, bias, residual, y, partial;
    PanelOutput o;
} Case;

static size_t matrix_floats(int rows, int columns, size_t ld)
{
    return (size_t)(rows - 1) * ld + (size_t)columns;
}

static Case draw_case(int width, int longest, Random *r)
{
    Case c = { .rows = random_between(r, 1, MOST_ROWS), .columns = random_between(r, 1, width), .width = width };
    c.k = random_between(r, 1, random_between(r, 0, 5) ? SHORT : longest);
    if (random_between(r, 0, 3) == 0)
        c.columns = random_between(r, 1, width / PANEL_VECTOR) * PANEL_VECTOR;
    c.ld = (size_t)random_between(r, c.columns, 100);
    c.residual_ld = random_between(r, 0, 1) ? c.ld : (size_t)random_between(r, c.columns, 100);
    bool by_column = random_between(r, 0, 1);
    int padded = (c.columns + PANEL_VECTOR - 1) / PANEL_VECTOR * PANEL_VECTOR;
    size_t outputs = matrix_floats(c.rows, c.columns, c.ld);
    c.panel = guard_floats(matrix_floats(c.k, padded, (size_t)width), 10, r);
    c.bias = guard_floats((size_t)(by_column ? c.columns : c.rows), 10, r);
    c.residual = guard_floats(matrix_floats(c.rows, c.columns, c.residual_ld), 10, r);
    c.y = guard_new(outputs * sizeof(float), 0);
    c.partial = guard_floats(matrix_floats(c.rows, padded, (size_t)width), 10, r);
    c.o = (PanelOutput) { .first = random_between(r, 0, 2), .last = random_between(r, 0, 2), .bias_of_columns = by_column, .columns = c.columns,
                          .bias = random_between(r, 0, 3) ? c.bias.data : NULL, .residual = random_between(r, 0, 1) ? c.residual.data : NULL,
                          .residual_ld = c.residual_ld, .y = c.y.data, .ld = c.ld, .lo = random_between(r, 0, 1) ? -INFINITY : -0.5f,
                          .hi = random_between(r, 0, 1) ? INFINITY : 0.75f, .partial = c.partial.data };
    return c;
}

static void free_case(Case *c)
{
    guard_free(&c->w);
    guard_free(&c->panel);
    guard_free(&c->bias);
    guard_free(&c->residual);
    guard_free(&c->y);
    guard_free(&c->partial);
}

/* w (rows, k) row-major. Checks what was written: y in the last block (NaN-filled gaps must stay), partial in others. `before` is partial at the start. */
static void check_case(const Case *c, const float *w, const float *before)
{
    const float *panel = c->panel.data, *y = c->o.last ? c->y.data : c->partial.data, *bias = c->o.bias;
    size_t ld = c->o.last ? c->ld : (size_t)c->width;
    for (int m = 0; m < c->rows; m++)
        for (int j = 0; j < c->columns; j++) {
            size_t at = (size_t)m * (size_t)c->width + (size_t)j;
            double sum = c->o.first ? 0 : before[at], size = fabs(sum);
            for (int k = 0; k < c->k; k++) {
                double term = (double)w[m * c->k + k] * panel[k * c->width + j];
                sum += term;
                size += fabs(term);
            }
            if (c->o.last) {
                double offset = bias ? bias[c->o.bias_of_columns ? j : m] : 0, more = c->o.residual ? c->o.residual[(size_t)m * c->residual_ld + (size_t)j] : 0;
                sum = fmin(fmax(sum + offset + more, c->o.lo), c->o.hi);
                size += fabs(offset) + fabs(more);
            }
            assert_true(fabs(y[(size_t)m * ld + (size_t)j] - sum) <= (c->k + 4) * 0x1p-23 * size);
        }
    const unsigned char *bytes = c->y.data;
    for (int m = 0; m + 1 < c->rows; m++)
        for (size_t i = ((size_t)m * c->ld + (size_t)c->columns) * 4; i < (size_t)(m + 1) * c->ld * 4; i++)
            assert_int_equal(bytes[i], 0xa5);
}

/* Runs it; what the operands are must not depend on the level. */
static void run_case(Case *c, const float *w, void (*run)(const Kernels *, const Case *), const Kernels *k)
{
    float before[MOST_ROWS * (PANEL_COLUMNS + PANEL_VECTOR)];
    memcpy(before, c->partial.data, c->partial.bytes);
    memset(c->y.data, 0xa5, c->y.bytes);
    run(k, c);
    check_case(c, w, before);
}

static void run_packed(const Kernels *k, const Case *c)
{
    k->dense_f32(&(DensePart) { .w = c->w.data, .packed = true, .rows = c->rows, .k = c->k, .panel = c->panel.data }, &c->o);
}

static void run_plain(const Kernels *k, const Case *c)
{
    const size_t lda = (size_t)c->k;
    k->dense_f32(&(DensePart) { .w = c->w.data, .row = lda, .step = 1, .rows = c->rows, .k = c->k, .panel = c->panel.data }, &c->o);
}

/* The rows of the panel are further apart. */
static void run_spaced(const Kernels *k, const Case *c)
{
    const size_t lda = (size_t)c->k, ldx = 70, columns = (size_t)(c->columns + PANEL_VECTOR - 1) / PANEL_VECTOR * PANEL_VECTOR;
    Guard x = guard_new(matrix_floats(c->k, (int)columns, ldx) * sizeof(float), 0);
    for (size_t i = 0; i < lda; i++)
        memcpy((float *)x.data + i * ldx, (float *)c->panel.data + i * (size_t)c->width, columns * sizeof(float));
    const DensePart d = { .w = c->w.data, .row = lda, .step = 1, .rows = c->rows, .k = c->k, .panel = x.data, .ldx = ldx };
    k->dense_f32(&d, &c->o);
    guard_free(&x);
}

/* The panel's columns lie in a matrix, and the product packs them. */
static void run_filling(const Kernels *k, const Case *c)
{
    const size_t ldx = 70, columns = (size_t)c->columns, width = (size_t)c->width;
    Guard x = guard_new(matrix_floats(c->k, c->columns, ldx) * sizeof(float), 0);
    for (size_t i = 0; i < (size_t)c->k; i++) {
        memcpy((float *)x.data + i * ldx, (float *)c->panel.data + i * width, columns * sizeof(float));
        memset((float *)c->panel.data + i * width, 0, columns * sizeof(float));
    }
    k->dense_f32(&(DensePart) { .w = c->w.data, .packed = true, .rows = c->rows, .k = c->k, .panel = c->panel.data, .fill = c->panel.data, .x = x.data, .ldx = ldx },
                 &c->o);
    for (size_t i = 0; i < (size_t)c->k; i++)
        assert_memory_equal((float *)x.data + i * ldx, (float *)c->panel.data + i * width, columns * sizeof(float));
    guard_free(&x);
}

/* The panel's columns lie elsewhere, vectors and rows in the opposite order. */
static void run_apart(const Kernels *k, const Case *c)
{
    const float *at[PANEL_COLUMNS / PANEL_VECTOR];
    int32_t offset[LONG];
    const int ldx = 70;
    Guard x = guard_new(matrix_floats(c->k, c->columns, (size_t)ldx) * sizeof(float), 0);
    for (int i = 0; i < c->k; i++)
        offset[i] = (c->k - 1 - i) * ldx;
    for (int j = 0; j < c->columns; j += PANEL_VECTOR) {
        float *to = (float *)x.data + c->columns - PANEL_VECTOR - j;
        at[j / PANEL_VECTOR] = to;
        for (int i = 0; i < c->k; i++)
            memcpy(to + offset[i], (float *)c->panel.data + i * c->width + j, PANEL_VECTOR * sizeof(float));
    }
    k->dense_f32(&(DensePart) { .w = c->w.data, .packed = true, .rows = c->rows, .k = c->k, .at = at, .offset = offset }, &c->o);
    guard_free(&x);
}

/* Levels differ in their sizes, so each has operands of its own; both are checked against sums in double. */
void compare_dense(const Kernels *scalar, const Kernels *level, Random *r)
{
    const Kernels *both[] = { scalar, level };
    for (int i = 0; i < 2; i++) {
        Case c = draw_case(both[i]->sizes.tile, LONG, r);
        float w[MOST_ROWS * LONG];
        if (random_between(r, 0, 9) == 0)
            c.k = 0;
        fill(w, (size_t)(c.rows * c.k), r);
        const Weights weights = { w, (size_t)c.k, 1, c.rows };
        int strip = both[i]->sizes.strip;
        bool packed = random_between(r, 0, 1);
        c.w = guard_new((packed ? weights_dense_count(&weights, 0, c.k, strip) : (size_t)(c.rows * c.k)) * sizeof(float), 0);
        if (packed)
            weights_pack_dense(&weights, 0, c.k, strip, c.w.data);
        else
            memcpy(c.w.data, w, c.w.bytes);
        int form = packed && c.columns % PANEL_VECTOR == 0 && c.k ? random_between(r, 0, 2) : 0;
        bool spaced = !packed && c.k && random_between(r, 0, 1);
        run_case(&c, w, form == 2 ? run_apart : form && c.rows >= strip ? run_filling : packed ? run_packed : spaced ? run_spaced : run_plain, both[i]);
        free_case(&c);
    }
}

/* One chain of so many equal products would be wrong by 14 to 31 millionths. */
void check_long_sums(const Kernels *k)
{
    enum { PRODUCTS = 3072 };
    static const float value[] = { 0.1f, 0.7f, 0.9f };
    const int tile = k->sizes.tile, rows = k->sizes.strip;
    Guard w = guard_new((size_t)(PRODUCTS * rows) * sizeof(float), 0), panel = guard_new((size_t)(PRODUCTS * tile) * sizeof(float), 0);
    float y[MOST_ROWS * PANEL_COLUMNS];
    for (int i = 0; i < 6; i++) {
        const float x = value[i / 2];
        const int columns = tile - i % 2 * 12;                 /* whole registers, and the last ones with rows in the lanes */
        for (int j = 0; j < PRODUCTS * rows; j++) ((float *)w.data)[j] = 1;
        for (int j = 0; j < PRODUCTS * tile; j++) ((float *)panel.data)[j] = x;
        k->dense_f32(&(DensePart) { .w = w.data, .packed = true, .rows = rows, .k = PRODUCTS, .panel = panel.data },
                     &(PanelOutput) { .first = true, .last = true, .columns = columns, .y = y, .ld = PANEL_COLUMNS, .lo = -INFINITY, .hi = INFINITY });
        for (int m = 0; m < rows; m++)
            for (int j = 0; j < columns; j++)
                assert_true(fabs(y[m * PANEL_COLUMNS + j] / (PRODUCTS * (double)x) - 1) < 5e-6);
    }
    guard_free(&w);
    guard_free(&panel);
}

/* Columns first ... end - 1 of a matrix, with rows `pitch` apart. */
static Guard columns_of(const float *x, int rows, size_t ld, int first, int end, int pitch)
{
    Guard g = guard_new(end > first ? matrix_floats(rows, end - first, (size_t)pitch) * sizeof(float) : 0, 0);
    for (int i = 0; i < rows && end > first; i++)
        memcpy((float *)g.data + i * pitch, x + (size_t)i * ld + first, (size_t)(end - first) * sizeof(float));
    return g;
}

/* The other way round. */
static void put_behind(const Guard *g, const Case *c, int width, int pitch)
{
    for (int m = 0; m < c->rows; m++)
        memcpy(c->o.y + (size_t)m * c->ld + width, (float *)g->data + m * pitch, (size_t)(c->columns - width) * sizeof(float));
}

static void run_sparse_into(const Kernels *k, const Case *c, const PanelOutput *o)
{
    const SparseHead *head = c->w.data;
    int heads = sparse_heads(c->rows, &k->sizes), columns = (c->columns + PANEL_VECTOR - 1) / PANEL_VECTOR * PANEL_VECTOR, width = k->sizes.sparse;
    Guard panel = columns_of(c->panel.data, c->k, (size_t)c->width, 0, columns < width ? columns : width, width);
    Guard behind = columns_of(c->panel.data, c->k, (size_t)c->width, width, columns, k->sizes.sparse_most - width);
    const SparseLine *line = (const SparseLine *)((const char *)c->w.data + sparse_lines_at(heads));
    k->sparse_f32(&(SparsePart) { .head = head, .heads = heads, .line = line, .panel = panel.data, .behind = behind.data, .pitch = (size_t)c->width }, o);
    guard_free(&panel);
    guard_free(&behind);
}

/* Columns beyond the panel's width go behind the others of their row, or lie apart. */
static void run_sparse(const Kernels *k, const Case *c)
{
    const int width = k->sizes.sparse, pitch = k->sizes.sparse_most - width;
    PanelOutput o = c->o;
    o.behind.y = o.y + width;
    o.behind.ld = o.ld;
    o.behind.residual = o.residual ? o.residual + width : NULL;
    o.behind.residual_ld = o.residual_ld;
    if (c->columns <= width || c->k % 2) {
        run_sparse_into(k, c, &o);
        return;
    }
    Guard y = guard_new(matrix_floats(c->rows, c->columns - width, (size_t)pitch) * sizeof(float), 0);
    Guard residual = columns_of(c->residual.data, c->rows, c->residual_ld, width, c->columns, pitch);
    o.behind.y = y.data;
    o.behind.residual = o.residual ? residual.data : NULL;
    o.behind.ld = o.behind.residual_ld = (size_t)pitch;
    run_sparse_into(k, c, &o);
    if (o.last) put_behind(&y, c, width, pitch);
    guard_free(&y);
    guard_free(&residual);
}

void compare_sparse(const Kernels *scalar, const Kernels *level, Random *r)
{
    const Kernels *both[] = { scalar, level };
    for (int i = 0; i < 2; i++) {
        Case c = draw_case(both[i]->sizes.sparse_most, SHORT, r);
        float w[MOST_ROWS * SHORT];
        uint32_t density = random_below(r, 6);                 /* 0 to 1 in fifths */
        for (int j = 0; j < c.rows * c.k; j++)
            w[j] = random_below(r, 5) < density ? random_float(r) : 0;
        const Weights weights = { w, (size_t)c.k, 1, c.rows };
        size_t bytes = weights_pack_sparse(&weights, NULL, 0, c.k, &both[i]->sizes, NULL);
        c.w = guard_new((bytes + 7) / 8 * 8, 0);               /* the heads are aligned */
        assert_int_equal(weights_pack_sparse(&weights, NULL, 0, c.k, &both[i]->sizes, c.w.data), bytes);
        run_case(&c, w, run_sparse, both[i]);
        free_case(&c);
    }
}

typedef size_t PackFew(const Weights *w, int k0, int k1, void *memory);
typedef void   RunFew(const FewPart *p, float *sums);

/* Both levels on the same unit: columns from k0 on of w (rows, p->k), against sums in double. x: of token t from t / 2 * ldx + t % 2 on where there are pairs. */
static void check_few(const Weights *w, int k0, PackFew *pack, RunFew *const run[2], FewPart *p, Random *r)
{
    const int k = p->k;
    enum { SUMS = FEW_TOKENS * FEW_ROWS };
    bool pairs = pack == weights_pack_gather && p->tokens > 1;
    size_t bytes = pack(w, k0, k, NULL);
    Guard unit = guard_new(bytes, 0), x = guard_floats((size_t)(p->tokens * k), 10, r), before = guard_floats(SUMS, 10, r), after = guard_new(before.bytes, 0);
    assert_int_equal(pack(w, k0, k, unit.data), bytes);
    p->unit = unit.data;
    p->groups = few_groups(w->rows);
    p->k = k - k0;
    p->ldx = (size_t)k * (pairs ? 2 : 1);
    p->x = (float *)x.data + (pairs ? 2 : 1) * k0;
    for (int level = 0; level < 2; level++) {
        memcpy(after.data, before.data, before.bytes);
        run[level](p, after.data);
        for (int i = 0; i < p->tokens * w->rows; i++) {
            int t = i / w->rows, m = i % w->rows;
            double sum = ((float *)before.data)[t * FEW_ROWS + m], size = fabs(sum);
            for (int j = k0; j < k; j++) {
                double term = (double)w->w[m * k + j] * ((float *)x.data)[pairs ? t / 2 * 2 * k + 2 * j + t % 2 : t * k + j];
                sum += term;
                size += fabs(term);
            }
            assert_true(fabs(((float *)after.data)[t * FEW_ROWS + m] - sum) <= (k + 4) * 0x1p-23 * size);
        }
    }
    Guard *guards[] = { &unit, &x, &before, &after };
    for (size_t i = 0; i < 4; i++)
        guard_free(guards[i]);
}

/* Rows of equal and of different density, empty and full ones, and one with a single weight. */
static void draw_few(PackFew *pack, RunFew *const run[2], Random *r)
{
    int rows = random_between(r, 1, FEW_ROWS), k = random_between(r, 1, random_between(r, 0, 2) ? 60 : 3000), k0 = random_between(r, 0, k - 1);
    int one = random_between(r, 0, rows - 1);
    bool mixed = random_between(r, 0, 1);
    Guard w = guard_floats((size_t)(rows * k), random_below(r, 11), r);
    for (int m = 0; mixed && m < rows; m++)
        for (int i = 0, kept = (int)random_below(r, 11); i < k; i++)
            ((float *)w.data)[m * k + i] = m == one ? (float)(i == k - 1) : (int)random_below(r, 10) < kept ? random_float(r) : 0;
    FewPart p = { .k = k, .tokens = random_between(r, 1, FEW_TOKENS) };
    if (pack == weights_pack_gather && p.tokens == 3)
        p.tokens = 4;
    check_few(&(Weights) { w.data, (size_t)k, 1, rows }, k0, pack, run, &p, r);
    guard_free(&w);
}

void compare_gather(const Kernels *scalar, const Kernels *level, Random *r)
{
    draw_few(weights_pack_gather, (RunFew *const[]) { scalar->gather_f32, level->gather_f32 }, r);
}

void compare_bitmap(const Kernels *scalar, const Kernels *level, Random *r)
{
    draw_few(weights_pack_bitmap, (RunFew *const[]) { scalar->bitmap_f32, level->bitmap_f32 }, r);
}

/* In layers of common sizes: gathered at most 7 bytes a nonzero whatever their share, with bitmaps at most 4.3 where that is half, and 6 at a tenth. */
void check_few_bytes(void)
{
    static const struct { int k; uint32_t tenths; double bitmap; } layers[] = {
        { 2048, 5, 4.3 }, { 2048, 2, 5 }, { 2048, 1, 6 }, { 512, 5, 4.3 }, { 512, 2, 5 }, { 512, 1, 6 },
    };
    Random r = { 1 };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        Guard w = guard_floats((size_t)(FEW_ROWS * layers[i].k), layers[i].tenths, &r);
        const Weights weights = { w.data, (size_t)layers[i].k, 1, FEW_ROWS };
        size_t nonzeros = weights_nonzeros(&weights, 0, layers[i].k);
        assert_true(weights_pack_gather(&weights, 0, layers[i].k, NULL) <= 7 * nonzeros);
        assert_true((double)weights_pack_bitmap(&weights, 0, layers[i].k, NULL) <= layers[i].bitmap * (double)nonzeros);
        guard_free(&w);
    }
}

void compare_split(const Kernels *scalar, const Kernels *level, Random *r)
{
    size_t n = random_below(r, 150);
    Guard x = guard_floats(n, 10, r), even[2], odd[2];
    for (int i = 0; i < 2; i++) {
        even[i] = guard_new((n + 1) / 2 * sizeof(float), 0);
        odd[i] = guard_new(n / 2 * sizeof(float), 0);
        (i ? level : scalar)->split_f32(x.data, n, even[i].data, odd[i].data);
    }
    assert_memory_equal(even[0].data, even[1].data, even[0].bytes);
    assert_memory_equal(odd[0].data, odd[1].data, odd[0].bytes);
    for (int i = 0; i < 2; i++) {
        guard_free(&even[i]);
        guard_free(&odd[i]);
    }
    guard_free(&x);
}

void compare_transpose(const Kernels *scalar, const Kernels *level, Random *r)
{
    int rows = random_between(r, 1, 40), columns = random_between(r, 1, 40);
    size_t ldx = (size_t)random_between(r, columns, 60), ldy = (size_t)random_between(r, rows, 60), floats = matrix_floats(columns, rows, ldy);
    Guard x = guard_floats(matrix_floats(rows, columns, ldx), 10, r), a = guard_new(floats * 4, 0), b = guard_new(floats * 4, 0);
    level->transpose_f32(x.data, ldx, rows, columns, a.data, ldy);
    scalar->transpose_f32(x.data, ldx, rows, columns, b.data, ldy);
    assert_memory_equal(a.data, b.data, floats * 4);
    guard_free(&x);
    guard_free(&a);
    guard_free(&b);
}

/* Sums of both levels stay within the bound of a sum of so many products and a bias, each below 1. */
void compare_depthwise(const Kernels *scalar, const Kernels *level, Random *r)
{
    PanelWindow g = draw_window(r);
    int planes = random_between(r, 1, 3);
    size_t pixels = (size_t)(g.out[0] * g.out[1]), outputs = (size_t)planes * pixels, taps = (size_t)(g.kernel[0] * g.kernel[1]);
    g.plane = (size_t)(g.in[0] * g.in[1]);
    Guard x = guard_floats((size_t)planes * g.plane, 10, r), w = guard_floats((size_t)planes * taps, 10, r), residual = guard_floats(outputs, 10, r);
    Guard a = guard_new(outputs * 4, 0), b = guard_new(outputs * 4, 0), bias = guard_floats((size_t)planes, 10, r);
    Depthwise d = { .planes = planes, .x = x.data, .w = w.data, .residual = random_between(r, 0, 1) ? residual.data : NULL, .y = a.data, .y_plane = pixels,
                    .bias = random_between(r, 0, 4) ? bias.data : NULL,
                    .lo = random_between(r, 0, 1) ? -INFINITY : -0.5f, .hi = random_between(r, 0, 1) ? INFINITY : 0.75f };
    level->depthwise_f32(&g, &d);
    d.y = b.data;
    scalar->depthwise_f32(&g, &d);
    for (size_t i = 0; i < outputs; i++)
        assert_true(fabs(((float *)a.data)[i] - (double)((float *)b.data)[i]) <= (double)(taps + 4) * 0x1p-23 * (double)(taps + 2));
    Guard *all[] = { &x, &w, &residual, &a, &b, &bias };
    for (size_t i = 0; i < 6; i++)
        guard_free(all[i]);
}
