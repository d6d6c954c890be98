/* Einsum: sums of products written with index letters, "bij,bjk->bik".   https://onnx.ai/onnx/operators/onnx__Einsum.html
 * Plain: for every index of the output, the sum over all other letters. An ellipsis stands for axes that broadcast. */
#include <ctype.h>
#include <string.h>
#include "engine/element.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

enum { MAX_TERMS = 8, MAX_LABELS = 2 * MAX_RANK, FIRST_DOT = 'z' + 1 };

typedef struct Einsum {
    int n_term, n_label, n_out;                /* labels of the output first, then those summed over */
    unsigned char label[MAX_LABELS];
    int64_t dim[MAX_LABELS], stride[MAX_TERMS][MAX_LABELS];
} Einsum;

/* The letters of one term; "..." becomes `dots` private labels, aligned at their end. */
static Err read_term(const char **at, const char *end, int dots, unsigned char *out, int *n)
{
    *n = 0;
    for (; *at < end && **at != ',' && **at != '-'; ++*at) {
        if (isspace((unsigned char)**at)) continue;
        bool ellipsis = end - *at >= 3 && !memcmp(*at, "...", 3);
        if (!ellipsis && !isalpha((unsigned char)**at)) return err_set(ERR_SHAPE, "The equation of Einsum holds '%c'.", **at);
        int count = ellipsis ? dots : 1;
        if (*n + count > MAX_LABELS) return err_set(ERR_UNSUPPORTED, "Einsum with so many letters cannot be run.");
        for (int i = 0; i < count; i++) out[(*n)++] = ellipsis ? (unsigned char)(FIRST_DOT + MAX_RANK - dots + i) : (unsigned char)**at;
        if (ellipsis) *at += 2;
    }
    return OK;
}

static int letters(const char *at, const char *end, bool *ellipsis)
{
    int n = 0;
    *ellipsis = false;
    for (; at < end && *at != ',' && *at != '-'; at++) { n += isalpha((unsigned char)*at) != 0; *ellipsis = *ellipsis || *at == '.'; }
    return n;
}

static int place(Einsum *e, unsigned char label)
{
    for (int i = 0; i < e->n_label; i++) if (e->label[i] == label) return i;
    e->label[e->n_label] = label;
    e->dim[e->n_label] = 1;
    return e->n_label++;
}

/* Without "->": the labels of ellipses, then letters that occur once, in alphabetical order. */
static void implicit_output(Einsum *e, const unsigned char *all, int n)
{
    for (int label = FIRST_DOT; label < FIRST_DOT + MAX_RANK; label++) for (int i = 0; i < n; i++) if (all[i] == label) (void)place(e, all[i]);
    for (int label = 'A'; label <= 'z'; label++) {
        int times = 0;
        for (int i = 0; i < n; i++) times += all[i] == label;
        if (times == 1) (void)place(e, (unsigned char)label);
    }
    e->n_out = e->n_label;
}

static Err read_equation(const Step *s, Einsum *e)
{
    const Attr *a = node_attr(s->node, "equation");
    unsigned char term[MAX_TERMS][MAX_LABELS], all[MAX_TERMS * MAX_LABELS];
    int length[MAX_TERMS], n_all = 0;
    if (!a || a->kind != ATTR_S || s->n_in > MAX_TERMS) return err_set(ERR_UNSUPPORTED, "Einsum with %d operands cannot be run.", s->n_in);
    const char *at = (const char *)a->s.at, *end = at + a->s.size;
    int most_dots = 0;
    for (int k = 0; k < s->n_in; k++) {
        bool ellipsis;
        int dots = s->in[k]->shape.rank - letters(at, end, &ellipsis);
        if (dots < 0 || (dots > 0 && !ellipsis)) return err_set(ERR_SHAPE, "Operand %d of Einsum has rank %d, which its term does not fit.", k, s->in[k]->shape.rank);
        if (dots > most_dots) most_dots = dots;
        TRY(read_term(&at, end, dots, term[k], &length[k]));
        memcpy(all + n_all, term[k], (size_t)length[k]);
        n_all += length[k];
        if (at < end && *at == ',') at++;
    }
    unsigned char out[MAX_LABELS];
    int n_out = 0;
    if (end - at >= 2 && !memcmp(at, "->", 2)) {
        at += 2;
        TRY(read_term(&at, end, most_dots, out, &n_out));
        for (int i = 0; i < n_out; i++) (void)place(e, out[i]);
        e->n_out = n_out;
        if (e->n_label != n_out) return err_set(ERR_SHAPE, "The output of Einsum repeats a letter.");
    } else implicit_output(e, all, n_all);
    for (int k = 0; k < s->n_in; k++) {
        int64_t stride[MAX_RANK];
        shape_strides(&s->in[k]->shape, stride);
        for (int i = 0; i < length[k]; i++) {
            int l = place(e, term[k][i]);
            int64_t d = s->in[k]->shape.dim[i];
            if (d != 1 && e->dim[l] != 1 && e->dim[l] != d)
                return err_set(ERR_SHAPE, "A letter of Einsum stands for sizes %lld and %lld.", (long long)d, (long long)e->dim[l]);
            if (d != 1) { e->dim[l] = d; e->stride[k][l] += stride[i]; }
        }
    }
    e->n_term = s->n_in;
    return OK;
}

static void offsets(const Einsum *e, int from, int to, int64_t i, int64_t at[MAX_TERMS])
{
    for (int l = to - 1; l >= from; l--) {
        for (int k = 0; k < e->n_term; k++) at[k] += i % e->dim[l] * e->stride[k][l];
        i /= e->dim[l];
    }
}

static Err einsum_run(Plan *plan, Step *s)
{
    const Einsum *e = s->state;
    Buffer *y = s->out[0];
    int64_t sums = 1;
    for (int l = e->n_out; l < e->n_label; l++) sums *= e->dim[l];
    bool whole = dtype_is_whole(y->dtype);
    #pragma omp parallel for num_threads(plan->threads) if (y->count * sums > PARALLEL_WORK)
    for (int64_t i = 0; i < y->count; i++) {
        int64_t base[MAX_TERMS] = { 0 };
        double sum = 0;
        uint64_t whole_sum = 0;
        offsets(e, 0, e->n_out, i, base);
        for (int64_t j = 0; j < sums; j++) {
            int64_t at[MAX_TERMS];
            double product = 1;
            uint64_t whole_product = 1;
            memcpy(at, base, sizeof at);
            offsets(e, e->n_out, e->n_label, j, at);
            for (int k = 0; k < e->n_term; k++) {
                double v = 0;
                int64_t w = 0;
                if (whole) elements_to_i64(y->dtype, s->in[k]->data, at[k], 1, &w);
                else elements_to_f64(y->dtype, s->in[k]->data, at[k], 1, &v);
                product *= v;
                whole_product *= (uint64_t)w;
            }
            sum += product;
            whole_sum += whole_product;
        }
        int64_t w = (int64_t)whole_sum;
        if (whole) elements_from_i64(y->dtype, &w, 1, y->data, i);
        else elements_from_f64(y->dtype, &sum, 1, y->data, i);
    }
    return OK;
}

Err einsum_prep(Plan *plan, Step *s)
{
    Einsum *e;
    for (int k = 0; k < s->n_in; k++) {
        if (!s->in[k] || s->in[k]->dtype != s->in[0]->dtype) return err_set(ERR_SHAPE, "Einsum has operands of different types.");
        if (!dtype_is_real(s->in[k]->dtype)) return step_refuse(s, "input", s->in[k]);
    }
    TRY(plan_array(plan, 1, sizeof *e, &e));
    TRY(read_equation(s, e));
    int64_t count = 1;
    for (int l = 0; l < e->n_out; l++) count *= e->dim[l];
    if (count != s->out[0]->count) return err_set(ERR_SHAPE, "The output of Einsum has another size than was inferred.");
    s->state = e;
    s->run = einsum_run;
    return OK;
}
