/* Selection against a sort: one part and many, with costs and without, for contents that suit a sample and contents that do not, and any number of threads. */
#include "recipes/select.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 5, MOST = 200000 };

typedef struct One { uint32_t magnitude; int part; int64_t position; uint32_t cost; } One;

typedef struct Case {
    int n;
    int64_t count[PARTS];
    uint32_t *bits[PARTS], *cost[PARTS];
    bool costs;
    int open;                      /* parts that are open now: never more than one */
} Case;

static Err open_part(void *user, int i, Magnitudes *m)
{
    Case *c = user;
    assert_int_equal(c->open++, 0);
    *m = (Magnitudes) { .count = c->count[i], .bits = c->bits[i], .cost = c->costs ? c->cost[i] : NULL };
    return OK;
}

static Err close_part(void *user, int i)
{
    (void)i;
    assert_int_equal(--((Case *)user)->open, 0);
    return OK;
}

static int by_order(const void *a, const void *b)
{
    const One *x = a, *y = b;
    if (x->magnitude != y->magnitude)
        return x->magnitude < y->magnitude ? -1 : 1;
    if (x->part != y->part)
        return x->part - y->part;
    return x->position < y->position ? -1 : x->position > y->position;
}

enum { NORMAL, FEW_VALUES, CONSTANT, MOSTLY_ZERO, RISING, SPIKES, KINDS };

static uint32_t draw(int kind, int64_t i, Random *r)
{
    float f = random_float(r) * random_float(r);
    switch (kind) {
    case FEW_VALUES: f = (float)random_below(r, 5) - 2; break;
    case CONSTANT: f = -0.25f; break;
    case MOSTLY_ZERO: f = random_below(r, 10) ? 0.0f * f : f; break;
    case RISING: f = (float)i; break;
    case SPIKES: f = i % 1000 == 0 ? 1 + f : f * 1e-20f; break;    /* the sample hardly sees where the largest are */
    default: break;
    }
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static int64_t fill(Case *c, int kind, int64_t most, Random *r)
{
    int64_t total = 0;
    c->n = 1 + (int)random_below(r, PARTS);
    c->costs = random_below(r, 3) == 0;
    for (int i = 0; i < c->n; i++) {
        c->count[i] = random_below(r, (uint32_t)most / (uint32_t)c->n);
        total += c->count[i];
        for (int64_t j = 0; j < c->count[i]; j++) {
            c->bits[i][j] = draw(kind, j, r);
            c->cost[i][j] = random_below(r, 9);
        }
    }
    return total;
}

/* What the sort takes: as many in order as fit. */
static void reference(const Case *c, int64_t k, One *all, Cut *cut, int64_t *taken)
{
    int64_t n = 0, at = 0;
    for (int i = 0; i < c->n; i++) {
        taken[i] = 0;
        for (int64_t j = 0; j < c->count[i]; j++)
            all[n++] = (One) { c->bits[i][j] & MAGNITUDE_BITS, i, j, c->costs ? c->cost[i][j] : 1 };
    }
    qsort(all, (size_t)n, sizeof *all, by_order);
    for (; at < n && all[at].cost <= k; at++) {
        k -= all[at].cost;
        taken[all[at].part] += all[at].cost;
    }
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(cut_takes(cut[all[i].part], all[i].magnitude, all[i].position), i < at);
}

static void check(const Case *c, int64_t k, One *all)
{
    Cut cut[PARTS], again[PARTS];
    int64_t taken[PARTS], expected[PARTS];
    const Candidates from = { .n = c->n, .count = c->count, .costs = c->costs, .open = open_part, .close = close_part, .user = (void *)(uintptr_t)c };
    static const int threads[] = { 2, 1, 3, 7 };
    for (int t = 0; t < 4; t++) {
        omp_set_num_threads(threads[t]);
        assert_int_equal(select_first(&from, k, kernels_best(), cut, taken, NULL), OK);
        if (t == 0) {
            reference(c, k, all, cut, expected);
            memcpy(again, cut, sizeof again);
        }
        for (int i = 0; i < c->n; i++) {
            assert_int_equal(taken[i], expected[i]);
            assert_int_equal(cut[i].magnitude, again[i].magnitude);
            assert_int_equal(cut[i].position, again[i].position);
        }
    }
}

static void test_random(void **state)
{
    (void)state;
    Random r = { 4 };
    Case c = { 0 };
    for (int i = 0; i < PARTS; i++) {
        c.bits[i] = malloc(MOST * sizeof(uint32_t));
        c.cost[i] = malloc(MOST * sizeof(uint32_t));
        assert_true(c.bits[i] && c.cost[i]);
    }
    One *all = malloc(MOST * sizeof *all);
    assert_non_null(all);
    for (int round = 0; round < 60; round++) {
        int64_t total = fill(&c, round % KINDS, round < 48 ? 3000 : MOST, &r);
        const int64_t ks[] = { 0, 1, total / 2, total * 999 / 1000, total - 1, total, random_below(&r, (uint32_t)total + 1) };
        for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
            if (ks[i] >= 0 && (round < 48 || i > 1))
                check(&c, ks[i], all);
    }
    for (int i = 0; i < PARTS; i++) {
        free(c.bits[i]);
        free(c.cost[i]);
    }
    free(all);
}

/* One part in memory needs no functions. */
static void test_only(void **state)
{
    (void)state;
    const uint32_t bits[] = { 0x3f800000, 0xbf800000, 0x80000000, 0x3f000000, 0x7fc00000 };     /* 1, -1, -0, 0.5, NaN */
    const Magnitudes m = { .count = 5, .bits = bits };
    const Candidates from = { .n = 1, .count = &m.count, .only = &m };
    Cut cut;
    int64_t taken;
    assert_int_equal(select_first(&from, 3, kernels_best(), &cut, &taken, NULL), OK);
    assert_int_equal(taken, 3);
    assert_true(cut_takes(cut, 0, 2) && cut_takes(cut, 0x3f000000, 3) && cut_takes(cut, 0x3f800000, 0) && !cut_takes(cut, 0x3f800000, 1));
}

static Err open_fails(void *user, int i, Magnitudes *m)
{
    *m = (Magnitudes) { .count = 0 };
    return i == *(int *)user ? err_set(ERR_IO, "part %d is gone", i) : OK;
}

static void test_open_fails(void **state)
{
    (void)state;
    const int64_t count[] = { 0, 0 };
    Cut cut[2];
    int64_t taken[2];
    for (int bad = 0; bad < 2; bad++) {
        const Candidates from = { .n = 2, .count = count, .costs = true, .open = open_fails, .user = &bad };
        assert_int_equal(select_first(&from, 3, kernels_best(), cut, taken, NULL), ERR_IO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random), cmocka_unit_test(test_only), cmocka_unit_test(test_open_fails) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
