/* ONNX's own test data for operators and small models: what runs must give the numbers that the files hold; what does not run must be refused by name.
 *
 * ONESHOT_NODE_TESTS names the folder `onnx/backend/test/data` of the onnx wheel. One line is printed for every case: "passed", "refused" with the reason, or
 * "wrong"; the last line of the count gives the refused ones as skipped. With ONESHOT_OPERATORS a table of all operators is written to that file.
 * Tolerances are those of onnx.backend.test: rtol 1e-3, atol 1e-7; the latter times the largest magnitude of a tensor where that is above 1, since what
 * should be zero in a sum of large numbers (Fourier transforms) is a matter of the order of summation. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/element.h"
#include "engine/list.h"
#include "engine/plan.h"
#include "onnx/tensor_proto.h"
#include "onnx/wire.h"
#include "tests/cmocka.h"
#include "tests/files.h"

/* Cases that passed when this was last changed. The number may only rise. */
enum { MINIMUM = 1843 };

/* Of a case NAME, "light" has NAME.onnx and NAME_output_0.pb; what goes in is made: element i of n is i / n. The others have a folder for each case. */
static const char *const SUITES[] = { "node", "simple", "pytorch-operator", "pytorch-converted", "light" };
enum { MAX_VALUES = 64 };
typedef struct Tally { int passed, refused, wrong; } Tally;
typedef struct Case { Model *model; Arena *arena; const char *folder; bool light; Bytes file[2 * MAX_VALUES]; int n_file; } Case;

/* SequenceProto and OptionalProto hold tensors in field 3 and sequences in field 5; which of the two the bytes are, they do not say. */
static Err parse_list(Arena *arena, Span bytes, ListKind kind, List **out)
{
    Wire w = wire_of(bytes, bytes.at);
    Field f;
    List *l = arena_alloc(arena, sizeof *l);
    assert_non_null(l);
    l->kind = kind;
    while (wire_next(&w, &f)) {
        bool tensor = f.tag == WIRE_TAG(3, WIRE_BYTES);
        if (!tensor && f.tag != WIRE_TAG(5, WIRE_BYTES)) continue;
        Buffer *b = arena_alloc(arena, sizeof *b);
        l->item = arena_grow(arena, l->item, (int)l->n, sizeof *l->item);
        assert_true(b && l->item);
        l->item[l->n++] = b;
        *b = (Buffer){ .name = "item", .shape.rank = -1 };
        if (tensor) {
            Tensor *t;
            TRY(tensor_parse(arena, f.bytes, &t, NULL));
            *b = (Buffer){ .name = "item", .dtype = t->dtype, .shape = t->shape, .bytes = t->bytes, .data = t->data };
            TRY(shape_count(&b->shape, &b->count));
        } else TRY(parse_list(arena, f.bytes, LIST_SEQUENCE, &b->list));
    }
    *out = l;
    return w.err;
}

/* The next field `number` of a message; at == NULL: no more. */
static Span next_field(Wire *w, uint32_t number)
{
    Field f;
    while (wire_next(w, &f)) if (f.tag == WIRE_TAG(number, WIRE_BYTES)) return f.bytes;
    return (Span){ 0 };
}

/* Whether the file says that a graph input or output (field 11 or 12 of GraphProto) is an optional. */
static bool is_optional(const Model *m, uint32_t list, const char *name)
{
    Wire model = wire_of(m->source, m->source.at), graph = wire_of(next_field(&model, 7), m->source.at);
    for (Span v; (v = next_field(&graph, list)).at;) {
        Wire fields = wire_of(v, v.at), again = fields;
        Span s = next_field(&fields, 1), type = next_field(&again, 2);
        if (s.size != strlen(name) || memcmp(s.at, name, s.size)) continue;
        Wire kinds = wire_of(type, type.at);
        return next_field(&kinds, 9).at != NULL;
    }
    return false;
}

static bool make_input(Case *c, const Value *v, Tensor **out)
{
    int64_t n;
    Tensor *t = arena_alloc(c->arena, sizeof *t);
    if (v->stated.dtype != DT_F32 || shape_count(&v->stated.shape, &n) != OK) return false;
    float *x = arena_array(c->arena, (size_t)n, sizeof *x);
    assert_true(t && x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)((double)i / (double)n);
    *t = (Tensor){ .dtype = DT_F32, .shape = v->stated.shape, .data = x, .bytes = (size_t)n * sizeof *x };
    *out = t;
    return true;
}

/* input_I.pb or output_I.pb of data set `set`; false if there is no such file. Values that are no tensors have rank -1 and a List as data. */
static bool read_value(Case *c, int set, const char *what, int i, const Value *v, Tensor **out)
{
    char path[4096];
    if (c->light && set) return false;
    if (c->light && *what == 'i') return make_input(c, v, out);
    if (c->light) snprintf(path, sizeof path, "%s_%s_%d.pb", c->folder, what, i);
    else snprintf(path, sizeof path, "%s/test_data_set_%d/%s_%d.pb", c->folder, set, what, i);
    if (access(path, R_OK) || c->n_file == 2 * MAX_VALUES) return false;
    Bytes b = c->file[c->n_file++] = read_file(path);
    Span bytes = { b.at, b.size };
    if (v->stated.is_tensor) return tensor_parse(c->arena, bytes, out, NULL) == OK;
    List *l;
    Tensor *t = arena_alloc(c->arena, sizeof *t);
    assert_non_null(t);
    if (parse_list(c->arena, bytes, is_optional(c->model, *what == 'i' ? 11 : 12, v->name) ? LIST_OPTIONAL : LIST_SEQUENCE, &l) != OK) return false;
    *t = (Tensor){ .shape.rank = -1, .data = l };
    *out = t;
    return true;
}

static bool near(const Tensor *want, const Buffer *got, char *text, size_t size);

static bool near_lists(const List *want, const List *got, char *text, size_t size)
{
    if (!got || got->kind != want->kind || got->n != want->n) {
        snprintf(text, size, "a list of %lld items, expected %lld", got ? (long long)got->n : -1, (long long)want->n);
        return false;
    }
    for (int64_t i = 0; i < want->n; i++) {
        const Buffer *b = want->item[i];
        Tensor t = b->list ? (Tensor){ .shape.rank = -1, .data = b->list } : buffer_tensor(b);
        if (!near(&t, got->item[i], text, size)) return false;
    }
    return true;
}

static bool near(const Tensor *want, const Buffer *got, char *text, size_t size)
{
    if (want->shape.rank < 0) return near_lists(want->data, got->list, text, size);
    if (got->dtype != want->dtype || !shape_equal(&got->shape, &want->shape)) {
        char a[128], b[128];
        shape_text(&want->shape, NULL, a, sizeof a);
        shape_text(&got->shape, NULL, b, sizeof b);
        snprintf(text, size, "'%s' is %s %s, expected %s %s", got->name, dtype_name(got->dtype), b, dtype_name(want->dtype), a);
        return false;
    }
    double largest = 1;
    for (int64_t i = 0; i < got->count && dtype_is_float(want->dtype); i++) {
        double x;
        elements_to_f64(want->dtype, want->data, i, 1, &x);
        if (fabs(x) > largest && isfinite(x)) largest = fabs(x);
    }
    for (int64_t i = 0; i < got->count; i++) {
        double x, y;
        if (want->dtype == DT_STRING) {
            const Span *s = (const Span *)want->data + i, *t = (const Span *)got->data + i;
            if (s->size == t->size && !memcmp(s->at, t->at, s->size)) continue;
            snprintf(text, size, "'%s'[%lld] is another string", got->name, (long long)i);
            return false;
        }
        elements_to_f64(want->dtype, want->data, i, 1, &x);
        elements_to_f64(got->dtype, got->data, i, 1, &y);
        if (x == y || (isnan(x) && isnan(y))) continue;
        bool loose = dtype_is_float(want->dtype) && fabs(x - y) <= 1e-7 * largest + 1e-3 * fabs(x);
        if (loose) continue;
        snprintf(text, size, "'%s'[%lld] is %.9g, expected %.9g", got->name, (long long)i, y, x);
        return false;
    }
    return true;
}

/* One data set. ERR_UNSUPPORTED: refused; anything else but OK: wrong, with the reason in err_text. */
static Err run_set(Case *c, int set, bool *any)
{
    const Value **input;
    int n_input;
    Tensor *t[MAX_VALUES] = { 0 }, in[MAX_VALUES] = { 0 };
    PlanInput shape[MAX_VALUES];
    Plan *plan;
    Err e = OK;
    char text[512];
    TRY(plan_inputs(c->model, &input, &n_input));
    *any = false;
    int k = 0;
    for (int i = 0; i < n_input && i < MAX_VALUES; i++) {
        if (!read_value(c, set, "input", i, input[i], &t[i])) return set ? OK : err_set(ERR_IO, "no data for input %d", i);
        in[k] = *t[i];
        shape[k++] = (PlanInput){ input[i]->name, t[i]->dtype, t[i]->shape };
    }
    if (!read_value(c, set, "output", 0, c->model->graph->out[0], &t[0])) return OK;
    *any = true;
    TRY(plan_build(c->model, shape, k, &(PlanOptions){ .threads = 1 }, &plan));
    e = plan_run(plan, in, k);
    for (int i = 0; e == OK && i < plan->n_out; i++) {
        if (!read_value(c, set, "output", i, c->model->graph->out[i], &t[0])) e = err_set(ERR_IO, "no expected output %d", i);
        else if (!near(t[0], plan->out[i], text, sizeof text)) e = err_set(ERR_NUMERIC, "%s", text);
    }
    plan_free(plan);
    return e;
}

static Err run_case(Case *c)
{
    char path[4096];
    snprintf(path, sizeof path, "%s%s.onnx", c->folder, c->light ? "" : "/model");
    TRY(model_load(path, &c->model));
    TRY(ops_bind(c->model));
    bool any = true;
    for (int set = 0; any; set++) {
        Err e = run_set(c, set, &any);
        for (int i = 0; i < c->n_file; i++) bytes_free(c->file[i]);
        c->n_file = 0;
        TRY(e);
        if (!set && !any) return err_set(ERR_IO, "no test data");
    }
    return OK;
}

/* What the cases that passed used: by operator, how often and with which types. */
typedef struct Used { int cases; uint32_t types; } Used;
enum { MAX_OPERATORS = 1024 };
static Used used[MAX_OPERATORS];

static void count_operators(const Graph *g)
{
    for (int k = 0; k < op_count() && k < MAX_OPERATORS; k++) {
        bool found = false;
        for (int i = 0; i < g->n_node; i++) {
            const Node *n = g->node[i];
            if (n->op != op_at(k)) continue;
            found = true;
            if (n->n_in && n->in[0] && n->in[0]->stated.is_tensor) used[k].types |= 1u << n->in[0]->stated.dtype;
        }
        used[k].cases += found;
    }
}

static void write_operators(const char *path)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "# Operators\n\nWritten by `make check` from the operator "
               "table and from ONNX's node tests. Opset: the first one whose meaning is implemented; "
               "all later ones are. "
               "Operators that are not run can still be loaded, pruned and saved. Types: those of the first input in the tests that passed.\n\n"
               "| operator | domain | from opset | run | tests passed with it | types tested |\n|---|---|---|---|---|---|\n");
    for (int k = 0; k < op_count() && k < MAX_OPERATORS; k++) {
        const Op *op = op_at(k);
        fprintf(f, "| %s | %s | %d | %s | %d |", op->type, *op->domain ? op->domain : "ai.onnx", op->since, op->prep || op->expand ? "yes" : "no", used[k].cases);
        for (int t = 1; t < DT_COUNT; t++) if (used[k].types >> t & 1) fprintf(f, " %s", dtype_name((DType)t));
        fprintf(f, " |\n");
    }
    assert_int_equal(fclose(f), 0);
}

static void count_case(const char *folder, const char *name, bool light, Tally *t)
{
    Case c = { .arena = arena_new(), .folder = folder, .light = light };
    assert_non_null(c.arena);
    Err e = run_case(&c);
    if (e == OK) { t->passed++; printf("passed %s\n", name); count_operators(c.model->graph); }
    else if (e == ERR_UNSUPPORTED) { t->refused++; printf("refused %s: %s\n", name, err_text()); }
    else { t->wrong++; printf("wrong %s: %s\n", name, err_text()); }
    for (int i = 0; i < c.n_file; i++) bytes_free(c.file[i]);
    model_free(c.model);
    arena_free(c.arena);
}

static int visible(const struct dirent *d) { return d->d_name[0] != '.'; }

static void run_suite(const char *root, const char *suite, Tally *t)
{
    char path[2048], folder[3072];
    struct dirent **list;
    const char *only = getenv("ONESHOT_NODE_TEST");        /* run the cases whose name contains this, to look at them */
    snprintf(path, sizeof path, "%s/%s", root, suite);
    bool light = !strcmp(suite, "light");
    int n = scandir(path, &list, visible, alphasort);
    for (int i = 0; i < n; i++) {
        char *end = light ? strstr(list[i]->d_name, ".onnx") : NULL;
        if (end) *end = 0;
        snprintf(folder, sizeof folder, "%s/%s", path, list[i]->d_name);
        if ((!only || strstr(list[i]->d_name, only)) && (!light || end)) count_case(folder, list[i]->d_name, light, t);
        free(list[i]);
    }
    if (n >= 0) free(list);
}

static void test_nodes(void **state)
{
    (void)state;
    const char *root = getenv("ONESHOT_NODE_TESTS");
    Tally t = { 0 };
    if (!root || !*root) { printf("skipped: ONESHOT_NODE_TESTS names no folder with ONNX's node test data\n"); skip(); }
    for (size_t i = 0; i < sizeof SUITES / sizeof *SUITES; i++) run_suite(root, SUITES[i], &t);
    printf("ONNX node tests: %d passed, %d refused by name, %d wrong\n", t.passed, t.refused, t.wrong);
    printf("%d passed, %d failed, %d skipped\n", t.passed, t.wrong, t.refused);
    if (getenv("ONESHOT_OPERATORS")) write_operators(getenv("ONESHOT_OPERATORS"));
    assert_int_equal(t.wrong, 0);
    if (!getenv("ONESHOT_NODE_TEST")) assert_true(t.passed >= MINIMUM);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_nodes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
