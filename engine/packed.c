#include "engine/packed.h"
#include "engine/caches.h"

/* Measured: K blocks so that a panel stays in the L1 cache, the longer the fewer of its rows a row of W reads and the larger the cache is. */
enum { SPARSE_FLOATS = 5000, MOST_FLOATS = 9600, FEWEST_ROWS = 64 };

static int sparse_block(double zeros, int columns)
{
    const double floats = (double)l1_bytes() / sizeof(float), dense = zeros < 0.95 ? 1 - zeros : 0.05;
    return least(least((int64_t)(SPARSE_FLOATS + floats * (0.22 + 0.054 / dense)), MOST_FLOATS) / columns, SPARSE_BLOCK);
}

/* Rows of a chunk: the more, the more of them have as many weights as their neighbours, and the loops over these are of one length (256 instead of 64 rows: 2 to 4 %
 * less time). But several processors want a chunk each where there are few panels. The same for any number of threads. */
static int sparse_chunk(int rows)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int chunk = SPARSE_ROWS;
    while (chunk > FEWEST_ROWS && 2 * ceil_div(rows, chunk) < processors)
        chunk /= 2;
    return chunk;
}

/* The rows of the unit; number: which of w they are, NULL: all. */
static Weights unit_weights(const Packed *p, int64_t unit, const uint16_t **number)
{
    Weights w = p->weights;
    int chunk = (int)(unit % p->chunks);
    int64_t group = unit / p->chunks / p->blocks;
    size_t first = (size_t)group * (size_t)w.rows, row = (size_t)chunk * (size_t)p->chunk_rows;
    *number = p->order ? p->order + first + row : NULL;
    w.w += (p->order ? first : first + row) * w.row;
    w.rows = packed_chunk_rows(p, chunk);
    return w;
}

/* Writes the unit unless `to` is NULL; its bytes. */
static size_t unit_pack(const Packed *p, int64_t unit, void *to)
{
    const uint16_t *number;
    Weights w = unit_weights(p, unit, &number);
    int b = (int)(unit / p->chunks % p->blocks), k0 = b * p->block, k1 = packed_block_end(p, b);
    if (p->form == MULTIPLY_GATHER)
        return to_line(weights_pack_gather(&w, k0, k1, to));
    if (p->form == MULTIPLY_BITMAP)
        return to_line(weights_pack_bitmap(&w, k0, k1, to));
    if (p->form == MULTIPLY_SPARSE)
        return to_line(weights_pack_sparse(&w, number, k0, k1, &p->kernels->sizes, to));
    if (to)
        weights_pack_dense(&w, k0, k1, p->width, to);
    return to_line(weights_dense_count(&w, k0, k1, p->width) * sizeof(float));
}

size_t packed_nonzeros(const Weights *given, int groups, int k, int threads)
{
    size_t nonzeros = 0;
    const Weights rows = *given, columns = { given->w, given->column, 1, k }, *w = &rows;
    if (groups == 1 && given->row == 1 && given->column != 1) {            /* counted as they lie */
        w = &columns;
        k = given->rows;
    }
    #pragma omp parallel for reduction(+ : nonzeros) num_threads(threads) if (threads > 1)
    for (int64_t m = 0; m < (int64_t)groups * w->rows; m++)
        nonzeros += weights_nonzeros(&(Weights) { w->w + (size_t)m * w->row, w->row, w->column, 1 }, 0, k);
    return nonzeros;
}

static double zeros_of(const Packed *p)
{
    size_t nonzeros = p->nonzeros ? p->nonzeros : packed_nonzeros(&p->weights, p->groups, p->k, p->threads);
    return 1 - (double)nonzeros / ((double)p->groups * p->weights.rows * p->k);
}

void packed_form(Packed *p, MultiplyForm form)
{
    double zeros = form == MULTIPLY_SPARSE ? zeros_of(p) : 0;
    p->form = form;
    p->block = packed_few(p) ? FEW_BLOCK : sparse_block(zeros, p->kernels->sizes.sparse);
    p->chunk_rows = packed_few(p) ? FEW_ROWS : sparse_chunk(p->weights.rows);
}

static int64_t units(const Packed *p)
{
    return (int64_t)p->groups * p->blocks * p->chunks;
}

/* Packs the units of a share from `at` on, and notes where they are, or, without memory, does neither; their bytes. */
static size_t share_pack(const Packed *p, int share, size_t at)
{
    size_t end = at;
    for (int64_t i = units(p) * share / PACKED_SHARES; i < units(p) * (share + 1) / PACKED_SHARES; i++) {
        if (p->memory) p->at[i] = end;
        end += unit_pack(p, i, p->memory ? p->memory + end : NULL);
    }
    return end - at;
}

static bool same_layout(const Packed *a, const Packed *b)
{
    return a->form == b->form && a->width == b->width && a->block == b->block && a->chunk_rows == b->chunk_rows && a->groups == b->groups && a->k == b->k &&
           a->weights.rows == b->weights.rows;
}

/* Whether another one's memory serves. */
static bool take_over(Packed *p)
{
    const Packed *like = p->like;
    while (like && !same_layout(like, p)) like = like->like;
    if (!like) return false;
    p->bytes = like->bytes;
    p->order = like->order;
    p->alike = like->alike;
    packed_at(p, like->memory);
    return true;
}

void packed_plan(Packed *p)
{
    p->memory = NULL;
    p->blocks = ceil_div(p->k, p->block);
    p->block = ceil_div(p->k, p->blocks);
    p->blocks = ceil_div(p->k, p->block);
    p->chunks = ceil_div(p->weights.rows, p->chunk_rows);
    p->bytes = 0;
    if (take_over(p) || !p->weights.w) return;
    #pragma omp parallel for schedule(dynamic) num_threads(p->threads) if (p->threads > 1 && p->form != MULTIPLY_DENSE)
    for (int s = 0; s < PACKED_SHARES; s++)
        p->share[s] = share_pack(p, s, 0);
    p->bytes = to_line((size_t)units(p) * sizeof *p->at);
    for (int s = 0; s < PACKED_SHARES; s++)
        p->bytes += p->share[s];
}

void packed_fill(Packed *p, void *memory)
{
    size_t start[PACKED_SHARES], end = to_line((size_t)units(p) * sizeof *p->at);
    packed_at(p, memory);
    for (int s = 0; s < PACKED_SHARES; end += p->share[s++])
        start[s] = end;
    #pragma omp parallel for schedule(dynamic) num_threads(p->threads) if (p->threads > 1)
    for (int s = 0; s < PACKED_SHARES; s++)
        share_pack(p, s, start[s]);
}

void packed_at(Packed *p, void *memory)
{
    p->memory = memory;
    p->at = memory;
}

SparsePart packed_sparse(const Packed *p, const char *unit, int rows, const float *panel)
{
    int heads = sparse_heads(rows, &p->kernels->sizes);
    const SparseHead *head = (const SparseHead *)unit;
    return (SparsePart) { .head = head, .heads = heads, .line = (const SparseLine *)(unit + sparse_lines_at(heads)), .panel = panel };
}
