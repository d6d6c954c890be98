#include "kernels/lanes_avx512.inc"
#include "kernels/pieces_avx512.inc"
#include "kernels/rows.inc"

void rows_avx512(Kernels *k) { rows_fill(k); }
