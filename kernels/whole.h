/* Whole numbers, for cutting work and memory up. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Pieces of `size` that n is cut into, the last one possibly shorter. */
static inline int64_t pieces_in(int64_t n, int64_t size) { return (n + size - 1) / size; }
/* The same, where an int holds them. */
static inline int ceil_div(int64_t n, int64_t size) { return (int)pieces_in(n, size); }
static inline int64_t round_up(int64_t n, int64_t step) { return pieces_in(n, step) * step; }
static inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int least(int64_t a, int b) { return (int)lesser(a, b); }
static inline int64_t bounded(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

/* Up to whole cache lines. */
static inline size_t to_line(size_t bytes) { return (bytes + 63) / 64 * 64; }
