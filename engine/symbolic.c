/* Polynomials are small: at most MAX_TERMS terms of degree MAX_DEGREE. What grows beyond (or gets a name longer than MAX_NAME) is unknown, which is always a
 * correct answer. Division is where canonical forms pay: terms that the divisor divides are taken out, and floor(floor(p/b) + c)/d) is
 * floor((p + b c)/(b d)), so the sizes after five strided convolutions of a picture of height h are still floor((h + 31)/32). */
#include "engine/symbolic.h"
#include "kernels/whole.h"
#include <stdio.h>
#include <string.h>

enum { MAX_TERMS = 8, MAX_DEGREE = 6, MAX_NAME = 160 };

typedef struct Term { int64_t coef; int degree; int64_t atom[MAX_DEGREE]; } Term;      /* atoms are symbols, ascending */
typedef struct Poly { int n; Term term[MAX_TERMS + 1]; } Poly;                         /* descending by term_order; no zero coefficients */

/* What is known of one symbol. */
typedef struct Expr {
    const Poly *poly;              /* the symbol stands for it; NULL: an atom */
    const Poly *floor_of;          /* atom floor(floor_of / floor_by); else NULL */
    int64_t floor_by;
    bool any_sign;                 /* may be negative: an element, not a size */
} Expr;

struct Symbolic { Model *model; Arena *arena; Expr *expr; int capacity; };

static int64_t symbol_index(int64_t symbol) { return symbol - SYMBOL_BASE; }

static Err grow(Symbolic *s, int n)
{
    if (n <= s->capacity) return OK;
    int capacity = 2 * n + 64;
    Expr *expr = arena_array(s->arena, (size_t)capacity, sizeof *expr);
    if (!expr) return err_set(ERR_NOMEM, "out of memory");
    if (s->capacity) memcpy(expr, s->expr, (size_t)s->capacity * sizeof *expr);
    s->expr = expr;
    s->capacity = capacity;
    return OK;
}

Err symbolic_new(Model *m, Arena *scratch, Symbolic **out)
{
    Symbolic *s = arena_alloc(scratch, sizeof *s);
    if (!s) return err_set(ERR_NOMEM, "out of memory");
    s->model = m;
    s->arena = scratch;
    TRY(grow(s, m->n_symbol));
    *out = s;
    return OK;
}

Err symbolic_name(Symbolic *s, const char *name, bool size, int64_t unknown, int64_t *result)
{
    if (s->model->n_symbol >= MAX_SYMBOLS - 1) {
        *result = unknown;
        return OK;
    }
    TRY(model_symbol(s->model, name, result));
    TRY(grow(s, s->model->n_symbol));
    if (!size) s->expr[symbol_index(*result)].any_sign = true;
    return OK;
}

/* ---- terms and polynomials ---- */

/* Terms of higher degree first, then by atoms; the constant is last. */
static int term_order(const Term *a, const Term *b)
{
    if (a->degree != b->degree) return a->degree > b->degree ? -1 : 1;
    for (int i = 0; i < a->degree; i++)
        if (a->atom[i] != b->atom[i]) return a->atom[i] < b->atom[i] ? -1 : 1;
    return 0;
}

static bool fits(int64_t v) { return v > SYMBOL_BASE + MAX_SYMBOLS; }

/* p += t. False when it does not fit. */
static bool poly_add_term(Poly *p, const Term *t)
{
    int i = 0;
    while (i < p->n && term_order(&p->term[i], t) < 0) i++;
    if (i < p->n && term_order(&p->term[i], t) == 0) {
        if (__builtin_add_overflow(p->term[i].coef, t->coef, &p->term[i].coef) || !fits(p->term[i].coef)) return false;
        if (p->term[i].coef) return true;
        p->n--;
        memmove(&p->term[i], &p->term[i + 1], (size_t)(p->n - i) * sizeof *t);
        return true;
    }
    if (!t->coef) return true;
    if (p->n == MAX_TERMS) return false;
    memmove(&p->term[i + 1], &p->term[i], (size_t)(p->n - i) * sizeof *t);
    p->term[i] = *t;
    p->n++;
    return true;
}

static Poly poly_of(const Symbolic *s, int64_t v)
{
    Poly p = { 0 };
    if (!dim_is_symbol(v)) {
        p.n = v != 0;
        p.term[0] = (Term){ .coef = v };
    } else if (s->expr[symbol_index(v)].poly) {
        p = *s->expr[symbol_index(v)].poly;
    } else {
        p.n = 1;
        p.term[0] = (Term){ .coef = 1, .degree = 1, .atom = { v } };
    }
    return p;
}

/* p += factor * q */
static bool poly_add(Poly *p, const Poly *q, int64_t factor)
{
    for (int i = 0; i < q->n; i++) {
        Term t = q->term[i];
        if (__builtin_mul_overflow(t.coef, factor, &t.coef) || !fits(t.coef) || !poly_add_term(p, &t)) return false;
    }
    return true;
}

static bool term_times(const Term *a, const Term *b, Term *out)
{
    if (a->degree + b->degree > MAX_DEGREE) return false;
    if (__builtin_mul_overflow(a->coef, b->coef, &out->coef) || !fits(out->coef)) return false;
    out->degree = a->degree + b->degree;
    for (int i = 0, j = 0, k = 0; k < out->degree; k++)
        out->atom[k] = j == b->degree || (i < a->degree && a->atom[i] <= b->atom[j]) ? a->atom[i++] : b->atom[j++];
    return true;
}

static bool poly_times(const Poly *a, const Poly *b, Poly *out)
{
    *out = (Poly){ 0 };
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < b->n; j++) {
            Term t;
            if (!term_times(&a->term[i], &b->term[j], &t) || !poly_add_term(out, &t)) return false;
        }
    return true;
}

static bool poly_number(const Poly *p, int64_t *v)
{
    if (p->n > 1 || (p->n == 1 && p->term[0].degree)) return false;
    *v = p->n ? p->term[0].coef : 0;
    return true;
}

static bool poly_equal(const Poly *a, const Poly *b)
{
    if (a->n != b->n) return false;
    for (int i = 0; i < a->n; i++)
        if (a->term[i].coef != b->term[i].coef || term_order(&a->term[i], &b->term[i]) != 0) return false;
    return true;
}

/* The constant term bounds p from below if every other term is a product of sizes. */
static bool poly_bound(const Symbolic *s, const Poly *p, int64_t *bound)
{
    *bound = 0;
    for (int i = 0; i < p->n; i++) {
        const Term *t = &p->term[i];
        if (!t->degree) *bound = t->coef;
        else if (t->coef < 0) return false;
        for (int k = 0; k < t->degree; k++)
            if (s->expr[symbol_index(t->atom[k])].any_sign) return false;
    }
    return true;
}

/* ---- text ---- */

typedef struct Text { char at[MAX_NAME + 1]; int n; bool full; } Text;

static void put(Text *t, const char *s)
{
    size_t n = strlen(s);
    if (n > (size_t)(MAX_NAME - t->n)) {
        t->full = true;
        return;
    }
    memcpy(t->at + t->n, s, n + 1);
    t->n += (int)n;
}

static void put_number(Text *t, int64_t v)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)v);
    put(t, digits);
}

static void put_atom(const Symbolic *s, Text *t, int64_t atom)
{
    const char *name = s->model->symbol[symbol_index(atom)];
    bool call = !strncmp(name, "floor(", 6) || !strncmp(name, "min(", 4) || !strncmp(name, "max(", 4);
    bool wrap = !call && strpbrk(name, " +-*/");
    if (wrap) put(t, "(");
    put(t, name);
    if (wrap) put(t, ")");
}

static void put_poly(const Symbolic *s, Text *t, const Poly *p)
{
    for (int i = 0; i < p->n; i++) {
        const Term *term = &p->term[i];
        int64_t coef = term->coef;
        if (i) put(t, coef < 0 ? " - " : " + ");
        if (i && coef < 0) coef = -coef;
        if (coef == -1 && term->degree) put(t, "-");
        else if (coef != 1 || !term->degree) put_number(t, coef);
        if (coef != 1 && coef != -1 && term->degree) put(t, "*");
        for (int k = 0; k < term->degree; k++) {
            if (k) put(t, "*");
            put_atom(s, t, term->atom[k]);
        }
    }
    if (!p->n) put(t, "0");
}

/* ---- from polynomials to values ---- */

static Err poly_keep(Symbolic *s, const Poly *p, const Poly **out)
{
    Poly *copy = arena_alloc(s->arena, sizeof *copy);
    if (!copy) return err_set(ERR_NOMEM, "out of memory");
    *copy = *p;
    *out = copy;
    return OK;
}

static Err value_of(Symbolic *s, const Poly *p, int64_t unknown, int64_t *result)
{
    if (poly_number(p, result)) return OK;
    if (p->n == 1 && p->term[0].degree == 1 && p->term[0].coef == 1) {
        *result = p->term[0].atom[0];
        return OK;
    }
    Text text = { 0 };
    put_poly(s, &text, p);
    *result = unknown;
    if (text.full) return OK;
    int64_t bound;
    TRY(symbolic_name(s, text.at, poly_bound(s, p, &bound) && bound >= 0, unknown, result));
    if (*result == unknown) return OK;
    Expr *e = &s->expr[symbol_index(*result)];
    return e->poly ? OK : poly_keep(s, p, &e->poly);
}

/* The atom floor(p / by), by > 1 a number or a polynomial. */
static Err floor_atom(Symbolic *s, const Poly *p, const Poly *by, int64_t unknown, int64_t *result)
{
    Text text = { 0 };
    put(&text, p->n > 1 ? "floor((" : "floor(");
    put_poly(s, &text, p);
    put(&text, p->n > 1 ? ")/" : "/");
    bool wrap = by->n > 1 || (by->n == 1 && by->term[0].degree > 0 && (by->term[0].degree > 1 || by->term[0].coef != 1));
    if (wrap) put(&text, "(");
    put_poly(s, &text, by);
    put(&text, wrap ? "))" : ")");
    *result = unknown;
    if (text.full) return OK;
    int64_t low, by_low, number;
    bool size = poly_bound(s, p, &low) && low >= 0 && poly_bound(s, by, &by_low) && by_low >= 0;
    TRY(symbolic_name(s, text.at, size, unknown, result));
    if (*result == unknown) return OK;
    Expr *e = &s->expr[symbol_index(*result)];
    if (e->poly || e->floor_of || !poly_number(by, &number)) return OK;
    e->floor_by = number;
    return poly_keep(s, p, &e->floor_of);
}

static int64_t gcd(int64_t a, int64_t b)
{
    if (a < 0) a = -a;
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* p = floor(q / b) + c  with b a number:  p / by = (q + b c) / (b by) */
static bool unnest(const Symbolic *s, Poly *p, int64_t *by)
{
    if (p->n < 1 || p->n > 2 || p->term[0].degree != 1 || p->term[0].coef != 1) return false;
    if (p->n == 2 && p->term[1].degree) return false;
    const Expr *e = &s->expr[symbol_index(p->term[0].atom[0])];
    if (!e->floor_of) return false;
    int64_t c = p->n == 2 ? p->term[1].coef : 0, product;
    if (__builtin_mul_overflow(e->floor_by, *by, &product) || product > INT32_MAX) return false;
    Poly q = *e->floor_of;
    int64_t shift;
    if (__builtin_mul_overflow(c, e->floor_by, &shift) || !poly_add_term(&q, &(Term){ .coef = shift })) return false;
    *p = q;
    *by = product;
    return true;
}

/* Splits p into whole * by + rest, coefficients of rest in [0, by). */
static bool take_out(const Poly *p, int64_t by, Poly *whole, Poly *rest)
{
    *whole = *rest = (Poly){ 0 };
    for (int i = 0; i < p->n; i++) {
        Term w = p->term[i], r = p->term[i];
        w.coef = floor_div(p->term[i].coef, by);
        r.coef = p->term[i].coef - w.coef * by;
        if (!poly_add_term(whole, &w) || !poly_add_term(rest, &r)) return false;
    }
    return true;
}

static Err divide_by_number(Symbolic *s, Poly p, int64_t by, int64_t unknown, int64_t *result)
{
    if (by < 0) {
        Poly negated = { 0 };
        if (!poly_add(&negated, &p, -1) || by == INT64_MIN) goto none;
        p = negated;
        by = -by;
    }
    Poly whole, rest;
    if (!take_out(&p, by, &whole, &rest)) goto none;
    if (unnest(s, &rest, &by)) {
        Poly more, left;
        if (!take_out(&rest, by, &more, &left) || !poly_add(&whole, &more, 1)) goto none;
        rest = left;
    }
    int64_t number;
    if (poly_number(&rest, &number)) return value_of(s, &whole, unknown, result);      /* 0 <= number < by */
    int64_t common = by;
    for (int i = 0; i < rest.n; i++)
        if (rest.term[i].degree) common = gcd(rest.term[i].coef, common);
    for (int i = 0; i < rest.n; i++) rest.term[i].coef /= common;
    if (rest.term[rest.n - 1].coef == 0) rest.n--;                                     /* only the constant can have become 0 */
    by /= common;
    Poly divisor = { .n = 1, .term = { { .coef = by } } };
    int64_t atom;
    TRY(floor_atom(s, &rest, &divisor, unknown, &atom));
    if (atom == unknown) goto none;
    Poly one = poly_of(s, atom);
    if (!poly_add(&whole, &one, 1)) goto none;
    return value_of(s, &whole, unknown, result);
none:
    *result = unknown;
    return OK;
}

/* t / by without remainder. */
static bool term_over(const Term *t, const Term *by, Term *out)
{
    if (t->coef % by->coef) return false;
    *out = (Term){ .coef = t->coef / by->coef };
    int j = 0;
    for (int i = 0; i < t->degree; i++) {
        if (j < by->degree && t->atom[i] == by->atom[j]) j++;
        else out->atom[out->degree++] = t->atom[i];
    }
    return j == by->degree;
}

static Err divide(Symbolic *s, const Poly *a, const Poly *b, int64_t unknown, int64_t *result)
{
    *result = unknown;
    int64_t number;
    if (poly_number(b, &number)) return number ? divide_by_number(s, *a, number, unknown, result) : OK;
    Poly whole = { 0 }, rest = { 0 };
    if (poly_equal(a, b)) {
        *result = 1;
        return OK;
    }
    for (int i = 0; i < a->n; i++) {
        Term q;
        bool exact = b->n == 1 && term_over(&a->term[i], &b->term[0], &q);
        if (!poly_add_term(exact ? &whole : &rest, exact ? &q : &a->term[i])) return OK;
    }
    if (rest.n) {
        int64_t atom;
        TRY(floor_atom(s, &rest, b, unknown, &atom));
        if (atom == unknown) return OK;
        Poly one = poly_of(s, atom);
        if (!poly_add(&whole, &one, 1)) return OK;
    }
    return value_of(s, &whole, unknown, result);
}

/* min or max. Where the order of the two is certain the result is one of them. */
static Err extreme(Symbolic *s, bool max, const Poly *p, const Poly *q, int64_t unknown, int64_t *result)
{
    Poly difference = *p, opposite = *q;
    int64_t low;
    if (!poly_add(&difference, q, -1) || !poly_add(&opposite, p, -1)) goto none;
    if (poly_bound(s, &difference, &low) && low >= 0) return value_of(s, max ? p : q, unknown, result);
    if (poly_bound(s, &opposite, &low) && low >= 0) return value_of(s, max ? q : p, unknown, result);
    Text first = { 0 }, second = { 0 }, text = { 0 };
    put_poly(s, &first, p);
    put_poly(s, &second, q);
    bool swap = strcmp(first.at, second.at) > 0;
    put(&text, max ? "max(" : "min(");
    put(&text, swap ? second.at : first.at);
    put(&text, ", ");
    put(&text, swap ? first.at : second.at);
    put(&text, ")");
    if (text.full || first.full || second.full) goto none;
    bool p_size = poly_bound(s, p, &low) && low >= 0, q_size = poly_bound(s, q, &low) && low >= 0;
    return symbolic_name(s, text.at, max ? p_size || q_size : p_size && q_size, unknown, result);
none:
    *result = unknown;
    return OK;
}

/* ---- numbers ---- */

static bool number_arith(char op, int64_t a, int64_t b, int64_t *r)
{
    switch (op) {
    case '+': return !__builtin_add_overflow(a, b, r);
    case '-': return !__builtin_sub_overflow(a, b, r);
    case '*': return !__builtin_mul_overflow(a, b, r);
    case 'm': *r = a < b ? a : b; return true;
    case 'M': *r = a > b ? a : b; return true;
    case '/': if (b == 0 || (b == -1 && a == INT64_MIN)) return false;
              *r = floor_div(a, b);
              return true;
    case 'c': if (b == 0 || (b == -1 && a == INT64_MIN)) return false;
              *r = floor_div(a, b) + (a % b != 0);
              return true;
    default: return false;
    }
}

Err symbolic_arith(Symbolic *s, char op, int64_t a, int64_t b, int64_t unknown, int64_t *result)
{
    *result = unknown;
    if (!dim_is_symbol(a) && !dim_is_symbol(b)) {
        int64_t r = 0;
        if (number_arith(op, a, b, &r) && fits(r)) *result = r;
        return OK;
    }
    if (op == '*' && (a == 0 || b == 0)) {
        *result = 0;
        return OK;
    }
    if (a == unknown || b == unknown) return OK;
    Poly p = poly_of(s, a), q = poly_of(s, b), r = p;
    bool fit = true;
    switch (op) {
    case '+': fit = poly_add(&r, &q, 1); break;
    case '-': fit = poly_add(&r, &q, -1); break;
    case '*': fit = poly_times(&p, &q, &r); break;
    case '/': return divide(s, &p, &q, unknown, result);
    case 'c': {                                         /* ceil(p/q) = floor((p + q - 1)/q), or -floor(-p/q) where q is no number */
        if (!dim_is_symbol(b) && b > 0) return poly_add_term(&r, &(Term){ .coef = b - 1 }) ? divide(s, &r, &q, unknown, result) : OK;
        Poly negated = { 0 };
        if (!poly_add(&negated, &p, -1)) return OK;
        TRY(divide(s, &negated, &q, unknown, result));
        return *result == unknown ? OK : symbolic_arith(s, '-', 0, *result, unknown, result);
    }
    case 'm': return extreme(s, false, &p, &q, unknown, result);
    case 'M': return extreme(s, true, &p, &q, unknown, result);
    default: return OK;
    }
    return fit ? value_of(s, &r, unknown, result) : OK;
}

bool symbolic_bound(Symbolic *s, int64_t a, int64_t b, int64_t *bound)
{
    Poly p = poly_of(s, a), q = poly_of(s, b);
    return poly_add(&p, &q, -1) && poly_bound(s, &p, bound);
}
