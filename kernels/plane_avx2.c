#include "kernels/lanes_avx2.inc"
#include "kernels/plane.inc"

void plane_avx2(Kernels *k) { plane_fill(k); }
