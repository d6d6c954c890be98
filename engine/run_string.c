/* Strings.     https://onnx.ai/onnx/operators/onnx__StringSplit.html , onnx__TfIdfVectorizer.html */
#include <string.h>
#include "engine/element.h"
#include "engine/ml.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

static bool same(const Span *a, const Span *b) { return a->size == b->size && !memcmp(a->at, b->at, a->size); }

static Err all_strings(const Step *s)
{
    for (int i = 0; i < s->n_in; i++) if (s->in[i]->dtype != DT_STRING) return step_refuse(s, "input", s->in[i]);
    return OK;
}

static Err pair_ready(Plan *plan, Step *s, StepRun *run)
{
    Walk *w;
    TRY(all_strings(s));
    TRY(plan_array(plan, 1, sizeof *w, &w));
    walk_init(w, &s->out[0]->shape, (const Shape *[]){ &s->in[0]->shape, &s->in[1]->shape }, 2);
    s->state = w;
    s->run = run;
    return OK;
}

static void pair_at(const Walk *w, const Step *s, int64_t i, const Span *of[2])
{
    int64_t at[WALK_OPERANDS];
    walk_row(w, i / w->inner, at);
    for (int k = 0; k < 2; k++) of[k] = (const Span *)s->in[k]->data + at[k] + i % w->inner * w->stride[k][w->rank - 1];
}

static Err concat_run(Plan *plan, Step *s)
{
    for (int64_t i = 0; i < s->out[0]->count; i++) {
        const Span *of[2];
        uint8_t *text;
        pair_at(s->state, s, i, of);
        TRY(plan_array(plan, (int64_t)(of[0]->size + of[1]->size) + 1, 1, &text));
        if (of[0]->size) memcpy(text, of[0]->at, of[0]->size);
        if (of[1]->size) memcpy(text + of[0]->size, of[1]->at, of[1]->size);
        ((Span *)s->out[0]->data)[i] = (Span){ text, of[0]->size + of[1]->size };
    }
    return OK;
}

Err string_concat_prep(Plan *plan, Step *s) { return pair_ready(plan, s, concat_run); }

static Err equal_run(Plan *plan, Step *s)
{
    (void)plan;
    for (int64_t i = 0; i < s->out[0]->count; i++) {
        const Span *of[2];
        pair_at(s->state, s, i, of);
        ((uint8_t *)s->out[0]->data)[i] = same(of[0], of[1]);
    }
    return OK;
}

Err equal_prep(Plan *plan, Step *s) { return s->in[0]->dtype == DT_STRING ? pair_ready(plan, s, equal_run) : binary_prep(plan, s); }

/* StringSplit ------------------------------------------------------------------------------------------------------------------------- */

static bool is_blank(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The next piece of *rest, as Python's str.split: by blanks (delimiter empty; none at the ends) or by the delimiter. last: all that is left. */
static bool next_piece(Span *rest, Span delimiter, bool last, Span *piece)
{
    Span r = *rest;
    if (!r.at) return false;
    if (!delimiter.size) {
        while (r.size && is_blank(*r.at)) { r.at++; r.size--; }
        if (!r.size) return false;
    }
    size_t n = 0, step = delimiter.size ? delimiter.size : 1;
    while (n < r.size && (last || !(delimiter.size ? n + step <= r.size && !memcmp(r.at + n, delimiter.at, step) : is_blank(r.at[n])))) n++;
    *piece = (Span){ r.at, n };
    if (last && !delimiter.size) while (piece->size && is_blank(piece->at[piece->size - 1])) piece->size--;
    *rest = n < r.size ? (Span){ r.at + n + step, r.size - n - step } : (Span){ 0 };
    return true;
}

static int64_t split_one(const Node *n, const Span *text, Span *to)
{
    const Attr *a = node_attr(n, "delimiter");
    Span delimiter = a && a->kind == ATTR_S ? a->s : (Span){ 0 }, rest = { text->at ? text->at : (const uint8_t *)"", text->size }, piece;
    int64_t most = attr_i(n, "maxsplit", -1), count = 0;
    while (next_piece(&rest, delimiter, most >= 0 && count >= most, &piece)) {
        if (to) to[count] = piece;
        count++;
    }
    return count;
}

static Err split_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    const Span *text = x->data;
    Shape y = x->shape;
    int64_t most = 0, *count = s->out[1]->data;
    if (y.rank == MAX_RANK) return err_set(ERR_UNSUPPORTED, "More than %d axes cannot be run.", MAX_RANK);
    for (int64_t i = 0; i < x->count; i++) {
        count[i] = split_one(s->node, &text[i], NULL);
        if (count[i] > most) most = count[i];
    }
    y.dim[y.rank++] = most;
    TRY(step_output(plan, s, 0, DT_STRING, &y));
    Span *to = s->out[0]->data;
    for (int64_t i = 0; i < x->count; i++, to += most) {
        for (int64_t k = 0; k < most; k++) to[k] = (Span){ (const uint8_t *)"", 0 };
        split_one(s->node, &text[i], to);
    }
    return OK;
}

Err string_split_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = split_run;
    return all_strings(s);
}

/* StringNormalizer: words that are stop words go, case changes, elements that are left empty go --------------------------------------------------- */

static bool is_stop(const Span *word, const Span *stop, int n, int change)
{
    for (int i = 0; i < n; i++) {
        if (stop[i].size != word->size) continue;
        size_t k = 0;
        for (; k < word->size; k++) {
            uint8_t a = word->at[k], b = stop[i].at[k];
            if (change) { if (a >= 'A' && a <= 'Z') a = (uint8_t)(a + 32); if (b >= 'A' && b <= 'Z') b = (uint8_t)(b + 32); }
            if (a != b) break;
        }
        if (k == word->size) return true;
    }
    return false;
}

/* case -1: lower, 1: upper, 0: as it is. Only ASCII letters change; others are refused when they would have to. */
static Err normalize(const Node *n, Span text, int change, uint8_t *to, size_t *size)
{
    const Span *stop;
    int stops = ml_strings(n, "stopwords", &stop);
    bool ignore = !attr_i(n, "is_case_sensitive", 0), first = true;
    *size = 0;
    for (size_t at = 0; at <= text.size;) {
        size_t end = at;
        while (end < text.size && text.at[end] != ' ') end++;
        Span word = { text.at + at, end - at };
        at = end + 1;
        if (stops && is_stop(&word, stop, stops, ignore)) continue;
        if (!first) to[(*size)++] = ' ';
        first = false;
        for (size_t k = 0; k < word.size; k++) {
            uint8_t c = word.at[k];
            if (change && c >= 0x80) return err_set(ERR_UNSUPPORTED, "StringNormalizer changes the case of ASCII letters only.");
            if (change < 0 && c >= 'A' && c <= 'Z') c = (uint8_t)(c + 32);
            if (change > 0 && c >= 'a' && c <= 'z') c = (uint8_t)(c - 32);
            to[(*size)++] = c;
        }
    }
    return OK;
}

static Err normalizer_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    Span *kept;
    int64_t n = 0;
    int change = attr_s_is(s->node, "case_change_action", "LOWER", false) ? -1 : attr_s_is(s->node, "case_change_action", "UPPER", false);
    TRY(plan_array(plan, x->count + 1, sizeof *kept, &kept));
    for (int64_t i = 0; i < x->count; i++) {
        Span text = ((const Span *)x->data)[i];
        uint8_t *to;
        size_t size;
        TRY(plan_array(plan, (int64_t)text.size + 1, 1, &to));
        TRY(normalize(s->node, text, change, to, &size));
        if (size) kept[n++] = (Span){ to, size };
    }
    if (!n) kept[n++] = (Span){ (const uint8_t *)"", 0 };
    Shape y = x->shape.rank == 2 ? (Shape){ .rank = 2, .dim = { 1, n } } : (Shape){ .rank = 1, .dim = { n } };
    TRY(step_output(plan, s, 0, DT_STRING, &y));
    memcpy(s->out[0]->data, kept, (size_t)n * sizeof *kept);
    return OK;
}

Err string_normalizer_prep(Plan *plan, Step *s)
{
    (void)plan;
    const Shape *x = &s->in[0]->shape;
    if (x->rank < 1 || x->rank > 2 || (x->rank == 2 && x->dim[0] != 1)) return err_set(ERR_SHAPE, "StringNormalizer needs a vector or a matrix of one row.");
    s->run = normalizer_run;
    return all_strings(s);
}

/* TfIdfVectorizer: how often each n-gram of the vocabulary occurs in each row, with gaps of up to max_skip_count between its words -------------------- */

typedef struct Grams { const int64_t *starts, *index, *ints; const Span *strings; const float *weight; int n_starts, n_index, n_pool, n_weight; } Grams;

static bool word_is(const Grams *g, const Buffer *x, int64_t i, int64_t word)
{
    int64_t v;
    if (g->strings) return same((const Span *)x->data + i, &g->strings[word]);
    v = whole_at(x, i);
    return v == g->ints[word];
}

/* Adds one to the count of the n-gram that stands at the n places at, at + step, ... */
static void count_gram(const Grams *g, const Buffer *x, const int64_t place[3], float *y, const Step *s)
{
    int64_t at = place[0], step = place[1], n = place[2], id = 0;
    for (int k = 0; k + 1 < n; k++) id += (g->starts[k + 1] - g->starts[k]) / (k + 1);
    int64_t from = g->starts[n - 1], to = n < g->n_starts ? g->starts[n] : g->n_pool;
    for (; from + n <= to; from += n, id++) {
        int64_t k = 0;
        while (k < n && word_is(g, x, at + k * step, from + k)) k++;
        if (k < n || id >= g->n_index) continue;
        float *count = &y[g->index[id]], w = g->n_weight ? g->weight[id] : 1;
        if (attr_s_is(s->node, "mode", "TF", false)) *count += 1;
        else if (attr_s_is(s->node, "mode", "IDF", false)) *count = w;
        else *count += w;
    }
}

static void count_row(const Step *s, const Grams *g, int64_t start, int64_t size, float *y)
{
    int64_t least = attr_i(s->node, "min_gram_length", 1), most = attr_i(s->node, "max_gram_length", 1), skips = attr_i(s->node, "max_skip_count", 0);
    for (int64_t n = least; n <= most && n <= g->n_starts; n++)
        for (int64_t step = 1; step <= (n == 1 ? 1 : skips + 1); step++)
            for (int64_t i = 0; i + (n - 1) * step < size; i++) count_gram(g, s->in[0], (int64_t[]){ start + i, step, n }, y, s);
}

static Err tfidf_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *y = s->out[0];
    int64_t size = x->shape.dim[x->shape.rank - 1], width = y->shape.dim[y->shape.rank - 1], rows = width ? y->count / width : 0;
    (void)plan;
    memset(y->data, 0, y->bytes);
    for (int64_t r = 0; r < rows; r++) count_row(s, s->state, r * size, size, (float *)y->data + r * width);
    return OK;
}

Err tfidf_prep(Plan *plan, Step *s)
{
    Grams *g;
    const Buffer *x = s->in[0];
    TRY(plan_array(plan, 1, sizeof *g, &g));
    g->n_starts = attr_is(s->node, "ngram_counts", &g->starts);
    g->n_index = attr_is(s->node, "ngram_indexes", &g->index);
    g->n_pool = ml_strings(s->node, "pool_strings", &g->strings);
    if (!g->n_pool) g->n_pool = attr_is(s->node, "pool_int64s", &g->ints);
    g->n_weight = ml_floats(s->node, "weights", &g->weight);
    if ((x->dtype == DT_STRING) != (g->strings != NULL) || (!g->strings && !dtype_is_whole(x->dtype))) return step_refuse(s, "input", x);
    if (g->n_weight && g->n_weight != g->n_index) return err_set(ERR_FORMAT, "TfIdfVectorizer has %d weights for %d n-grams.", g->n_weight, g->n_index);
    if (x->shape.rank < 1 || attr_i(s->node, "min_gram_length", 1) < 1) return err_set(ERR_SHAPE, "TfIdfVectorizer needs rows and n-grams of at least one word.");
    for (int i = 0; i < g->n_starts; i++)
        if (g->starts[i] < (i ? g->starts[i - 1] : 0) || g->starts[i] > g->n_pool) return err_set(ERR_FORMAT, "ngram_counts of a TfIdfVectorizer do not ascend.");
    int64_t width = s->out[0]->shape.dim[s->out[0]->shape.rank - 1];
    for (int i = 0; i < g->n_index; i++) if (g->index[i] < 0 || g->index[i] >= width) return err_set(ERR_FORMAT, "ngram_indexes of a TfIdfVectorizer are out of range.");
    s->state = g;
    s->run = tfidf_run;
    return OK;
}
