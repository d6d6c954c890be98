#include "kernels/lanes_avx512.inc"
#include "kernels/polynomial.inc"
#include "kernels/functions_avx512.inc"
#include "kernels/rows.inc"

void rows_avx512(Kernels *k) { rows_fill(k); }
