#include "recipes/select.h"
#include <math.h>
#include <omp.h>
#include <string.h>
#include "kernels/whole.h"

enum {
    CHUNK = 1 << 13,               /* elements that one thread handles at a time: 32 KiB of float stay in the first-level cache */
    FEW = 1 << 13,                 /* so many are all collected, without a sample */
    RUN = 8,                       /* neighbours that are sampled together: they share a cache line */
    SAMPLE_MIN = 1 << 11, SAMPLE_MAX = 1 << 18,
    BUCKET_BITS = 11, BUCKETS = 1 << BUCKET_BITS,
    PIECE = 512,                   /* elements that are looked through one by one when a tie is among them */
};
#define EVERYTHING 0x80000000u     /* above all magnitudes */

typedef struct Chunk {
    int64_t pool;                  /* where its collected magnitudes are */
    int64_t below, inside;         /* how many are below the bracket, and inside */
    int64_t less, ties;            /* costs of its candidates below the threshold, and at it */
} Chunk;

typedef void ChunkWork(Selection *s, Chunk *c, const Magnitudes *m, int64_t begin, int64_t n, uint32_t *scratch);

struct Selection {
    const Candidates *from;
    const Kernels *kernels;
    int64_t total;
    int threads;
    uint32_t *scratch;             /* for each thread CHUNK converted and CHUNK + BRACKET_SLACK collected magnitudes */
    uint32_t *sample; int64_t n_sample, stride;
    uint32_t *pool; int64_t pool_room, pool_used;
    Chunk *chunk;
    uint32_t bracket[2];
    uint32_t threshold;
    int64_t *histogram;            /* BUCKETS for each thread */
    uint32_t prefix; int shift, known;    /* radix: magnitudes whose bits above `known` equal prefix are counted by the bits above shift */
};

static int64_t chunks_of(int64_t n) { return pieces_in(n, CHUNK); }

static const uint32_t *magnitudes(const Magnitudes *m, int64_t begin, int64_t n, uint32_t *scratch)
{
    return m->elements ? elements_magnitudes(m->elements, begin, n, scratch) : m->bits + begin;
}

static Err part_open(const Candidates *from, int i, Magnitudes *m)
{
    if (from->open)
        return from->open(from->user, i, m);
    *m = *from->only;
    return OK;
}

static Err part_close(const Candidates *from, int i)
{
    return from->close ? from->close(from->user, i) : OK;
}

static Err each_part(Selection *s, ChunkWork *work)
{
    Chunk *first = s->chunk;
    for (int i = 0; i < s->from->n; i++) {
        Magnitudes m;
        TRY(part_open(s->from, i, &m));
        int64_t chunks = chunks_of(m.count);
        #pragma omp parallel for schedule(static) num_threads(s->threads) if (chunks > 16)
        for (int64_t c = 0; c < chunks; c++) {
            int64_t begin = c * CHUNK, n = m.count - begin < CHUNK ? m.count - begin : CHUNK;
            work(s, &first[c], &m, begin, n, s->scratch + (size_t)omp_get_thread_num() * (2 * CHUNK + BRACKET_SLACK));
        }
        first += chunks;
        TRY(part_close(s->from, i));
    }
    return OK;
}

/* The magnitude at rank (from 0) among the n of x, which all lie in range. A histogram finds the bucket that holds it; the few in there are moved to scratch
 * (CHUNK + BRACKET_SLACK), and so on until a bucket is one magnitude. */
static uint32_t rank_of(const Kernels *k, const uint32_t *x, int64_t n, int64_t rank, const uint32_t range[2], uint32_t *scratch)
{
    uint32_t low_high[2] = { range[0], range[1] };
    for (;;) {
        uint32_t low = low_high[0], width = low_high[1] - low, histogram[BUCKETS] = { 0 }, b = 0;
        int bits = width > 1 ? 32 - __builtin_clz(width - 1) : 0, shift = bits > BUCKET_BITS ? bits - BUCKET_BITS : 0;
        for (int64_t i = 0; i < n; i++) {
            uint32_t above = (x[i] & MAGNITUDE_BITS) - low;
            histogram[above < width ? above >> shift : BUCKETS - 1] += above < width;
        }
        for (; (int64_t)histogram[b] <= rank; b++)
            rank -= histogram[b];
        low_high[0] = low + (b << shift);
        if (shift == 0)
            return low_high[0];
        low_high[1] = low_high[1] - low_high[0] > 1u << shift ? low_high[0] + (1u << shift) : low_high[1];
        if (histogram[b] <= CHUNK) {
            size_t below = 0;
            n = (int64_t)k->bracket_f32(x, (size_t)n, low_high, scratch, &below);
            x = scratch;
        }
    }
}

/* Runs of neighbours at regular distances, each moved by a fixed hash so that no period of the tensor is met by the same phase every time. */
static Err take_sample(Selection *s)
{
    double wanted_by_size = pow((double)s->total, 2.0 / 3);    /* Floyd and Rivest's choice: passes over the sample and over what it lets in balance */
    int64_t wanted = wanted_by_size < SAMPLE_MIN ? SAMPLE_MIN : wanted_by_size > SAMPLE_MAX ? SAMPLE_MAX : (int64_t)wanted_by_size;
    s->stride = s->total / wanted * RUN;
    int64_t room = s->total / s->stride * RUN + (int64_t)RUN * s->from->n + RUN;
    s->sample = block_new((size_t)room * sizeof *s->sample);
    if (!s->sample)
        return err_set(ERR_NOMEM, "out of memory for a sample of %lld magnitudes", (long long)room);
    uint32_t hash = 1;
    for (int i = 0; i < s->from->n; i++) {
        Magnitudes m;
        TRY(part_open(s->from, i, &m));
        for (int64_t at = 0; at + RUN <= m.count; at += s->stride) {
            hash = hash * 1664525u + 1013904223u;
            int64_t left = m.count - RUN - at, shift = (int64_t)(((uint64_t)hash * (uint64_t)(s->stride - RUN + 1)) >> 32);
            uint32_t converted[RUN];
            const uint32_t *x = magnitudes(&m, at + (shift < left ? shift : left), RUN, converted);
            memcpy(s->sample + s->n_sample, x, sizeof converted);
            s->n_sample += RUN;
        }
        TRY(part_close(s->from, i));
    }
    return OK;
}

/* A bracket of five standard deviations of a sample's rank around k: neighbours are alike, so that a sample of them is worth fewer independent ones. */
static Err choose_bracket(Selection *s, int64_t k)
{
    s->bracket[0] = 0;
    s->bracket[1] = EVERYTHING;
    if (s->total <= FEW)
        return OK;
    TRY(take_sample(s));
    double n = (double)s->n_sample, p = (double)k / (double)s->total, margin = 5 * sqrt(n * p * (1 - p)) + RUN;
    int64_t low = (int64_t)(p * n - margin), high = (int64_t)(p * n + margin);
    const uint32_t range[2] = { 0, EVERYTHING };
    if (low > 0)
        s->bracket[0] = rank_of(s->kernels, s->sample, s->n_sample, low, range, s->scratch);
    if (high < s->n_sample)
        s->bracket[1] = rank_of(s->kernels, s->sample, s->n_sample, high, range, s->scratch) + 1;
    return OK;
}

static void collect(Selection *s, Chunk *c, const Magnitudes *m, int64_t begin, int64_t n, uint32_t *scratch)
{
    uint32_t *inside = scratch + CHUNK;
    size_t below = 0;
    c->inside = (int64_t)s->kernels->bracket_f32(magnitudes(m, begin, n, scratch), (size_t)n, s->bracket, inside, &below);
    c->below = (int64_t)below;
    #pragma omp atomic capture
    { c->pool = s->pool_used; s->pool_used += c->inside; }
    if (c->pool + c->inside <= s->pool_room)
        memcpy(s->pool + c->pool, inside, (size_t)c->inside * sizeof *inside);
}

/* The threshold of the k-th candidate, and what each chunk has below and at it; false when the collected ones do not hold it. */
static bool threshold_at(Selection *s, int64_t k)
{
    Chunk *end = s->chunk;
    int64_t below = 0;
    for (int i = 0; i < s->from->n; i++)
        for (int64_t c = chunks_of(s->from->count[i]); c > 0; c--)
            below += (end++)->below;
    if (k <= below || k > below + s->pool_used || s->pool_used > s->pool_room)
        return false;
    s->threshold = rank_of(s->kernels, s->pool, s->pool_used, k - below - 1, s->bracket, s->scratch);
    for (Chunk *c = s->chunk; c < end; c++) {
        const uint32_t *x = s->pool + c->pool;
        int64_t under = (int64_t)s->kernels->count_below_f32(x, (size_t)c->inside, s->threshold);
        c->ties = (int64_t)s->kernels->count_below_f32(x, (size_t)c->inside, s->threshold + 1) - under;
        c->less = c->below + under;
    }
    return true;
}

/* *found is false when the bracket missed or held too many. */
static Err by_bracket(Selection *s, int64_t k, bool *found)
{
    TRY(choose_bracket(s, k));
    s->pool_room = s->total <= FEW ? s->total : s->total / 8 + FEW;
    s->pool = block_new((size_t)s->pool_room * sizeof *s->pool);
    if (!s->pool)
        return err_set(ERR_NOMEM, "out of memory for %lld candidates of the threshold", (long long)s->pool_room);
    TRY(each_part(s, collect));
    *found = threshold_at(s, k);
    return OK;
}

static void count_buckets(Selection *s, Chunk *c, const Magnitudes *m, int64_t begin, int64_t n, uint32_t *scratch)
{
    (void)c;
    int64_t *histogram = s->histogram + (size_t)omp_get_thread_num() * BUCKETS;
    const uint32_t *x = magnitudes(m, begin, n, scratch);
    uint32_t last = (1u << (s->known - s->shift)) - 1;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = x[i] & MAGNITUDE_BITS;
        if (bits >> s->known == s->prefix >> s->known)
            histogram[(bits >> s->shift) & last] += m->cost ? m->cost[begin + i] : 1;
    }
}

static void count_around(Selection *s, Chunk *c, const Magnitudes *m, int64_t begin, int64_t n, uint32_t *scratch)
{
    const uint32_t *x = magnitudes(m, begin, n, scratch);
    if (!m->cost) {
        c->less = (int64_t)s->kernels->count_below_f32(x, (size_t)n, s->threshold);
        c->ties = s->threshold < EVERYTHING ? (int64_t)s->kernels->count_below_f32(x, (size_t)n, s->threshold + 1) - c->less : 0;
        return;
    }
    c->less = c->ties = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = x[i] & MAGNITUDE_BITS;
        c->less += bits < s->threshold ? m->cost[begin + i] : 0;
        c->ties += bits == s->threshold ? m->cost[begin + i] : 0;
    }
}

/* The same by a radix histogram: the threshold is the magnitude of the first candidate that does not fit. *all: there is none. */
static Err by_radix(Selection *s, int64_t k, bool *all)
{
    static const int shifts[] = { 20, 10, 0 };
    size_t bytes = (size_t)s->threads * BUCKETS * sizeof *s->histogram;
    s->histogram = block_new(bytes);
    if (!s->histogram)
        return err_set(ERR_NOMEM, "out of memory for %d histograms", s->threads);
    int64_t less = 0;
    s->prefix = 0;
    s->known = 31;
    for (int pass = 0; pass < 3; pass++) {
        s->shift = shifts[pass];
        memset(s->histogram, 0, bytes);
        TRY(each_part(s, count_buckets));
        uint32_t buckets = 1u << (s->known - s->shift), b = 0;
        for (; b < buckets; b++) {
            int64_t here = 0;
            for (int t = 0; t < s->threads; t++)
                here += s->histogram[(size_t)t * BUCKETS + b];
            if (less + here > k)
                break;
            less += here;
        }
        *all = b == buckets;
        if (*all)
            return OK;
        s->prefix |= b << s->shift;
        s->known = s->shift;
    }
    s->threshold = s->prefix;
    return each_part(s, count_around);
}

/* The position of the first candidate at the threshold, in a chunk, that does not fit into what is left of k. */
static Err find_last(Selection *s, int part, int64_t begin, int64_t *left, int64_t *position)
{
    Magnitudes m;
    TRY(part_open(s->from, part, &m));
    for (bool found = false; !found; begin += PIECE) {
        int64_t n = m.count - begin < PIECE ? m.count - begin : PIECE;
        const uint32_t *x = magnitudes(&m, begin, n, s->scratch);
        if (s->kernels->count_below_f32(x, (size_t)n, s->threshold) == s->kernels->count_below_f32(x, (size_t)n, s->threshold + 1))
            continue;
        for (int64_t i = 0; i < n && !found; i++) {
            int64_t cost = m.cost ? m.cost[begin + i] : 1;
            if ((x[i] & MAGNITUDE_BITS) != s->threshold)
                continue;
            found = cost > *left;
            *left -= found ? 0 : cost;
            *position = begin + i;
        }
    }
    return part_close(s->from, part);
}

/* Deals what is left of k to the candidates at the threshold, in their order. */
static Err place_ties(Selection *s, int64_t k, Cut *cut, int64_t *taken)
{
    const Chunk *c = s->chunk;
    int64_t left = k;
    for (int i = 0; i < s->from->n; i++) {
        taken[i] = 0;
        for (int64_t end = chunks_of(s->from->count[i]); end > 0; end--, c++)
            taken[i] += c->less;
        left -= taken[i];
    }
    c = s->chunk;
    bool done = false;
    for (int i = 0; i < s->from->n; i++) {
        cut[i] = (Cut) { s->threshold, done ? 0 : s->from->count[i] };
        for (int64_t j = 0, end = chunks_of(s->from->count[i]); j < end; j++, c++) {
            int64_t before = left;
            if (!done && c->ties > left) {
                TRY(find_last(s, i, j * CHUNK, &left, &cut[i].position));
                taken[i] += before - left;
                done = true;
            } else if (!done) {
                left -= c->ties;
                taken[i] += c->ties;
            }
        }
    }
    return OK;
}

static Err select_all(Selection *s, Cut *cut, int64_t *taken)
{
    s->threshold = EVERYTHING;
    TRY(each_part(s, count_around));
    const Chunk *c = s->chunk;
    for (int i = 0; i < s->from->n; i++) {
        cut[i] = (Cut) { EVERYTHING, 0 };
        taken[i] = 0;
        for (int64_t end = chunks_of(s->from->count[i]); end > 0; end--, c++)
            taken[i] += c->less;
    }
    return OK;
}

static Err selection_run(Selection *s, int64_t k, Cut *cut, int64_t *taken)
{
    bool found = false, all = !s->from->costs && k >= s->total;
    if (k > 0 && !all && !s->from->costs)
        TRY(by_bracket(s, k, &found));
    if (!found && !all)
        TRY(by_radix(s, k, &all));
    TRY(all ? select_all(s, cut, taken) : place_ties(s, k, cut, taken));
    return OK;
}

Err select_further(Selection *s, int64_t k, Cut *cut, bool *known)
{
    int64_t taken;
    *known = s->pool && threshold_at(s, k);
    return *known ? place_ties(s, k, cut, &taken) : OK;
}

bool select_has(const Selection *s, int64_t begin, int64_t n, uint32_t low, uint32_t high)
{
    for (int64_t i = begin / CHUNK; i < chunks_of(begin + n); i++) {
        const Chunk *c = &s->chunk[i];
        const uint32_t *x = s->pool + c->pool;
        if (s->kernels->count_below_f32(x, (size_t)c->inside, low) < s->kernels->count_below_f32(x, (size_t)c->inside, high + 1))
            return true;
    }
    return false;
}

void select_free(Selection *s)
{
    if (!s)
        return;
    block_free(s->histogram);
    block_free(s->pool);
    block_free(s->sample);
    block_free(s->scratch);
    block_free(s->chunk);
    block_free(s);
}

Err select_first(const Candidates *from, int64_t k, const Kernels *kernels, Cut *cut, int64_t *taken, Selection **kept)
{
    Selection *s = block_new(sizeof *s);
    if (kept)
        *kept = s;
    if (!s)
        return err_set(ERR_NOMEM, "out of memory for a selection");
    *s = (Selection) { .from = from, .kernels = kernels, .threads = omp_in_parallel() ? 1 : omp_get_max_threads() };
    int64_t chunks = 0;
    for (int i = 0; i < from->n; i++) {
        s->total += from->count[i];
        chunks += chunks_of(from->count[i]);
    }
    s->chunk = block_new((size_t)(chunks + 1) * sizeof *s->chunk);
    s->scratch = block_new((size_t)s->threads * (2 * CHUNK + BRACKET_SLACK) * sizeof *s->scratch);
    Err e = s->chunk && s->scratch ? selection_run(s, k, cut, taken) : err_set(ERR_NOMEM, "out of memory for a selection among %lld weights", (long long)s->total);
    if (!kept)
        select_free(s);
    return e;
}
