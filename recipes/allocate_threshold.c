/* One threshold over all layers: on the magnitude (global), or on LAMP's score.
 *
 * LAMP, arXiv 2010.07611: the score of a weight is its square over the sum of the squares in its layer that are not smaller; it rises with the magnitude, so inside
 * a layer nothing changes but how many go. Scores need the layer's magnitudes in order: a radix sort, with 8 bytes of scratch an element for one layer at a time. */
#include "recipes/allocate.h"
#include <math.h>
#include <string.h>

typedef struct Parts {
    const Allocation *a;
    PruneLayer **layer;                /* that still share the budget */
    int n;
    int64_t *count, *taken; Cut *cut;  /* for each of them */
    int64_t total, seen;               /* elements, for the progress */
    Layer open;
    uint32_t *sorted, *cost;           /* LAMP: scores of the open layer, and costs of its units */
} Parts;

/* Sorts n magnitudes, and a companion of each if given, by three passes of 11 bits; from and to are exchanged. */
static void sort(int64_t n, uint32_t *key[2], uint32_t *with[2])
{
    for (int shift = 0, from = 0; shift < 33; shift += 11, from = !from) {
        int64_t start[1 << 11] = { 0 }, at = 0;
        for (int64_t i = 0; i < n; i++)
            start[(key[from][i] >> shift) & 2047]++;
        for (int b = 0; b < 1 << 11; b++) {
            int64_t here = start[b];
            start[b] = at;
            at += here;
        }
        for (int64_t i = 0; i < n; i++) {
            int64_t to = start[(key[from][i] >> shift) & 2047]++;
            key[!from][to] = key[from][i];
            if (with[0])
                with[!from][to] = with[from][i];
        }
    }
}

/* Replaces magnitudes in rising order by their scores. Squares are summed from the largest down. squared: they are squares already. */
static void lamp(uint32_t *x, int64_t n, bool squared)
{
    double sum = 0;
    for (int64_t i = n - 1; i >= 0; i--) {
        float w, score;
        memcpy(&w, &x[i], sizeof w);
        if (!(w < INFINITY))
            continue;                  /* infinity and NaN are beyond every score as they are */
        double square = squared ? (double)w : (double)w * (double)w;
        sum += square;
        score = sum > 0 ? (float)(square / sum) : 0;
        memcpy(&x[i], &score, sizeof score);
    }
}

static Err lamp_units(Parts *p, Magnitudes *m)
{
    size_t n = (size_t)m->count;
    uint32_t *key[2] = { block_new(n * 4 + 4), block_new(n * 4 + 4) }, *with[2] = { NULL, NULL };
    if (m->cost) {
        with[0] = block_new(n * 4 + 4);
        with[1] = block_new(n * 4 + 4);
    }
    bool ok = key[0] && key[1] && (!m->cost || (with[0] && with[1]));
    if (ok) {
        for (int64_t i = 0; i < m->count; i++)
            key[0][i] = m->elements ? elements_magnitude(m->elements, i) : m->bits[i];
        if (m->cost)
            memcpy(with[0], m->cost, n * 4);
        sort(m->count, key, with);
        lamp(key[1], m->count, m->cost != NULL);
    }
    block_free(key[0]);
    block_free(with[0]);
    p->sorted = key[1];
    p->cost = with[1];
    *m = (Magnitudes) { .count = m->count, .bits = p->sorted, .cost = p->cost };
    return ok ? OK : err_set(ERR_NOMEM, "out of memory for the scores of %lld weights", (long long)m->count);
}

static Err close(void *user, int i)
{
    Parts *p = user;
    (void)i;
    block_free(p->sorted);
    block_free(p->cost);
    p->sorted = p->cost = NULL;
    return layer_close(p->a->model, &p->open, false);
}

static Err open(void *user, int i, Magnitudes *m)
{
    Parts *p = user;
    const Allocation *a = p->a;
    PruneLayer *l = p->layer[i];
    TRY(layer_open(a->model, l, a->options, a->kernels, &p->open));
    Err err = layer_units(&p->open, m);
    if (!err && a->options->scope == SCOPE_LAMP) err = lamp_units(p, m);
    if (err) {
        Err closed = close(p, i);
        return closed ? closed : err;
    }
    p->seen = i ? p->seen + l->weight->elements : l->weight->elements;
    if (a->progress)
        a->progress->tell(a->progress->user, l->weight->name, p->seen, p->total);
    return OK;
}

static int64_t units_of(const Allocation *a, const PruneLayer *l)
{
    const Matrix m = matrix_of(l->weight);
    const Pattern *p = &a->options->pattern;
    if (p->kind != PATTERN_BLOCK)
        return l->weight->elements;
    return m.batch.count * m.tap.count * ((m.out.count + p->rows - 1) / p->rows) * ((m.in.count + p->columns - 1) / p->columns);
}

/* A layer that would lose more than its output channels can give gets what they can; *full: it did. */
static Err check_full(Parts *p, int i, bool *full)
{
    const Allocation *a = p->a;
    PruneLayer *l = p->layer[i];
    *full = false;
    if (l->zeros_wanted <= layer_room(l, a->options))
        return OK;
    int64_t wanted = l->zeros_wanted;
    TRY(layer_count(a->model, l, a->options, a->kernels, &l->zeros_wanted));
    *full = l->zeros_wanted < wanted;
    return OK;
}

/* Deals `zeros` to the layers; *full: some could not take theirs, have left the list with what they could take, and the rest must be dealt again. */
static Err deal(Parts *p, int64_t *zeros, bool *full)
{
    const Allocation *a = p->a;
    bool blocks = a->options->pattern.kind == PATTERN_BLOCK;
    int64_t before = 0;
    p->total = 0;
    for (int i = 0; i < p->n; i++) {
        p->count[i] = units_of(a, p->layer[i]);
        p->total += p->layer[i]->weight->elements;
        before += blocks ? p->layer[i]->zeros_before : 0;      /* blocks cost what is not zero yet */
    }
    const Candidates from = { .n = p->n, .count = p->count, .costs = blocks, .open = open, .close = close, .user = p };
    TRY(select_first(&from, *zeros > before ? *zeros - before : 0, a->kernels, p->cut, p->taken, NULL));
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        PruneLayer *l = p->layer[i];
        bool this_full;
        l->zeros_wanted = p->taken[i] + (blocks ? l->zeros_before : 0);
        TRY(check_full(p, i, &this_full));
        if (this_full)
            *zeros -= l->zeros_wanted;
        else
            p->layer[n++] = l;
    }
    *full = n < p->n;
    p->n = n;
    return OK;
}

Err allocate_threshold(const Allocation *a, PruneLayer *const *layer, int n)
{
    Arena *arena = a->model->arena;
    size_t room = (size_t)n + 1;
    Parts p = { .a = a, .n = n, .layer = arena_array(arena, room, sizeof *p.layer), .count = arena_array(arena, room, sizeof *p.count),
                .taken = arena_array(arena, room, sizeof *p.taken), .cut = arena_array(arena, room, sizeof *p.cut) };
    if (!p.layer || !p.count || !p.taken || !p.cut)
        return err_set(ERR_NOMEM, "out of memory for the plan of %d layers", n);
    int64_t elements = 0;
    for (int i = 0; i < n; i++) {
        p.layer[i] = layer[i];
        elements += layer[i]->weight->elements;
    }
    int64_t zeros = zeros_at(a->options->sparsity, elements);
    Err err = OK;
    for (bool full = true; err == OK && full && p.n > 0;)
        err = deal(&p, &zeros, &full);
    if (p.sorted || p.cost || p.open.blocks.count) {           /* an error while a layer was open */
        block_free(p.sorted);
        block_free(p.cost);
        blocks_free(&p.open.blocks);
    }
    return err;
}
