/* The stream of a sparse product, see SparseLine in kernels/panel.h: which rows of W are summed together and in which order their weights come.
 *
 * Any order of rows is free. Rows are sorted by the number of their weights, so that few steps are filled up with zeros; then each takes the partner that saves most
 * among the NEAR next ones, and each pair another pair: rows that share their zeros have as many. Heads are sorted again: loops of equal length follow each other, as the
 * end of a loop that is not as long as the last one's is guessed wrongly. */
#include "kernels/pack_rows.h"
#include <string.h>

enum { PAIRS = SPARSE_ROWS / 2, NEAR = 8, NONE = -1,
       FEWEST = 4,             /* lines of weights that all four rows have: fewer do not pay for a loop */
       MIXED = 2 };            /* steps without shared loads in a mixed line */

/* A set of places; count: how many of them. */
typedef Row Set;

typedef struct Block {
    const Weights *w;
    uint16_t number[SPARSE_ROWS];  /* of W's rows */
    int k0, k, words;              /* k rows of the panel from k0 on */
    int together;                  /* rows that share steps: 2 or 4 */
    Row row[SPARSE_ROWS];
} Block;

/* Up to four rows whose stream is made. */
typedef struct Quad {
    int m[4];                  /* NONE: there is none */
    Set all, both[2];          /* trimmed to what shares loads */
    int mixed[2], steps[2];    /* lines, and steps of plain lines; the second: where pairs have their own */
} Quad;

typedef struct Pair { int m[2]; Set both; } Pair;

static int meet(const Block *b, const Set *x, const Set *y)
{
    int count = 0;
    for (int i = 0; i < b->words; i++)
        count += __builtin_popcountll(x->bit[i] & y->bit[i]);
    return count;
}

static void intersect(const Block *b, const Set *x, const Set *y, Set *out)
{
    out->count = meet(b, x, y);
    for (int i = 0; i < b->words; i++)
        out->bit[i] = x->bit[i] & y->bit[i];
}

static void subtract(const Block *b, Set *x, const Set *y)
{
    for (int i = 0; i < b->words; i++)
        x->bit[i] &= ~y->bit[i];
    x->count -= y->count;
}

static void trim_to(Set *x, int keep)
{
    for (int i = 0; x->count > keep; x->bit[i] &= x->bit[i] - 1, x->count--)
        while (!x->bit[i])
            i++;
}

/* Grouping -------------------------------------------------------------------------------------------------------------------------------- */

/* Cycles that two rows save, about: a third of their steps may share loads, which takes 1.5 cycles off for each weight; one without a partner in its step costs 4.5. */
static int gain(const Block *b, int m, int n)
{
    const int counts[2] = { b->row[m].count, b->row[n].count }, more = counts[0] > counts[1], both = meet(b, &b->row[m], &b->row[n]);
    const int most = counts[!more] / SPARSE_STEPS, alone = counts[!more] - counts[more];
    return (both < most ? both : most) - 3 * alone;
}

static int partner_of(const Block *b, int m, const uint8_t *left, int n)
{
    int best = 0, most = gain(b, m, left[0]);
    for (int i = 1; i < n && i < NEAR; i++) {
        int here = gain(b, m, left[i]);
        if (here <= most) continue;
        most = here;
        best = i;
    }
    return best;
}

/* The rows in pairs; an odd one is alone in the last pair. */
static int pairs_of(const Block *b, Pair *pair)
{
    uint8_t left[SPARSE_ROWS];
    int n = b->w->rows, count = 0;
    rows_sort(b->row, n, left);
    while (n > 0) {
        Pair *p = &pair[count++];
        *p = (Pair) { .m = { left[0], NONE } };
        memmove(left, left + 1, (size_t)--n);
        if (!n) break;
        int i = partner_of(b, p->m[0], left, n);
        p->m[1] = left[i];
        intersect(b, &b->row[p->m[0]], &b->row[p->m[1]], &p->both);
        memmove(left + i, left + i + 1, (size_t)(--n - i));
    }
    return count;
}

/* The pair that has most in common with pair 0; the next one, if that is little. */
static int second_pair(const Block *b, const Pair *pair, int n)
{
    int best = 1, most = FEWEST * SPARSE_STEPS - 1;
    for (int i = 1; i < n && i < NEAR && pair[0].both.count > most; i++) {
        int here = meet(b, &pair[0].both, &pair[i].both);
        if (here <= most) continue;
        most = here;
        best = i;
    }
    return best;
}

static int longest_of(const Block *b, const int *m, int rows)
{
    int most = 0;
    for (int r = 0; r < rows; r++)
        if (m[r] != NONE && b->row[m[r]].count > most) most = b->row[m[r]].count;
    return most;
}

/* Lines for pairs first ... end - 1, whose rows have `together` rows' steps: as many mixed ones as there are shared weights for. */
static void plan_lines(const Block *b, Quad *q, int first, int end)
{
    const int each = 4 / b->together, weights = longest_of(b, q->m + 2 * first, 2 * (end - first)) - q->all.count, steps = (weights + each - 1) / each;
    int mixed = steps / SPARSE_STEPS;
    for (int p = first; p < end; p++)
        if (q->both[p].count / each < mixed) mixed = q->both[p].count / each;
    for (int p = first; p < end; p++)
        trim_to(&q->both[p], mixed * each);
    q->mixed[first] = mixed;
    q->steps[first] = steps - SPARSE_STEPS * mixed;
}

static void finish_quad(const Block *b, const Pair *first, const Pair *second, Quad *q)
{
    *q = (Quad) { .m = { first->m[0], first->m[1], second ? second->m[0] : NONE, second ? second->m[1] : NONE } };
    if (q->m[3] != NONE)
        intersect(b, &first->both, &second->both, &q->all);
    trim_to(&q->all, q->all.count < FEWEST * SPARSE_STEPS ? 0 : q->all.count - q->all.count % SPARSE_STEPS);
    q->both[0] = first->both;
    subtract(b, &q->both[0], &q->all);
    if (second) q->both[1] = second->both;
    if (second) subtract(b, &q->both[1], &q->all);
    for (int p = 0; p < 2; p += b->together / 2)
        plan_lines(b, q, p, p + b->together / 2);
}

/* Which loops it has, the longer the more. */
static uint64_t loops_of(const Quad *q)
{
    return (uint64_t)q->all.count << 40 | (uint64_t)q->mixed[0] << 32 | (uint64_t)q->steps[0] << 24 | (uint64_t)q->mixed[1] << 16 | (uint64_t)q->steps[1];
}

/* Insertion sort. The last one stays: it may have fewer rows. */
static void quads_sort(const Quad *quad, int n, uint8_t *order)
{
    for (int i = 0; i < n; i++) {
        int j = i;
        for (; i < n - 1 && j > 0 && loops_of(&quad[order[j - 1]]) < loops_of(&quad[i]); j--)
            order[j] = order[j - 1];
        order[j] = (uint8_t)i;
    }
}

static int quads_of(const Block *b, Quad *quad)
{
    Pair pair[PAIRS];
    int n = pairs_of(b, pair), count = 0;
    for (Pair *p = pair; n > 0; p++, n--) {
        int i = n > 1 ? second_pair(b, p, n) : 0;
        Pair second = p[i];
        finish_quad(b, p, i ? &second : NULL, &quad[count++]);
        if (!i) break;
        memmove(p + 2, p + 1, (size_t)(i - 1) * sizeof *p);
        p++;
        n--;
    }
    return count;
}

/* Writing --------------------------------------------------------------------------------------------------------------------------------- */

/* A weight, and which row of the panel it meets. */
typedef struct One { float w; int k; } One;

static One one_of(const Block *b, int m, int k)
{
    return (One) { weight(b->w, b->number[m], b->k0 + k), k };
}

/* It stands at place `at` of a line, its row at place `number` of the numbers. */
static void put(SparseLine *line, int at, int number, One one)
{
    line->w[at] = one.w;
    line[-1].next[number] = (uint8_t)one.k;
}

/* What all four rows have. */
static void put_all(const Block *b, const Quad *q, SparseLine *line)
{
    for (int i = 0, n = 0; i < b->words; i++)
        for (uint64_t left = q->all.bit[i]; left; left &= left - 1, n++) {
            const int k = 64 * i + __builtin_ctzll(left), step = n % SPARSE_STEPS;
            for (int r = 0; r < 4; r++)
                put(line + n / SPARSE_STEPS, 4 * step + r, step, one_of(b, q->m[r], k));
        }
}

/* Weight number n of those that row r shares with its neighbour, in a mixed line's first step. */
static void put_shared(const Block *b, SparseLine *line, int n, int r, One one)
{
    const int each = 4 / b->together, pair = b->together == 4 ? r / 2 : n % each;
    put(line + n / each, 2 * pair + r % 2, pair, one);
}

/* Weight number n of the others. */
static void put_one(const Block *b, SparseLine *line, int mixed, int n, int r, One one)
{
    const int each = 4 / b->together, step = n / each, q = n % each * b->together + r % b->together;
    if (step < MIXED * mixed) {
        const int at = 4 * (step % MIXED) + q;
        put(line + step / MIXED, 4 + at, 2 + at, one);
        return;
    }
    const int plain = step - MIXED * mixed, at = 4 * (plain % SPARSE_STEPS) + q;
    put(line + mixed + plain / SPARSE_STEPS, at, at, one);
}

/* Row r of the quad, but for what all rows have. Steps are filled up with weights of 0 that meet a row where the weight is 0 anyhow, so that infinities there come to the
 * same. */
static void put_row(const Block *b, const Quad *q, int r, SparseLine *line)
{
    const int m = q->m[r], p = b->together == 4 ? 0 : r / 2, zero = m == NONE ? 0 : row_zero(&b->row[m], b->k);
    int shared = 0, n = 0;
    for (int i = 0; i < b->words && m != NONE; i++)
        for (uint64_t left = b->row[m].bit[i] & ~q->all.bit[i]; left; left &= left - 1) {
            const int k = 64 * i + __builtin_ctzll(left);
            if (q->both[r / 2].bit[i] & left & -left) put_shared(b, line, shared++, r, one_of(b, m, k));
            else put_one(b, line, q->mixed[p], n++, r, one_of(b, m, k));
        }
    for (const int end = 4 / b->together * (MIXED * q->mixed[p] + q->steps[p]); n < end; n++)
        put_one(b, line, q->mixed[p], n, r, (One) { 0, zero < b->k ? zero : 0 });
}

static int lines_of(const Quad *q, int p)
{
    return q->mixed[p] + (q->steps[p] + SPARSE_STEPS - 1) / SPARSE_STEPS;
}

/* Writes its lines unless they are NULL; how many. */
static int put_quad(const Block *b, const Quad *q, SparseLine *line)
{
    int lines = q->all.count / SPARSE_STEPS;
    if (line) put_all(b, q, line);
    for (int first = 0; first < 4; first += b->together) {
        for (int r = first; line && r < first + b->together; r++)
            put_row(b, q, r, line + lines);
        lines += lines_of(q, first / 2);
    }
    return lines;
}

static SparseHead head_of(const Block *b, const Quad *q)
{
    SparseHead h = { .all = (uint8_t)(q->all.count / SPARSE_STEPS) };
    for (int r = 0; r < 4; r++)
        h.row[r] = b->number[q->m[r] == NONE ? q->m[0] : q->m[r]];
    for (int p = 0; p < 2; p++) {
        h.mixed[p] = (uint8_t)q->mixed[p];
        h.plain[p] = (uint8_t)(q->steps[p] / SPARSE_STEPS);
        h.rest[p] = (uint8_t)(q->steps[p] % SPARSE_STEPS);
    }
    return h;
}

size_t weights_pack_sparse(const Weights *w, const uint16_t *number, int k0, int k1, const PanelSizes *sizes, void *memory)
{
    Block b = { .w = w, .k0 = k0, .k = k1 - k0, .words = (k1 - k0 + 63) / 64, .together = sizes->sparse_rows };
    Quad quad[SPARSE_ROWS / 4];
    uint8_t order[SPARSE_ROWS / 4];
    for (int m = 0; m < w->rows; m++) {
        b.number[m] = number ? number[m] : (uint16_t)m;
        row_set(&b.row[m], w, b.number[m], k0, k1);
    }
    const int n = quads_of(&b, quad);
    size_t lines = 1;
    for (int i = 0; i < n; i++)
        lines += (size_t)put_quad(&b, &quad[i], NULL);
    const size_t bytes = sparse_lines_at(n) + lines * sizeof(SparseLine);
    if (!memory) return bytes;
    SparseHead *head = memory;
    SparseLine *line = (SparseLine *)((char *)memory + sparse_lines_at(n));
    memset(memory, 0, bytes);
    quads_sort(quad, n, order);
    for (int i = 0; i < n; i++, line += put_quad(&b, &quad[order[i - 1]], line + 1))
        head[i] = head_of(&b, &quad[order[i]]);
    return bytes;
}
