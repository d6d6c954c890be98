/* Einsum: a sum of products written with a letter for each axis.     https://onnx.ai/onnx/operators/onnx__Einsum.html */
#include "engine/product.h"
#include "engine/run_ops.h"
#include <ctype.h>
#include <string.h>

enum { MAX_OPERANDS = 8, ELLIPSIS = '.' };

/* One term: its letters, '.' for "...". */
typedef struct Term { int n; char letter[MAX_RANK + 1]; } Term;
typedef struct Equation { int n_in; Term in[MAX_OPERANDS], out; } Equation;

static bool read_term(const char **at, const char *end, Term *t)
{
    *t = (Term){ 0 };
    for (; *at < end && **at != ',' && **at != '-'; ++*at) {
        if (**at == ' ') continue;
        if (t->n > MAX_RANK) return false;
        if (**at == '.') {
            if (end - *at < 3 || memcmp(*at, "...", 3) || memchr(t->letter, ELLIPSIS, (size_t)t->n)) return false;
            *at += 2;
        } else if (!isalpha((unsigned char)**at)) {
            return false;
        }
        t->letter[t->n++] = **at;
    }
    return true;
}

static int count_letter(const Equation *e, char letter)
{
    int count = 0;
    for (int i = 0; i < e->n_in; i++)
        for (int k = 0; k < e->in[i].n; k++) count += e->in[i].letter[k] == letter;
    return count;
}

/* Without "->" the result has the ellipsis and the letters that occur once, in alphabetical order. */
static bool implicit_output(Equation *e)
{
    e->out = (Term){ 0 };
    if (count_letter(e, ELLIPSIS)) e->out.letter[e->out.n++] = ELLIPSIS;
    for (int c = 'A'; c <= 'z'; c++) {
        if (!isalpha(c) || count_letter(e, (char)c) != 1) continue;
        if (e->out.n > MAX_RANK) return false;
        e->out.letter[e->out.n++] = (char)c;
    }
    return true;
}

static bool read_equation(const Node *n, Equation *e)
{
    const Attr *a = node_attr(n, "equation");
    if (!a || a->kind != ATTR_S || !a->s.size) return false;
    const char *at = (const char *)a->s.at, *end = at + a->s.size;
    e->n_in = 0;
    for (;;) {
        if (e->n_in == MAX_OPERANDS || !read_term(&at, end, &e->in[e->n_in])) return false;
        e->n_in++;
        if (at == end) return implicit_output(e);
        if (*at++ == '-') break;
    }
    if (at == end || *at++ != '>') return false;
    return read_term(&at, end, &e->out) && at == end;
}

/* Sizes of the letters, and the sizes that the ellipses broadcast to. */
typedef struct Sizes { int64_t of[128]; bool set[128]; Shape rest; } Sizes;

static Err read_sizes(Inference *x, const Term *t, const Shape *s, Sizes *sizes)
{
    bool dots = memchr(t->letter, ELLIPSIS, (size_t)t->n) != NULL;
    int hidden = s->rank - (t->n - dots);
    if (hidden < 0 || (!dots && hidden)) return err_set(ERR_SHAPE, "an input of rank %d does not fit the equation", s->rank);
    for (int i = 0, axis = 0; i < t->n; i++) {
        int letter = t->letter[i];
        if (letter == ELLIPSIS) {
            Shape part = shape_of(hidden, s->dim + axis);
            TRY(shape_broadcast(x, &sizes->rest, &part, &sizes->rest));
            axis += hidden;
            continue;
        }
        int64_t d = s->dim[axis++];
        if (!sizes->set[letter] || sizes->of[letter] == 1) sizes->of[letter] = d;
        else if (d != 1 && dim_merge(sizes->of[letter], d, &sizes->of[letter]) != OK) return err_in(ERR_SHAPE, "letter %c", letter);
        sizes->set[letter] = true;
    }
    return OK;
}

static Err einsum_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Equation e;
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!read_equation(n, &e) || e.n_in != n->n_in) return err_set(ERR_SHAPE, "the equation does not fit the inputs");
    Sizes sizes = { 0 };
    for (int i = 0; i < n->n_in; i++) {
        if (!fact_shaped(in[i])) return OK;
        TRY(read_sizes(x, &e.in[i], &in[i]->shape, &sizes));
    }
    Shape s = { 0 };
    for (int i = 0; i < e.out.n; i++) {
        int letter = e.out.letter[i];
        int more = letter == ELLIPSIS ? sizes.rest.rank : 1;
        if (s.rank + more > MAX_RANK) return err_set(ERR_SHAPE, "the result has more than %d axes", MAX_RANK);
        if (letter != ELLIPSIS && !sizes.set[letter]) return err_set(ERR_SHAPE, "letter %c of the result is in no input", letter);
        for (int k = 0; k < more; k++) s.dim[s.rank++] = letter == ELLIPSIS ? sizes.rest.dim[k] : sizes.of[letter];
    }
    out[0].shape = s;
    return OK;
}

static bool has_letter(const Term *t, char letter) { return memchr(t->letter, letter, (size_t)t->n) != NULL; }

/* Two operands without ellipsis or repeated letters in the weight's term. */
static bool einsum_roles(const Node *n, int input, const Fact *weight, AxisRole role[MAX_RANK])
{
    Equation e;
    if (n->n_in != 2 || input > 1 || !read_equation(n, &e) || e.n_in != 2) return false;
    const Term *w = &e.in[input], *other = &e.in[1 - input];
    if (w->n != weight->shape.rank || has_letter(w, ELLIPSIS)) return false;
    for (int i = 0; i < w->n; i++) {
        char c = w->letter[i];
        for (int k = 0; k < i; k++)
            if (w->letter[k] == c) return false;
        role[i] = !has_letter(&e.out, c) ? AXIS_IN : has_letter(other, c) ? AXIS_BATCH : AXIS_OUT;
    }
    return true;
}

/* The product of the sizes of all letters, for two operands. */
static Err einsum_macs(const Node *n, const Fact *const *in, const Fact *const *out, int64_t *macs)
{
    Equation e;
    if (n->n_in != 2 || !read_equation(n, &e) || e.n_in != 2) return err_set(ERR_SHAPE, "not a product of two");
    int64_t inner[2 * MAX_RANK];
    int n_inner = 0;
    for (int i = 0; i < 2; i++) {
        bool dots = has_letter(&e.in[i], ELLIPSIS);
        if (in[i]->shape.rank < 0 || (!dots && in[i]->shape.rank != e.in[i].n)) return err_set(ERR_SHAPE, "the shape of an input is unknown");
        for (int k = 0; k < e.in[i].n && e.in[i].letter[k] != ELLIPSIS; k++) {
            char c = e.in[i].letter[k];
            if (!has_letter(&e.out, c) && !(i && has_letter(&e.in[0], c)) && n_inner < MAX_RANK) inner[n_inner++] = in[i]->shape.dim[k];
        }
        if (dots && e.in[i].letter[e.in[i].n - 1] != ELLIPSIS) return err_set(ERR_SHAPE, "letters behind an ellipsis are not counted");
    }
    return macs_of(&out[0]->shape, inner, n_inner, macs);
}

static const AttrSpec EINSUM_ATTRS[] = { { "equation", ATTR_S, true }, { 0 } };
const Op op_Einsum = { "Einsum", "", 12, 1, -1, 1, 1, .attrs = EINSUM_ATTRS, .infer = einsum_infer, .prep = einsum_prep,
    .roles = einsum_roles, .macs = einsum_macs };
