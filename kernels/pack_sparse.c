/* The stream of a sparse product, see SparseLine in kernels/panel.h: which rows of W are summed together and in which order their weights come.
 *
 * Any order of rows is free. Rows are sorted by the number of their weights, so that few steps are filled up with zeros; then each takes the partner that saves most
 * among the NEAR next ones, and each pair another pair, or a third row where a head has three: rows that share their zeros have as many. Heads are sorted again: loops
 * of equal length follow each other, as the end of a loop that is not as long as the last one's is guessed wrongly. */
#include "kernels/pack_rows.h"
#include <string.h>

enum { MOST_HEADS = (SPARSE_ROWS + 2) / 3, NEAR = 8, NONE = -1,
       FEWEST = 4 };           /* lines of weights that all rows have: fewer do not pay for a loop */

/* A set of places; count: how many of them. */
typedef Row Set;

typedef struct Block {
    const Weights *w;
    uint16_t number[SPARSE_ROWS];  /* of W's rows */
    int k0, k, words;              /* k rows of the panel from k0 on */
    int together, steps;           /* rows of a head; steps of a line */
    Row row[SPARSE_ROWS];
} Block;

/* Two rows, and what both have. Where one is alone, m[1] is NONE: what that one has. */
typedef struct Pair { int m[2]; Set both; } Pair;

/* The rows of a head, whose stream is made. */
typedef struct Group {
    int m[4];                  /* NONE: there is none */
    Set all, both[2];          /* of rows 0 and 1, of rows 2 and 3; trimmed to what shares loads */
    int mixed, steps;          /* lines, and steps of plain lines */
} Group;

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

/* Cycles that two rows save, about: one of the steps of a line may share loads, which takes 1.5 cycles off for each weight; one without a partner in its step costs
 * 4.5. */
static int gain(const Block *b, int m, int n)
{
    const int counts[2] = { b->row[m].count, b->row[n].count }, more = counts[0] > counts[1], both = meet(b, &b->row[m], &b->row[n]);
    const int most = counts[!more] / b->steps, alone = counts[!more] - counts[more];
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

static int take(uint8_t *left, int *n, int i)
{
    const int m = left[i];
    memmove(left + i, left + i + 1, (size_t)(--*n - i));
    return m;
}

/* The first row that is left, and its partner. */
static Pair pair_take(const Block *b, uint8_t *left, int *n)
{
    Pair p = { .m = { take(left, n, 0), NONE } };
    p.both = b->row[p.m[0]];
    if (!*n) return p;
    p.m[1] = take(left, n, partner_of(b, p.m[0], left, *n));
    intersect(b, &b->row[p.m[0]], &b->row[p.m[1]], &p.both);
    return p;
}

/* Which of the sets has most in common with this one; the first one, if that is little. */
static int likest(const Block *b, const Set *to, const Set *const *sets, int n)
{
    int best = 0, most = FEWEST * b->steps - 1;
    for (int i = 0; i < n && to->count > most; i++) {
        int here = meet(b, to, sets[i]);
        if (here <= most) continue;
        most = here;
        best = i;
    }
    return best;
}

static int longest_of(const Block *b, const int *m)
{
    int most = 0;
    for (int r = 0; r < b->together; r++)
        if (m[r] != NONE && b->row[m[r]].count > most) most = b->row[m[r]].count;
    return most;
}

/* As many mixed lines as there are shared weights for. second: NULL, there is none. */
static Group group_of(const Block *b, const Pair *first, const Pair *second)
{
    Group g = { .m = { first->m[0], first->m[1], second ? second->m[0] : NONE, second ? second->m[1] : NONE }, .both = { first->both } };
    if (second) g.both[1] = second->both;
    if (g.m[b->together - 1] != NONE) intersect(b, &first->both, &second->both, &g.all);
    trim_to(&g.all, g.all.count < FEWEST * b->steps ? 0 : g.all.count - g.all.count % b->steps);
    const int steps = longest_of(b, g.m) - g.all.count;
    g.mixed = steps / b->steps;
    for (int p = 0; p < 2; p++) {
        subtract(b, &g.both[p], &g.all);
        if (g.both[p].count < g.mixed) g.mixed = g.both[p].count;
    }
    for (int p = 0; p < 2; p++)
        trim_to(&g.both[p], g.mixed);
    g.steps = steps - b->steps * g.mixed;
    return g;
}

/* Heads of three: a pair, and a third row. */
static int groups_of_three(const Block *b, uint8_t *left, int n, Group *group)
{
    int count = 0;
    for (; n > 0; count++) {
        const Pair first = pair_take(b, left, &n);
        const Set *near[NEAR];
        int i = 0;
        for (; i < n && i < NEAR - 1; i++)
            near[i] = &b->row[left[i]];
        if (!i) {
            group[count] = group_of(b, &first, NULL);
            continue;
        }
        const int third = take(left, &n, likest(b, &first.both, near, i));
        group[count] = group_of(b, &first, &(Pair) { { third, NONE }, b->row[third] });
    }
    return count;
}

/* Heads of four: two pairs. */
static int groups_of_four(const Block *b, uint8_t *left, int rows, Group *group)
{
    Pair pair[SPARSE_ROWS / 2];
    int n = 0, count = 0;
    while (rows > 0)
        pair[n++] = pair_take(b, left, &rows);
    for (Pair *p = pair; n > 0; count++) {
        const Set *near[NEAR];
        int i = 0;
        for (; i < n - 1 && i < NEAR - 1; i++)
            near[i] = &p[1 + i].both;
        if (!i) {
            group[count] = group_of(b, p, NULL);
            n--;
            continue;
        }
        i = 1 + likest(b, &p->both, near, i);
        group[count] = group_of(b, p, &p[i]);
        memmove(p + 2, p + 1, (size_t)(i - 1) * sizeof *p);
        p += 2;
        n -= 2;
    }
    return count;
}

static int groups_of(const Block *b, Group *group)
{
    uint8_t left[SPARSE_ROWS];
    rows_sort(b->row, b->w->rows, left);
    return (b->together == 3 ? groups_of_three : groups_of_four)(b, left, b->w->rows, group);
}

/* Which loops it has, the longer the more. */
static uint64_t loops_of(const Group *g)
{
    return (uint64_t)g->all.count << 32 | (uint64_t)g->mixed << 16 | (uint64_t)g->steps;
}

/* Insertion sort. The last one stays: it may have fewer rows. */
static void groups_sort(const Group *group, int n, uint8_t *order)
{
    for (int i = 0; i < n; i++) {
        int j = i;
        for (; i < n - 1 && j > 0 && loops_of(&group[order[j - 1]]) < loops_of(&group[i]); j--)
            order[j] = order[j - 1];
        order[j] = (uint8_t)i;
    }
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

/* What all rows have. */
static void put_all(const Block *b, const Group *g, SparseLine *line)
{
    for (int i = 0, n = 0; i < b->words; i++)
        for (uint64_t left = g->all.bit[i]; left; left &= left - 1, n++) {
            const int k = 64 * i + __builtin_ctzll(left), step = n % b->steps;
            for (int r = 0; r < b->together; r++)
                put(line + n / b->steps, b->together * step + r, step, one_of(b, g->m[r], k));
        }
}

/* Weight number n of row r behind the shared ones: the other steps of mixed lines, then plain lines. */
static void put_one(const Block *b, SparseLine *line, int mixed, int n, int r, One one)
{
    const int others = b->steps - 1;
    if (n < others * mixed) {
        const int q = b->together * (n % others) + r;
        put(line + n / others, b->together + q, b->together + q, one);
        return;
    }
    const int plain = n - others * mixed, q = b->together * (plain % b->steps) + r;
    put(line + mixed + plain / b->steps, q, q, one);
}

/* Row r of the group, but for what all rows have. Steps are filled up with weights of 0 that meet a row where the weight is 0 anyhow, so that infinities there come to
 * the same. */
static void put_row(const Block *b, const Group *g, int r, SparseLine *line)
{
    const int m = g->m[r], zero = m == NONE ? 0 : row_zero(&b->row[m], b->k);
    int shared = 0, n = 0;
    for (int i = 0; i < b->words && m != NONE; i++)
        for (uint64_t left = b->row[m].bit[i] & ~g->all.bit[i]; left; left &= left - 1) {
            const int k = 64 * i + __builtin_ctzll(left);
            if (g->both[r / 2].bit[i] & left & -left) put(line + shared++, r, r, one_of(b, m, k));
            else put_one(b, line, g->mixed, n++, r, one_of(b, m, k));
        }
    for (const int end = (b->steps - 1) * g->mixed + g->steps; n < end; n++)
        put_one(b, line, g->mixed, n, r, (One) { 0, zero < b->k ? zero : 0 });
}

/* Writes its lines unless they are NULL; how many. */
static int put_group(const Block *b, const Group *g, SparseLine *line)
{
    const int all = g->all.count / b->steps;
    if (line) put_all(b, g, line);
    for (int r = 0; line && r < b->together; r++)
        put_row(b, g, r, line + all);
    return all + g->mixed + (g->steps + b->steps - 1) / b->steps;
}

static SparseHead head_of(const Block *b, const Group *g)
{
    SparseHead h = { .all = (uint8_t)(g->all.count / b->steps), .mixed = (uint8_t)g->mixed };
    for (int r = 0; r < 4; r++)
        h.row[r] = b->number[g->m[r] == NONE ? g->m[0] : g->m[r]];
    h.plain = (uint8_t)(g->steps / b->steps);
    h.rest = (uint8_t)(g->steps % b->steps);
    return h;
}

size_t weights_pack_sparse(const Weights *w, const uint16_t *number, int k0, int k1, const PanelSizes *sizes, void *memory)
{
    const int together = sizes->sparse_rows;
    Block b = { .w = w, .k0 = k0, .k = k1 - k0, .words = (k1 - k0 + 63) / 64, .together = together, .steps = SPARSE_WEIGHTS / together };
    Group group[MOST_HEADS];
    uint8_t order[MOST_HEADS];
    for (int m = 0; m < w->rows; m++) {
        b.number[m] = number ? number[m] : (uint16_t)m;
        row_set(&b.row[m], w, b.number[m], k0, k1);
    }
    const int n = groups_of(&b, group);
    size_t lines = 1;
    for (int i = 0; i < n; i++)
        lines += (size_t)put_group(&b, &group[i], NULL);
    const size_t bytes = sparse_lines_at(n) + lines * sizeof(SparseLine);
    if (!memory) return bytes;
    SparseHead *head = memory;
    SparseLine *line = (SparseLine *)((char *)memory + sparse_lines_at(n));
    memset(memory, 0, bytes);
    groups_sort(group, n, order);
    for (int i = 0; i < n; i++, line += put_group(&b, &group[order[i - 1]], line + 1))
        head[i] = head_of(&b, &group[order[i]]);
    return bytes;
}
