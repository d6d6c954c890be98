/* The stream of a sparse product, see SparsePart in kernels/panel.h: which rows of W are summed together and in which order their weights come.
 *
 * Any order of rows is free. Rows are sorted by the number of their weights, so that loops of equal length follow each other and few steps are filled up with zeros;
 * then each takes the partner that saves most among the NEAR next ones, and each pair another pair: rows that share their zeros have as many. */
#include "kernels/pack_rows.h"
#include <string.h>

enum { PAIRS = SPARSE_ROWS / 2, NEAR = 8, NONE = -1, OFFSETS = 4 * sizeof(uint16_t) };        /* bytes of a step's offsets */

/* A set of places; count: how many of them. */
typedef Row Set;

typedef struct Block {
    const Weights *w;
    uint16_t number[SPARSE_ROWS];  /* of W's rows */
    int k0, k, words, pitch;       /* k rows of the panel from k0 on */
    int together;                  /* rows that share steps: 2 or 4 */
    Row row[SPARSE_ROWS];
} Block;

/* Up to four rows whose stream is made. */
typedef struct Quad {
    int m[4];                  /* NONE: there is none */
    Set all, both[2];
    int steps[2];              /* the second: where pairs have their own */
} Quad;

typedef struct Pair { int m[2]; Set both; } Pair;

static int meet(const Block *b, const Set *x, const Set *y)
{
    int count = 0;
    for (int i = 0; i < b->words; i++)
        count += __builtin_popcountll(x->bit[i] & y->bit[i]);
    return count;
}

static int rounded(int count)
{
    return count - count % SPARSE_TOGETHER;
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

/* Down to a multiple of SPARSE_TOGETHER that is at least `least`, or to nothing; unless that is all of what the longest row has left: then no other loop follows. */
static void trim(Set *x, int least, int longest)
{
    trim_to(x, x->count == longest ? longest : rounded(x->count) < least ? 0 : rounded(x->count));
}

/* Grouping -------------------------------------------------------------------------------------------------------------------------------- */

/* Cycles that two rows save, about, in tenths: with shared loads two weights take 4 cycles instead of 5.7; a weight without a partner in the same step costs 2.8. */
static int gain(const Block *b, int m, int n)
{
    int alone = b->row[m].count - b->row[n].count;
    return 17 * rounded(meet(b, &b->row[m], &b->row[n])) - 28 * (alone < 0 ? -alone : alone);
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
    int best = 1, most = 2 * SPARSE_TOGETHER - 1;
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

/* Weights of the longest row of pair p that it shares with nobody. */
static int alone(const Block *b, const Quad *q, int p)
{
    return longest_of(b, q->m + 2 * p, 2) - q->all.count - q->both[p].count;
}

/* Where four rows share steps, the pair with fewer weights left may as well have its shared ones there. */
static void level(const Block *b, Quad *q)
{
    const int left[2] = { alone(b, q, 0), alone(b, q, 1) }, fewer = left[1] < left[0];
    const int more = rounded(left[!fewer] - left[fewer]);
    Set *both = &q->both[fewer];
    if (more > 0 && both->count > 0) trim_to(both, both->count > more ? both->count - more : 0);
}

static void finish_quad(const Block *b, const Pair *first, const Pair *second, Quad *q)
{
    const Pair *pair[2] = { first, second };
    *q = (Quad) { .m = { first->m[0], first->m[1], second ? second->m[0] : NONE, second ? second->m[1] : NONE } };
    if (q->m[3] != NONE)
        intersect(b, &first->both, &second->both, &q->all);
    trim(&q->all, 2 * SPARSE_TOGETHER, longest_of(b, q->m, 4));
    for (int p = 0; p < 2 && pair[p]; p++) {
        q->both[p] = pair[p]->both;
        subtract(b, &q->both[p], &q->all);
        trim(&q->both[p], 0, longest_of(b, pair[p]->m, 2) - q->all.count);
    }
    if (b->together == 4) level(b, q);
    const int steps[2] = { alone(b, q, 0), second ? alone(b, q, 1) : 0 };
    if (b->together == 4) q->steps[0] = steps[steps[1] > steps[0]];
    else for (int p = 0; p < 2; p++) q->steps[p] = (steps[p] + 1) / 2;
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

static void put_u16(uint8_t *stream, int at)
{
    uint16_t narrow = (uint16_t)at;
    memcpy(stream, &narrow, sizeof narrow);
}

static void put_f32(uint8_t *stream, float w)
{
    memcpy(stream, &w, sizeof w);
}

/* What `rows` rows have in common. */
static uint8_t *put_shared(const Block *b, const int *m, int rows, const Set *set, uint8_t *stream)
{
    for (int i = 0; i < b->words; i++)
        for (uint64_t left = set->bit[i]; left; left &= left - 1) {
            int k = 64 * i + __builtin_ctzll(left);
            for (int r = 0; r < rows; r++, stream += sizeof(float))
                put_f32(stream, weight(b->w, b->number[m[r]], b->k0 + k));
            put_u16(stream, k * b->pitch);
            stream += sizeof(uint16_t);
        }
    return stream;
}

/* Where a step has its offsets. */
static uint8_t *step_at(uint8_t *step)
{
    return step + SPARSE_STEP - OFFSETS;
}

/* Weight number n of those that only row r of `together` has. */
static void put_one(int together, int n, int r, float w, int at, uint8_t *stream)
{
    const int each = 4 / together, q = n % each * together + r;
    put_f32(stream + n / each * SPARSE_STEP + q * (int)sizeof w, w);
    put_u16(step_at(stream + n / each * SPARSE_STEP) + q * (int)sizeof(uint16_t), at);
}

/* Where the offsets of the next steps belong. */
typedef struct Places { uint8_t *place[SPARSE_AHEAD]; int next; } Places;

/* Moves the offsets of `steps` steps to where they are read. */
static void move_ahead(uint8_t *stream, int steps, Places *p)
{
    for (; steps > 0; steps--, stream += SPARSE_STEP, p->next = (p->next + 1) % SPARSE_AHEAD) {
        memcpy(p->place[p->next], step_at(stream), OFFSETS);
        p->place[p->next] = step_at(stream);
        memset(step_at(stream), 0, OFFSETS);
    }
}

/* What row r of the quad does not share. The last steps are filled up with weights of 0 that meet a row where the weight is 0 anyhow, so that infinities there come to
 * the same. */
static void put_alone(const Block *b, const Quad *q, int r, int steps, uint8_t *stream)
{
    int m = q->m[r], n = 0;
    for (int i = 0; i < b->words && m != NONE; i++)
        for (uint64_t left = b->row[m].bit[i] & ~q->all.bit[i] & ~q->both[r / 2].bit[i]; left; left &= left - 1) {
            int at = 64 * i + __builtin_ctzll(left);
            put_one(b->together, n++, r % b->together, weight(b->w, b->number[m], b->k0 + at), at * b->pitch, stream);
        }
    int zero = m == NONE ? 0 : row_zero(&b->row[m], b->k);
    for (; n < 4 / b->together * steps; n++)
        put_one(b->together, n, r % b->together, 0, zero < b->k ? zero * b->pitch : 0, stream);
}

static uint8_t *put_quad(const Block *b, const Quad *q, uint8_t *stream, Places *places)
{
    stream = put_shared(b, q->m, 4, &q->all, stream);
    for (int first = 0; first < 4; first += b->together) {
        const int steps = q->steps[first / 2], end = first + b->together;
        for (int r = first; r < end; r += 2)
            stream = put_shared(b, q->m + r, 2, &q->both[r / 2], stream);
        for (int r = first; r < end; r++)
            put_alone(b, q, r, steps, stream);
        move_ahead(stream, steps, places);
        stream += steps * SPARSE_STEP;
    }
    return stream;
}

static SparseHead head_of(const Block *b, const Quad *q)
{
    SparseHead h = { .all = (uint16_t)q->all.count };
    for (int r = 0; r < 4; r++)
        h.row[r] = b->number[q->m[r] == NONE ? q->m[0] : q->m[r]];
    for (int p = 0; p < 2; p++) {
        h.both[p] = (uint16_t)q->both[p].count;
        h.steps[p] = (uint16_t)q->steps[p];
    }
    return h;
}

size_t weights_pack_sparse(const Weights *w, const uint16_t *number, int k0, int k1, const PanelSizes *sizes, void *memory)
{
    Block b = { .w = w, .k0 = k0, .k = k1 - k0, .words = (k1 - k0 + 63) / 64, .pitch = sizes->sparse, .together = sizes->sparse_rows };
    Quad quad[SPARSE_ROWS / 4];
    for (int m = 0; m < w->rows; m++) {
        b.number[m] = number ? number[m] : (uint16_t)m;
        row_set(&b.row[m], w, b.number[m], k0, k1);
    }
    int n = quads_of(&b, quad);
    SparseHead *head = memory;
    size_t bytes = (size_t)n * sizeof *head + SPARSE_AHEAD * OFFSETS;
    Places places = { .next = 0 };
    for (int i = 0; memory && i < SPARSE_AHEAD; i++) {
        places.place[i] = (uint8_t *)(head + n) + i * OFFSETS;
        memset(places.place[i], 0, OFFSETS);
    }
    for (int i = 0; i < n; i++) {
        const Quad *q = &quad[i];
        if (memory) {
            head[i] = head_of(&b, q);
            put_quad(&b, q, (uint8_t *)memory + bytes, &places);
        }
        bytes += (size_t)q->all.count * SPARSE_ALL;
        for (int p = 0; p < 2; p++)
            bytes += (size_t)q->both[p].count * SPARSE_BOTH + (size_t)q->steps[p] * SPARSE_STEP;
    }
    return bytes;
}
