#include "kernels/lanes_avx2.inc"
#include "kernels/polynomial.inc"
#include "kernels/functions_avx2.inc"
#include "kernels/rows.inc"

void rows_avx2(Kernels *k) { rows_fill(k); }
