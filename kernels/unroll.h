/* For functions that become several by constant arguments, and loops with a constant number of turns, at most 16, whose arrays are to be registers. */
#pragma once

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define EACH(i, n) _Pragma("clang loop unroll(full)") for (int i = 0; i < (n); i++)
#else
#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#endif
