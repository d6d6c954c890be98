/* Matrix products: MatMul, Gemm and their integer and quantized forms. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/choose.h"
#include "engine/matmul.h"
#include "engine/fuse.h"
#include "engine/panels.h"
#include "engine/plan_internal.h"
#include "engine/quant.h"
#include "engine/run_ops.h"
#include "engine/walk.h"
#include "engine/widen.h"

#define REAL float
#define SUM float
#define NAME(x) x##_f32
#include "engine/loops_product.inc"
#undef REAL
#undef SUM
#undef NAME
#define REAL double
#define SUM double
#define NAME(x) x##_f64
#include "engine/loops_product.inc"
#undef REAL
#undef SUM
#undef NAME
#define REAL uint32_t
#define SUM uint32_t
#define NAME(x) x##_u32
#include "engine/loops_product.inc"
#undef REAL
#undef SUM
#undef NAME
#define REAL uint64_t
#define SUM uint64_t
#define NAME(x) x##_u64
#include "engine/loops_product.inc"
#undef REAL
#undef SUM
#undef NAME

/* Products with a constant second operand, of tokens. --------------------------------------------------------------------------------------- */

typedef struct TokenProduct { Tokens tokens; const float *bias; } TokenProduct;

static const Buffer *bias_of(const Step *s) { return !strcmp(s->op->type, "Gemm") ? s->in[2] : NULL; }

static Err tokens_step(Plan *plan, Step *s)
{
    const TokenProduct *t = s->state;
    (void)plan;
    MultiplyRun run = { .x = s->in[0]->data, .bias = t->bias ? t->bias : bias_of(s) ? bias_of(s)->data : NULL, .y = s->out[0]->data, .scratch = s->scratch };
    Tokens tokens = t->tokens;                 /* the plan chooses panels after prep */
    tokens.from_panels = s->in[0]->panel > 0;
    tokens.to_panels = s->out[0]->panel > 0;
    fused_run(s, tokens.to_panels, &run);
    tokens_run(&tokens, &run);
    return OK;
}

static bool fits_tokens(const Step *s, int64_t k, int64_t features)
{
    const int64_t most = 1 << 30;
    return s->in[1]->constant && s->in[0]->dtype == DT_F32 && s->in[1]->count == k * features && s->out[0]->count > 0 && k > 0 && k < most && features < most;
}

/* Not where W is a vector: then the output has no axis of features. */
static void allow_panels(Step *s, const Tokens *t)
{
    const Shape *y = &s->out[0]->shape;
    if (t->packed.form != MULTIPLY_SPARSE || y->rank < 1 || y->dim[y->rank - 1] != t->packed.weights.rows) return;
    panels_allow(s, t->at_once, 1, fused_operands(s));
}

/* b (k, features), or transposed. */
static Err tokens_prep(Plan *plan, Step *s, int64_t k, int64_t features, bool transposed)
{
    TokenProduct *product;
    const Kernels *kernels;
    TRY(find_kernels(&kernels));
    TRY(plan_array(plan, 1, sizeof *product, &product));
    if (s->fused) TRY(fused_bias(plan, s, bias_of(s), features, &product->bias));
    Tokens *t = &product->tokens;
    *t = (Tokens){ .tokens = s->out[0]->count / features, .packed = { .k = (int)k, .kernels = kernels, .threads = plan->threads } };
    t->packed.weights = (Weights){ NULL, transposed ? (size_t)k : 1, transposed ? 1 : (size_t)features, (int)features };
    TRY(tokens_prepare(plan, s, transposed ? 0 : s->in[1]->shape.rank - 1, t));
    s->state = product;
    s->run = tokens_step;
    allow_panels(s, t);
    return OK;
}

/* MatMul: NumPy's matmul. Leading axes broadcast; a vector counts as one row or one column. */
typedef struct MatMul {
    int64_t m, n, k;
    Walk batch;                    /* of a's and b's leading axes */
    int64_t products;
    /* com.microsoft FusedMatMul: axis 0 stands behind the leading axes (sa, sb), then the last two are swapped (ta, tb), and the product is multiplied. */
    bool sa, sb, ta, tb;
    double alpha;
    int64_t a_step, a_lead, b_step, b_lead;    /* elements from one matrix to the next, and from one row of it, as it lies, to the next */
} MatMul;

static Err matmul_shape(const Shape *given_a, const Shape *given_b, const Shape *y, MatMul *mm)
{
    const Shape as = mm->sa ? leading_behind(given_a) : *given_a, bs = mm->sb ? leading_behind(given_b) : *given_b, *a = &as, *b = &bs;
    if (a->rank < 1 || b->rank < 1) return err_set(ERR_SHAPE, "A product needs operands of rank 1 or more.");
    if (a->rank < 2) mm->ta = false;
    if (b->rank < 2) mm->tb = false;
    mm->m = a->rank > 1 ? a->dim[a->rank - (mm->ta ? 1 : 2)] : 1;
    mm->k = a->dim[a->rank - (mm->ta ? 2 : 1)];
    mm->n = b->rank > 1 ? b->dim[b->rank - (mm->tb ? 2 : 1)] : 1;
    int64_t kb = b->rank > 1 ? b->dim[b->rank - (mm->tb ? 1 : 2)] : b->dim[0];
    if (mm->k != kb) return err_set(ERR_SHAPE, "A has %lld columns where B has %lld rows.", (long long)mm->k, (long long)kb);
    Shape batch = { .rank = y->rank - (a->rank > 1) - (b->rank > 1) }, ba = { .rank = a->rank > 2 ? a->rank - 2 : 0 }, bb = { .rank = b->rank > 2 ? b->rank - 2 : 0 };
    memcpy(batch.dim, y->dim, sizeof batch.dim);
    memcpy(ba.dim, a->dim, sizeof ba.dim);
    memcpy(bb.dim, b->dim, sizeof bb.dim);
    mm->products = shape_span(&batch, 0, batch.rank);
    mm->a_lead = (mm->ta ? mm->m : mm->k) * (mm->sa ? shape_span(&ba, 0, ba.rank) : 1);
    mm->b_lead = (mm->tb ? mm->k : mm->n) * (mm->sb ? shape_span(&bb, 0, bb.rank) : 1);
    mm->a_step = mm->sa ? (mm->ta ? mm->m : mm->k) : mm->m * mm->k;
    mm->b_step = mm->sb ? (mm->tb ? mm->k : mm->n) : mm->k * mm->n;
    if (ba.rank > batch.rank || bb.rank > batch.rank) return err_set(ERR_SHAPE, "The leading axes of a product do not broadcast.");
    walk_init(&mm->batch, &batch, (const Shape *[]){ &ba, &bb }, 2);
    return OK;
}

/* Offsets, in matrices, of a's and b's operand of product i */
static void matmul_at(const MatMul *mm, int64_t i, int64_t at[2])
{
    int64_t offset[WALK_OPERANDS], inner = i % mm->batch.inner;
    walk_row(&mm->batch, i / mm->batch.inner, offset);
    for (int k = 0; k < 2; k++) at[k] = offset[k] + inner * mm->batch.stride[k][mm->batch.rank - 1];
}

/* A constant first operand: its rows are output channels, the columns of B are pixels. */
static Err left_run(Plan *plan, Step *s)
{
    (void)plan;
    columns_run(s->state, &(MultiplyRun){ .x = s->in[1]->data, .y = s->out[0]->data, .lo = -INFINITY, .hi = INFINITY, .scratch = s->scratch });
    return OK;
}

static bool fits_left(const Step *s, const MatMul *mm)
{
    const Buffer *b = s->in[1];
    return s->in[0]->constant && s->in[0]->count == mm->m * mm->k && b->count == mm->products * mm->k * mm->n && mm->products > 0 && mm->products < 1 << 24;
}

static Err left_prep(Plan *plan, Step *s, const MatMul *mm)
{
    Columns *c;
    MultiplyShape shape = { .batch = (int)mm->products, .groups = 1, .k = (int)mm->k, .columns = mm->n, .weights = { s->in[0]->data, (size_t)mm->k, 1, (int)mm->m } };
    shape.window = panel_matrix((int)mm->n, (size_t)mm->n);
    TRY(plan_array(plan, 1, sizeof *c, &c));
    TRY(columns_start(plan, s, &shape));
    TRY(columns_prepare(plan, s, &shape, c));
    s->state = c;
    s->run = left_run;
    return OK;
}

/* float32 with two operands that are no constants */
typedef struct Products { Matmul one; int64_t count, *at[2]; float alpha; } Products;

static Err products_run(Plan *plan, Step *s)
{
    const Products *p = s->state;
    const MatmulRun run = { .a = s->in[0]->data, .b = s->in[1]->data, .y = s->out[0]->data, .scratch = (float *)s->scratch, .count = p->count, .at_a = p->at[0],
                            .at_b = p->at[1], .y_step = (size_t)p->one.m * (size_t)p->one.n, .threads = plan->threads };
    matmul_run(&p->one, &run);
    if (p->alpha != 1) p->one.kernels->combine_f32(&(Combine){ ARITHMETIC_MUL, 1, 0 }, run.y, &p->alpha, run.y, (size_t)s->out[0]->count);
    return OK;
}

static bool fits_matmul(int64_t m, int64_t n, int64_t k)
{
    const int64_t most = 1 << 24;
    return m > 0 && n > 0 && k > 0 && m < most && n < most && k < most;
}

static Err products_prep(Plan *plan, Step *s, const MatMul *mm)
{
    Products *p;
    TRY(plan_array(plan, 1, sizeof *p, &p));
    size_t m = (size_t)mm->m, n = (size_t)mm->n, k = (size_t)mm->k;
    p->one = (Matmul){ .m = (int)m, .n = (int)n, .k = (int)k, .a_row = mm->ta ? 1 : k, .a_column = mm->ta ? m : 1, .b_row = mm->tb ? 1 : n, .b_column = mm->tb ? k : 1,
                       .ldy = n };
    p->count = mm->products;
    p->alpha = (float)mm->alpha;
    TRY(find_kernels(&p->one.kernels));
    for (int i = 0; i < 2; i++) TRY(plan_array(plan, mm->products, sizeof *p->at[i], &p->at[i]));
    for (int64_t i = 0; i < mm->products; i++) {
        int64_t at[2];
        matmul_at(mm, i, at);
        p->at[0][i] = at[0] * mm->m * mm->k;
        p->at[1][i] = at[1] * mm->k * mm->n;
    }
    s->state = p;
    s->scratch_bytes = matmul_scratch(&p->one) * (size_t)plan->threads * sizeof(float);
    s->run = products_run;
    return OK;
}

#define MATMUL_RUN(T, SUFFIX) \
    static Err matmul_run_##SUFFIX(Plan *plan, Step *s) \
    { \
        const MatMul *mm = s->state; \
        memset(s->out[0]->data, 0, s->out[0]->bytes); \
        for (int64_t i = 0; i < mm->products; i++) { \
            int64_t at[2]; \
            matmul_at(mm, i, at); \
            Product_##SUFFIX p = { mm->m, mm->n, mm->k, (const T *)s->in[0]->data + at[0] * mm->a_step, mm->ta ? 1 : mm->a_lead, mm->ta ? mm->a_lead : 1, \
                (const T *)s->in[1]->data + at[1] * mm->b_step, mm->b_lead, mm->tb, (T *)s->out[0]->data + i * mm->m * mm->n, (T)mm->alpha }; \
            if (mm->n == 1 && !mm->sb) { p.b_transposed = true; p.b_row = mm->k; } \
            product_##SUFFIX(plan, &p); \
        } \
        return OK; \
    }
MATMUL_RUN(float, f32) MATMUL_RUN(double, f64) MATMUL_RUN(uint32_t, u32) MATMUL_RUN(uint64_t, u64)

/* A vector as second operand has no axis of output channels. */
int matmul_fuses(const Step *s)
{
    MatMul mm = { 0 };
    if (s->in[0]->dtype != DT_F32 || s->in[1]->dtype != DT_F32 || s->in[1]->shape.rank < 2) return -1;
    if (matmul_shape(&s->in[0]->shape, &s->in[1]->shape, &s->out[0]->shape, &mm) != OK) return -1;
    return fits_tokens(s, mm.k, mm.n) ? s->out[0]->shape.rank - 1 : -1;
}

Err matmul_prep(Plan *plan, Step *s)
{
    Err e;
    if (widened(plan, s, matmul_prep, &e)) return e;
    MatMul *mm;
    DType t = s->in[0]->dtype;
    if (t != s->in[1]->dtype) return err_set(ERR_SHAPE, "MatMul has operands of different types.");
    TRY(plan_array(plan, 1, sizeof *mm, &mm));
    *mm = (MatMul){ .ta = attr_i(s->node, "transA", 0), .tb = attr_i(s->node, "transB", 0), .alpha = (double)attr_f(s->node, "alpha", 1),
        .sa = attr_i(s->node, "transBatchA", 0), .sb = attr_i(s->node, "transBatchB", 0) };
    TRY(matmul_shape(&s->in[0]->shape, &s->in[1]->shape, &s->out[0]->shape, mm));
    if (fits_tokens(s, mm->k, mm->n) && !mm->ta && !mm->sa && !mm->sb && mm->alpha == 1) return tokens_prep(plan, s, mm->k, mm->n, mm->tb);
    bool fits = t == DT_F32 && !mm->sa && !mm->sb && mm->products && fits_matmul(mm->m, mm->n, mm->k);
    if (fits && !mm->ta && !mm->tb && mm->alpha == 1 && fits_left(s, mm)) return left_prep(plan, s, mm);
    if (fits) return products_prep(plan, s, mm);
    s->state = mm;
    switch (t) {
    case DT_F32: s->run = matmul_run_f32; return OK;
    case DT_F64: s->run = matmul_run_f64; return OK;
    case DT_I32: case DT_U32: s->run = matmul_run_u32; return OK;      /* two's complement: the same bits */
    case DT_I64: case DT_U64: s->run = matmul_run_u64; return OK;
    default: return step_refuse(s, "input", s->in[0]);
    }
}

/* Gemm: Y = alpha * A' * B' + beta * C */
typedef struct Gemm { int64_t m, n, k; bool ta, tb; Walk c; } Gemm;

#define GEMM_RUN(T, SUFFIX) \
    static Err gemm_run_##SUFFIX(Plan *plan, Step *s) \
    { \
        const Gemm *g = s->state; \
        T *y = s->out[0]->data, beta = (T)attr_f(s->node, "beta", 1); \
        const T *c = s->in[2] ? s->in[2]->data : NULL; \
        int last = g->c.rank - 1; \
        memset(y, 0, s->out[0]->bytes); \
        for (int64_t row = 0; c && row < g->c.outer; row++) { \
            int64_t at[WALK_OPERANDS]; \
            walk_row(&g->c, row, at); \
            for (int64_t i = 0; i < g->c.inner; i++) y[row * g->c.inner + i] = beta * c[at[0] + i * g->c.stride[0][last]]; \
        } \
        Product_##SUFFIX p = { g->m, g->n, g->k, s->in[0]->data, g->ta ? 1 : g->k, g->ta ? g->m : 1, \
            s->in[1]->data, g->tb ? g->k : g->n, g->tb, y, (T)attr_f(s->node, "alpha", 1) }; \
        product_##SUFFIX(plan, &p); \
        return OK; \
    }
GEMM_RUN(float, f32) GEMM_RUN(double, f64) GEMM_RUN(uint32_t, u32) GEMM_RUN(uint64_t, u64)

/* Y = A * B' + one row of C */
static bool gemm_of_tokens(const Step *s, const Gemm *g)
{
    const Buffer *c = s->in[2];
    bool row = !c || (c->count == g->n && c->shape.rank && c->shape.dim[c->shape.rank - 1] == g->n && attr_f(s->node, "beta", 1) == 1);
    return row && !g->ta && attr_f(s->node, "alpha", 1) == 1 && fits_tokens(s, g->k, g->n);
}

static Err gemm_shape(const Step *s, Gemm *g)
{
    const Shape *a = &s->in[0]->shape, *b = &s->in[1]->shape, *y = &s->out[0]->shape;
    if (a->rank != 2 || b->rank != 2) return err_set(ERR_SHAPE, "Gemm needs matrices.");
    g->ta = attr_i(s->node, "transA", 0);
    g->tb = attr_i(s->node, "transB", 0);
    g->m = a->dim[g->ta]; g->k = a->dim[!g->ta]; g->n = b->dim[!g->tb];
    if (b->dim[g->tb] != g->k) return err_set(ERR_SHAPE, "A has %lld columns where B has %lld rows.", (long long)g->k, (long long)b->dim[g->tb]);
    for (int i = 1; i < 3; i++) if (s->in[i] && s->in[i]->dtype != s->in[0]->dtype) return err_set(ERR_SHAPE, "Gemm has operands of different types.");
    if (s->in[2]) {
        const Shape *c = &s->in[2]->shape;
        for (int i = 0; i < c->rank; i++)
            if (c->rank > 2 || (c->dim[i] != 1 && c->dim[i] != y->dim[i + 2 - c->rank])) return err_set(ERR_SHAPE, "C does not broadcast to the shape of the product.");
        walk_init(&g->c, y, (const Shape *[]){ c }, 1);
    }
    return OK;
}

int gemm_fuses(const Step *s)
{
    Gemm g;
    bool constant = !s->in[2] || s->in[2]->constant;
    return constant && s->in[0]->dtype == DT_F32 && gemm_shape(s, &g) == OK && gemm_of_tokens(s, &g) ? 1 : -1;
}

Err gemm_prep(Plan *plan, Step *s)
{
    Err e;
    Gemm *g;
    if (widened(plan, s, gemm_prep, &e)) return e;
    TRY(plan_array(plan, 1, sizeof *g, &g));
    TRY(gemm_shape(s, g));
    if (gemm_of_tokens(s, g)) return tokens_prep(plan, s, g->k, g->n, g->tb);
    s->state = g;
    switch (s->in[0]->dtype) {
    case DT_F32: s->run = gemm_run_f32; return OK;
    case DT_F64: s->run = gemm_run_f64; return OK;
    case DT_I32: case DT_U32: s->run = gemm_run_u32; return OK;
    case DT_I64: case DT_U64: s->run = gemm_run_u64; return OK;
    default: return step_refuse(s, "input", s->in[0]);
    }
}

/* Integer products through those of float32: operands minus their zero points are whole numbers up to 255, so sums of EXACT products stay below 2^24, where every
 * whole number is a float. ---------------------------------------------------------------------------------------------------------------- */

enum { EXACT = 256 };

typedef struct Integers { MatMul mm; const float *b; } Integers;        /* b: NULL, or what a constant one is */

static Err whole_floats(const Buffer *x, const Buffer *zero, int axis, float *y)
{
    TRY(minus_zero(x, zero, axis, (int32_t *)(void *)y));
    for (int64_t i = 0; i < x->count; i++) {
        int32_t v;
        memcpy(&v, y + i, sizeof v);
        y[i] = (float)v;
    }
    return OK;
}

static Matmul exact_block(const MatMul *mm, int64_t k)
{
    return (Matmul){ kernels_best(), (int)mm->m, (int)mm->n, (int)(mm->k - k < EXACT ? mm->k - k : EXACT), (size_t)mm->k, 1, (size_t)mm->n, 1, (size_t)mm->n };
}

/* One product, a block of k at a time. scratch: of the block's results, then of the kernels. */
static void product_of_floats(const Plan *plan, const MatMul *mm, const float *const operand[2], int32_t *y, float *scratch)
{
    int64_t count = mm->m * mm->n;
    for (int64_t k = 0; k < mm->k; k += EXACT) {
        const Matmul block = exact_block(mm, k);
        const MatmulRun run = { .a = operand[0] + k, .b = operand[1] + k * mm->n, .y = scratch, .scratch = scratch + count, .count = 1, .threads = plan->threads };
        matmul_run(&block, &run);
        #pragma omp parallel for simd num_threads(plan->threads) if (count > PARALLEL_WORK)
        for (int64_t i = 0; i < count; i++) y[i] = (k ? y[i] : 0) + (int32_t)scratch[i];
    }
}

/* Y (int32) = (A - za) * (B - zb). zero points: scalar, or per row of A and per column of B. */
static Err product_i32(Plan *plan, Step *s, const Buffer *const operand[4], int32_t *y)
{
    const Integers *t = s->state;
    const MatMul *mm = &t->mm;
    const Buffer *a = operand[0], *za = operand[1], *b = operand[2], *zb = operand[3];
    float *fa = (float *)s->scratch, *fb = fa + a->count;
    TRY(whole_floats(a, za, a->shape.rank > 1 ? a->shape.rank - 2 : -1, fa));
    if (!t->b) TRY(whole_floats(b, zb, b->shape.rank - 1, fb));
    if (!mm->k) memset(y, 0, (size_t)(mm->products * mm->m * mm->n) * sizeof *y);
    for (int64_t i = 0; i < mm->products && mm->m && mm->n; i++) {
        int64_t at[2];
        matmul_at(mm, i, at);
        product_of_floats(plan, mm, (const float *[]){ fa + at[0] * mm->m * mm->k, (t->b ? t->b : fb) + at[1] * mm->k * mm->n }, y + i * mm->m * mm->n,
                          fb + (t->b ? 0 : b->count));
    }
    return OK;
}

/* Prepares product_i32 for these inputs; its scratch. */
static Err integers_prep(Plan *plan, Step *s, const Buffer *a, const Buffer *b, const Buffer *zb)
{
    Integers *t;
    const Kernels *kernels;
    float *floats = NULL;
    TRY(find_kernels(&kernels));
    TRY(plan_array(plan, 1, sizeof *t, &t));
    TRY(matmul_shape(&a->shape, &b->shape, &s->out[0]->shape, &t->mm));
    const MatMul *mm = &t->mm;
    bool empty = !mm->m || !mm->n || !mm->k;
    if (!empty && !fits_matmul(mm->m, mm->n, mm->k)) return err_set(ERR_UNSUPPORTED, "%s of matrices of this size cannot be run.", s->op->type);
    if (b->constant && (!zb || zb->constant)) {
        TRY(plan_array(plan, b->count + 1, sizeof *floats, &floats));
        TRY(whole_floats(b, zb, b->shape.rank - 1, floats));
    }
    t->b = floats;
    Matmul block = exact_block(mm, 0);
    size_t kernel = empty ? 0 : matmul_scratch(&block) * (size_t)plan->threads;
    s->state = t;
    s->scratch_bytes = ((size_t)(a->count + (floats ? 0 : b->count) + mm->m * mm->n) + kernel) * sizeof(float);
    return OK;
}

static Err matmul_integer_run(Plan *plan, Step *s)
{
    return product_i32(plan, s, (const Buffer *[]){ s->in[0], s->in[2], s->in[1], s->in[3] }, s->out[0]->data);
}

Err matmul_integer_prep(Plan *plan, Step *s)
{
    for (int i = 0; i < 2; i++) if (dtype_bits(s->in[i]->dtype) != 8 || !dtype_is_whole(s->in[i]->dtype)) return step_refuse(s, "input", s->in[i]);
    TRY(integers_prep(plan, s, s->in[0], s->in[1], s->in[3]));
    s->run = matmul_integer_run;
    return OK;
}

/* QLinearMatMul: y = saturate(round(acc * (sa * sb / sy)) + zy); scales per tensor, or of A per row and of B per column. */
static Err qlinear_matmul_run(Plan *plan, Step *s)
{
    const MatMul *mm = &((const Integers *)s->state)->mm;
    int32_t *acc = (int32_t *)(void *)((char *)s->scratch + s->scratch_bytes) - s->out[0]->count;
    TRY(product_i32(plan, s, (const Buffer *[]){ s->in[0], s->in[2], s->in[3], s->in[5] }, acc));
    const Buffer *sa = s->in[1], *sb = s->in[4], *sy = s->in[6], *zy = s->in[7];
    Buffer *y = s->out[0];
    for (int64_t i = 0; i < y->count; i++) {
        float a = scale_at(sa, sa->count > 1 ? i / mm->n % mm->m : 0), b = scale_at(sb, sb->count > 1 ? i % mm->n : 0);
        float scale = a * b / scale_at(sy, sy->count > 1 ? i / mm->n % mm->m : 0);
        put_saturated(y, i, nearbyint((double)((float)acc[i] * scale)), zy, zy && zy->count > 1 ? i / mm->n % mm->m : 0);
    }
    return OK;
}

Err qlinear_matmul_prep(Plan *plan, Step *s)
{
    for (int i = 0; i < 4; i += 3) if (dtype_bits(s->in[i]->dtype) != 8 || !dtype_is_whole(s->in[i]->dtype)) return step_refuse(s, "input", s->in[i]);
    if (dtype_bits(s->out[0]->dtype) != 8) return step_refuse(s, "output", s->out[0]);
    TRY(integers_prep(plan, s, s->in[0], s->in[3], s->in[5]));
    s->scratch_bytes += (size_t)s->out[0]->count * sizeof(int32_t);
    s->run = qlinear_matmul_run;
    return OK;
}
