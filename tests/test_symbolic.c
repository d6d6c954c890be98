/* The algebra of sizes: canonical forms, limits, and that equal symbols are equal sizes. */
#include "engine/infer.h"
#include "engine/symbolic.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Algebra { Bytes bytes; Model *model; Arena *arena; Symbolic *s; } Algebra;

static Algebra algebra(void)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "h,w");
    build_node(b, "Relu", "x", "y", "");
    build_output(b, "y", DT_F32, "h,w");
    Algebra a = { .bytes = build_finish(b, 8, 20), .arena = arena_new() };
    if (model_parse(a.bytes.at, a.bytes.size, &a.model) != OK || symbolic_new(a.model, a.arena, &a.s) != OK) fail();
    return a;
}

static void algebra_free(Algebra a)
{
    arena_free(a.arena);
    model_free(a.model);
    bytes_free(a.bytes);
}

/* Evaluates a postfix expression over h, w and numbers; h and w as symbols (0) or as the numbers given. */
static int64_t postfix(Algebra *a, const char *text, int64_t h, int64_t w)
{
    int64_t stack[16], symbol[2];
    int top = 0;
    if (model_symbol(a->model, "h", &symbol[0]) != OK || model_symbol(a->model, "w", &symbol[1]) != OK) fail();
    for (const char *p = text; *p; p++) {
        if (*p == ' ') continue;
        if (*p == 'h') stack[top++] = h ? h : symbol[0];
        else if (*p == 'w') stack[top++] = w ? w : symbol[1];
        else if (*p >= '0' && *p <= '9') {
            char *end;
            stack[top++] = strtoll(p, &end, 10);
            p = end - 1;
        } else {
            top--;
            if (symbolic_arith(a->s, *p, stack[top - 1], stack[top], DIM_UNKNOWN, &stack[top - 1]) != OK) fail();
        }
    }
    assert_int_equal(top, 1);
    return stack[0];
}

static void test_algebra(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "h 1 +", "h + 1" },                          { "1 h +", "h + 1" },
        { "h h -", "0" },                              { "h h + 2 /", "h" },
        { "h 2 * 3 * 6 /", "h" },                      { "h w * w h * -", "0" },
        { "h w * h /", "w" },                          { "h 12 * w * h 4 * /", "3*w" },
        { "h 1 - 2 / 1 +", "floor((h + 1)/2)" },       { "h 2 c", "floor((h + 1)/2)" },
        { "h 1 - 2 / 1 + 1 - 2 / 1 +", "floor((h + 3)/4)" },
        { "h 4 * 6 + 4 /", "h + 1" },                  { "h 4 * 2 / w +", "2*h + w" },
        { "h 6 * 3 + 4 /", "h + floor((h + 1)/2)" }, { "0 h - 2 /", "-h + floor(h/2)" },
        { "h w + h w + /", "1" },                      { "h w /", "floor(h/w)" },
        { "h h 2 / 2 * -", "h - 2*floor(h/2)" },       { "h 0 M", "h" },
        { "h h 1 + m", "h" },                          { "h 512 m", "min(512, h)" },
        { "512 h m", "min(512, h)" },                  { "h w M w h M -", "0" },
        { "7 2 /", "3" },                              { "0 7 - 2 /", "-4" },
        { "7 2 c", "4" },                              { "h 0 *", "0" },
    };
    Algebra a = algebra();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t r = postfix(&a, cases[i][0], 0, 0);
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)r);
        const char *text = dim_is_symbol(r) ? a.model->symbol[r - SYMBOL_BASE] : number;
        if (strcmp(text, cases[i][1])) fail_msg("%s: %s, expected %s", cases[i][0], text, cases[i][1]);
    }
    algebra_free(a);
}

/* No result is better than a wrong one. */
static void test_algebra_unknown(void **state)
{
    (void)state;
    Algebra a = algebra();
    assert_true(postfix(&a, "h 0 /", 0, 0) == DIM_UNKNOWN);
    assert_true(postfix(&a, "4611686018427387904 4 *", 0, 0) == DIM_UNKNOWN);
    assert_true(postfix(&a, "4611686018427387904 h * 4 *", 0, 0) == DIM_UNKNOWN);
    assert_true(postfix(&a, "h h * h * h * h * h * h *", 0, 0) == DIM_UNKNOWN);       /* degree 7 */
    algebra_free(a);
}

static void random_postfix(Random *r, char *text)
{
    static const char *const leaf[] = { "h", "w", "1", "2", "3", "4", "7" };
    static const char op[] = "+-*/cmM+-*/";
    int depth = 0, n = 0;
    text[0] = 0;
    while (n < 6 || depth > 1) {
        if (depth < 2 || (n < 6 && random_below(r, 2))) {
            strcat(text, leaf[random_below(r, 7)]);
            depth++;
        } else {
            char c = op[random_below(r, sizeof op - 1)];
            strcat(text, c == '/' || c == 'c' ? (random_below(r, 2) ? "2 /" : "3 c") : (char[]){ c, 0 });
            depth -= c != '/' && c != 'c';
        }
        strcat(text, " ");
        n++;
    }
}

/* Expressions with the same symbol have the same value for all sizes; and numbers that come out are right. */
static void test_algebra_random(void **state)
{
    (void)state;
    enum { EXPRESSIONS = 3000, SIZES = 4 };
    Random r = { 20260 };
    Algebra a = algebra();
    static int64_t symbol[EXPRESSIONS], value[EXPRESSIONS][SIZES];
    const int64_t size[SIZES][2] = { { 5, 7 }, { 12, 4 }, { 1, 1 }, { 33, 6 } };
    int same = 0;
    for (int i = 0; i < EXPRESSIONS; i++) {
        char text[200];
        random_postfix(&r, text);
        symbol[i] = postfix(&a, text, 0, 0);
        for (int k = 0; k < SIZES; k++) {
            value[i][k] = postfix(&a, text, size[k][0], size[k][1]);
            if (dim_is_number(symbol[i]) && symbol[i] != value[i][k]) fail_msg("%s = %lld", text, (long long)symbol[i]);
        }
        for (int k = 0; k < i; k++) {
            if (symbol[k] != symbol[i] || symbol[i] == DIM_UNKNOWN) continue;
            same++;
            if (memcmp(value[k], value[i], sizeof value[i])) fail_msg("%s is %s and is not", text, a.model->symbol[symbol[i] - SYMBOL_BASE]);
        }
    }
    assert_true(same > EXPRESSIONS);
    algebra_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_algebra), cmocka_unit_test(test_algebra_unknown), cmocka_unit_test(test_algebra_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
