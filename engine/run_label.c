/* ai.onnx.ml: tables from one value to another.     https://onnx.ai/onnx/operators/onnx_aionnxml_LabelEncoder.html */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/ml.h"
#include "engine/run_ops.h"

/* One side of a table: strings, numbers, or the whole numbers from 0 on. */
typedef struct Column { DType dtype; int64_t n; const Span *strings; const int64_t *ints; const float *floats; const Tensor *tensor; } Column;
typedef struct Table { Column key, value; Column otherwise; } Table;

static bool column_attr(const Node *n, const char *name, Column *c)
{
    const Attr *a = node_attr(n, name);
    if (!a) return false;
    *c = (Column){ .n = a->n };
    switch (a->kind) {
    case ATTR_SS: c->dtype = DT_STRING; c->strings = a->ss; return true;
    case ATTR_IS: c->dtype = DT_I64; c->ints = a->is; return true;
    case ATTR_FS: c->dtype = DT_F32; c->floats = a->fs; return true;
    case ATTR_S: c->dtype = DT_STRING; c->strings = &a->s; c->n = 1; return true;
    case ATTR_I: c->dtype = DT_I64; c->ints = &a->i; c->n = 1; return true;
    case ATTR_F: c->dtype = DT_F32; c->floats = &a->f; c->n = 1; return true;
    case ATTR_T:
        c->tensor = &a->t->tensor;
        c->dtype = a->t->tensor.dtype;
        return shape_count(&a->t->tensor.shape, &c->n) == OK;
    default: return false;
    }
}

static Err fetch(Plan *plan, const Node *n, const char *name)
{
    const Attr *a = node_attr(n, name);
    return a && a->kind == ATTR_T ? constant_fetch(plan->model, a->t) : OK;
}

static const Span *string_at(const Column *c, int64_t i) { return c->strings ? &c->strings[i] : (const Span *)c->tensor->data + i; }

static double key_number(const Column *c, int64_t i)
{
    double v = (double)i;
    if (c->ints) return (double)c->ints[i];
    if (c->floats) return (double)c->floats[i];
    if (c->tensor) elements_to_f64(c->dtype, c->tensor->data, i, 1, &v);
    return v;
}

static bool same_string(const Span *a, const Span *b) { return a->size == b->size && !memcmp(a->at, b->at, a->size); }

/* The place of element i of x among the keys; -1: none. NaN is a key like others. */
static int64_t find(const Column *key, const Buffer *x, int64_t i)
{
    double v = 0;
    const Span *text = x->dtype == DT_STRING ? (const Span *)x->data + i : NULL;
    if (!text) v = number_at(x, i);
    for (int64_t k = 0; k < key->n; k++) {
        if (text ? same_string(text, string_at(key, k)) : key_number(key, k) == v || (v != v && key_number(key, k) != key_number(key, k))) return k;
    }
    return -1;
}

static Err label_run(Plan *plan, Step *s)
{
    const Table *t = s->state;
    const Buffer *x = s->in[0];
    Buffer *y = s->out[0];
    (void)plan;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = find(&t->key, x, i);
        const Column *from = at < 0 ? &t->otherwise : &t->value;
        if (y->dtype == DT_STRING) { ((Span *)y->data)[i] = *string_at(from, at < 0 ? 0 : at); continue; }
        double v = key_number(from, at < 0 ? 0 : at);
        elements_from_f64(y->dtype, &v, 1, y->data, i);
    }
    return OK;
}

/* classes_strings (version 1) and cats_*: numbers from one list to strings of the other, or back. */
static bool two_way(const Step *s, Table *t)
{
    Column strings, whole;
    bool to_string = s->in[0]->dtype != DT_STRING;
    if (column_attr(s->node, "classes_strings", &strings)) whole = (Column){ .dtype = DT_I64, .n = strings.n };
    else if (!column_attr(s->node, "cats_strings", &strings) || !column_attr(s->node, "cats_int64s", &whole) || whole.n != strings.n) return false;
    t->key = to_string ? whole : strings;
    t->value = to_string ? strings : whole;
    return true;
}

static bool first_of(const Node *n, const char *const *name, Column *c)
{
    for (int i = 0; i < 4; i++) if (column_attr(n, name[i], c)) return true;
    return false;
}

/* What unknown keys give when the file does not say. */
static Column otherwise_of(const Step *s)
{
    static const Span UNUSED = { (const uint8_t *)"_Unused", 7 };
    static const int64_t MINUS = -1;
    static const float ZERO = -0.0f;
    DType t = s->out[0]->dtype;
    Column c = { .dtype = t, .n = 1 };
    const char *name = t == DT_STRING ? "default_string" : dtype_is_float(t) ? "default_float" : "default_int64";
    if (column_attr(s->node, "default_tensor", &c) || column_attr(s->node, name, &c)) return c;
    if (t == DT_STRING) c.strings = &UNUSED;
    else if (dtype_is_float(t)) c.floats = &ZERO;
    else c.ints = &MINUS;
    return c;
}

Err label_prep(Plan *plan, Step *s)
{
    static const char *const KEY[] = { "keys_tensor", "keys_strings", "keys_int64s", "keys_floats" };
    static const char *const VALUE[] = { "values_tensor", "values_strings", "values_int64s", "values_floats" };
    static const char *const TENSOR[] = { "keys_tensor", "values_tensor", "default_tensor" };
    Table *t;
    TRY(plan_array(plan, 1, sizeof *t, &t));
    for (int i = 0; i < 3; i++) TRY(fetch(plan, s->node, TENSOR[i]));
    bool pairs = first_of(s->node, KEY, &t->key) && first_of(s->node, VALUE, &t->value);
    if (!pairs && !two_way(s, t)) return err_set(ERR_FORMAT, "%s has no table.", s->op->type);
    t->otherwise = otherwise_of(s);
    bool text[3] = { s->in[0]->dtype == DT_STRING, s->out[0]->dtype == DT_STRING, t->otherwise.dtype == DT_STRING };
    if (t->key.n != t->value.n || text[0] != (t->key.dtype == DT_STRING) || text[1] != (t->value.dtype == DT_STRING) || text[1] != text[2] || !t->otherwise.n)
        return err_set(ERR_FORMAT, "The table of a %s does not fit its input.", s->op->type);
    s->state = t;
    s->run = label_run;
    return OK;
}

/* OneHotEncoder: a row of zeros with a one where the category is. */
static Err encoder_run(Plan *plan, Step *s)
{
    const Column *c = s->state;
    const Buffer *x = s->in[0];
    float *y = s->out[0]->data;
    (void)plan;
    memset(y, 0, s->out[0]->bytes);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = find(c, x, i);
        if (at >= 0) y[i * c->n + at] = 1;
        else if (!attr_i(s->node, "zeros", 1)) return err_set(ERR_ARG, "'%s' holds a value that is no category.", x->name);
    }
    return OK;
}

Err one_hot_encoder_prep(Plan *plan, Step *s)
{
    Column *c;
    TRY(plan_array(plan, 1, sizeof *c, &c));
    bool text = s->in[0]->dtype == DT_STRING;
    if (!column_attr(s->node, text ? "cats_strings" : "cats_int64s", c)) return err_set(ERR_FORMAT, "OneHotEncoder has no categories for its input.");
    if (!text && !dtype_is_real(s->in[0]->dtype)) return step_refuse(s, "input", s->in[0]);
    s->state = c;
    s->run = encoder_run;
    return OK;
}
