#include "kernels/lanes_avx512.inc"
#include "kernels/plane.inc"

void plane_avx512(Kernels *k) { plane_fill(k); }
