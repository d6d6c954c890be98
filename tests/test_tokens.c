/* Products of tokens with constant weights against sums in double. */
#include "tests/cmocka.h"
#include "tests/product_cases.h"

/* Weights (features, k) or transposed. */
static void draw_tokens(ProductCase *c, Random *r)
{
    bool transposed = random_between(r, 0, 1);
    size_t features = (size_t)random_between(r, 1, random_between(r, 0, 3) ? 70 : 500), k = (size_t)random_between(r, 1, random_between(r, 0, 2) ? 50 : 450);
    c->tokens.tokens = random_between(r, 1, random_between(r, 0, 2) ? 20 : 200);
    c->tokens.packed.k = (int)k;
    c->tokens.packed.weights = (Weights) { NULL, transposed ? 1 : k, transposed ? features : 1, (int)features };
}

static const ProductTest tokens = { draw_tokens, VARIANT_TOKENS_DENSE, VARIANT_TOKENS_BITMAP, product_error };

static void test_random(void **state)
{
    (void)state;
    product_test_random(&tokens, 200);
}

static void test_threads_agree(void **state)
{
    (void)state;
    product_test_threads(&tokens, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_threads_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
