/* Products with constant weights in any variant, on random operands between guards, against sums in double. */
#pragma once
#include "engine/trial.h"
#include "tests/guard.h"

typedef struct ProductCase {
    MultiplyShape shape;       /* sizes of columns, or */
    Tokens tokens;             /* of tokens */
    Trial trial;
    MultiplyRun run;
    Guard w, x, bias, residual, y, packed, scratch;
} ProductCase;

/* Sizes are drawn; draws operands, bias and bounds, plans and packs. */
void product_make(ProductCase *c, Variant variant, int threads, Random *r);
void product_free(ProductCase *c);
/* Element `at` of y before the clamp; size: 4 and the magnitudes that it is summed up from. */
double product_exact(const ProductCase *c, size_t at, double *size);

/* What a test draws, the variants that it draws from, and how far the result may be from product_exact. */
typedef struct ProductTest {
    void (*draw)(ProductCase *c, Random *r);
    Variant first, last;
    double (*error)(const ProductCase *c, double size);
} ProductTest;
/* Sums are in order: each rounding is one of as much as all magnitudes. */
double product_error(const ProductCase *c, double size);

void product_test_random(const ProductTest *t, int rounds);
/* Residual and result in one place, as after memory planning. */
void product_test_in_place(const ProductTest *t, int rounds);
void product_test_threads(const ProductTest *t, int rounds);

/* result(user, threads, seed): what was computed for this seed. Asserts that it is the same with one thread and with five. */
void assert_threads_agree(Guard (*result)(const void *user, int threads, uint64_t seed), const void *user, int rounds);
Random random_of(uint64_t seed);
