#include "engine/alike.h"
#include <stdlib.h>
#include <string.h>
#include "kernels/pack_rows.h"

enum { SAMPLE = ROW_PLACES, HASHES = 16, ROUNDS = 4, FEWEST = 4, COMPARED = 16, WORTH = 8, NONE = -1 };

typedef int16_t Eight __attribute__((vector_size(8 * sizeof(int16_t))));
typedef union Hashes { Eight part[HASHES / 8]; int16_t of[HASHES]; } Hashes;

typedef struct Likeness {
    uint64_t key[ROUNDS];      /* the smallest of each hash over the weights that are not 0, four in one */
    int count;                 /* of those weights in the sample */
    int row, like, next;       /* like: the first one found of those that share its zeros; next: of them */
} Likeness;

/* Permutations of SAMPLE numbers: products with odd numbers and shifts that are added, modulo a power of 2. */
static void hash_columns(Hashes *hash)
{
    for (unsigned k = 0; k < SAMPLE; k++)
        for (unsigned i = 0; i < HASHES; i++) {
            unsigned x = k * (2 * i * 37 + 101) + i * 211;
            for (int turn = 0; turn < 2; turn++) {
                x %= SAMPLE;
                x ^= x >> 5;
                x *= 2 * i * 53 + 157;
            }
            hash[k].of[i] = (int16_t)(x % SAMPLE);
        }
}

static void look_at(const Weights *w, int m, int columns, const Hashes *hash, Likeness *out)
{
    Eight least[HASHES / 8] = { { 0 } };
    Row row;
    for (int part = 0; part < HASHES / 8; part++) least[part] += INT16_MAX;
    row_set(&row, w, m, 0, columns);
    *out = (Likeness){ .count = row.count, .row = m, .like = NONE, .next = NONE };
    for (int i = 0; i < (columns + 63) / 64; i++)
        for (uint64_t left = row.bit[i]; left; left &= left - 1) {
            const Eight *here = hash[64 * i + __builtin_ctzll(left)].part;
            for (int part = 0; part < HASHES / 8; part++) {
                Eight less = here[part] < least[part];
                least[part] = (here[part] & less) | (least[part] & ~less);
            }
        }
    memcpy(out->key, least, sizeof out->key);
}

/* Whether they share at least half of what they would not by chance. */
static bool alike(const Weights *w, int columns, const Likeness *a, const Likeness *b)
{
    int shared = 0;
    Row x, y;
    row_set(&x, w, a->row, 0, columns);
    row_set(&y, w, b->row, 0, columns);
    for (int i = 0; i < (columns + 63) / 64; i++) shared += __builtin_popcountll(x.bit[i] & y.bit[i]);
    double mean = (a->count + b->count) / 2.0;
    return shared >= mean * (1 + mean / columns) / 2;
}

typedef struct Entry { uint64_t key; int row; } Entry;

static int compare_entries(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? -1 : 1) : x->row - y->row;
}

/* Rows that have one key, which is seldom chance. */
static void join_run(const Weights *w, int columns, const Entry *entry, int n, Likeness *all)
{
    for (int i = 0; i < n; i++) {
        Likeness *first = &all[entry[i].row];
        if (first->like != NONE) continue;
        for (int j = i + 1, last = first->row, tries = 0; j < n && tries < COMPARED; j++) {
            Likeness *other = &all[entry[j].row];
            if (other->like != NONE) continue;
            if (!alike(w, columns, first, other)) {
                tries++;
                continue;
            }
            first->like = other->like = first->row;
            all[last].next = other->row;
            last = other->row;
        }
    }
}

static void join_round(const Weights *w, int columns, int round, Entry *entry, Likeness *all)
{
    int n = 0;
    for (int m = 0; m < w->rows; m++) if (all[m].like == NONE && all[m].count >= FEWEST) entry[n++] = (Entry){ all[m].key[round], m };
    qsort(entry, (size_t)n, sizeof *entry, compare_entries);
    for (int i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && entry[end].key == entry[i].key; end++) { }
        join_run(w, columns, entry + i, end - i, all);
    }
}

size_t rows_order_bytes(int rows) { return SAMPLE * sizeof(Hashes) + (size_t)rows * (sizeof(Likeness) + sizeof(Entry)); }

int rows_order(const Weights *w, int k, void *memory, uint16_t *order)
{
    const int columns = k < SAMPLE ? k : SAMPLE;
    Hashes *hash = memory;
    Likeness *all = (Likeness *)(hash + SAMPLE);
    int shared = 0, n = 0;
    hash_columns(hash);
    for (int m = 0; m < w->rows; m++) look_at(w, m, columns, hash, &all[m]);
    for (int round = 0; round < ROUNDS; round++) join_round(w, columns, round, (Entry *)(all + w->rows), all);
    for (int m = 0; m < w->rows; m++) {
        if (all[m].like == NONE) order[n++] = (uint16_t)m;
        if (all[m].like != m) continue;
        for (int i = m; i != NONE; i = all[i].next, shared++) order[n++] = (uint16_t)i;
    }
    return shared;
}

Err rows_alike(Plan *plan, Multiply *m)
{
    Packed *p = &m->packed;
    const int rows = p->weights.rows;
    int alike = 0;
    uint16_t *order;
    void *memory;
    if (p->form != MULTIPLY_SPARSE || p->memory || !p->weights.w || rows < 2 || rows > UINT16_MAX) return OK;
    TRY(plan_array(plan, (int64_t)p->groups * rows, sizeof *order, &order));
    TRY(plan_temporary(plan, rows_order_bytes(rows), &memory));
    for (int g = 0; g < p->groups; g++) {
        Weights w = p->weights;
        w.w += (size_t)g * (size_t)rows * w.row;
        alike += rows_order(&w, p->k, memory, order + (size_t)g * (size_t)rows);
    }
    if (!alike || alike * WORTH < p->groups * rows) return OK;         /* products with an order of their own are not joined with what follows */
    p->alike = alike;
    p->order = order;
    packed_plan(p);
    return OK;
}
