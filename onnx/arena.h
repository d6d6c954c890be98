/* Memory with one owner: an arena hands out blocks and frees them all at once. The only place that calls malloc and free. */
#pragma once
#include <stddef.h>

typedef struct Arena Arena;

Arena *arena_new(void);                        /* NULL when out of memory */
void   arena_free(Arena *arena);               /* frees every block; NULL is allowed */
/* Zeroed memory, 16-byte aligned, 64-byte aligned from 256 bytes on; NULL when out of memory. bytes 0 gives a valid pointer. */
void  *arena_alloc(Arena *arena, size_t bytes);
/* Room for count elements of size bytes each; NULL when the product overflows or memory is out. */
void  *arena_array(Arena *arena, size_t count, size_t size);
/* A list of n elements that was made by this function alone (n 0: NULL), with room for one more; moves it when n is a power of two. NULL when
 * out of memory. */
void  *arena_grow(Arena *arena, const void *list, int n, size_t size);
char  *arena_strndup(Arena *arena, const char *text, size_t length);   /* adds the final NUL; NULL when out of memory */
char  *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t arena_bytes(const Arena *arena);        /* bytes taken from the system */

typedef struct ArenaMark { void *block; size_t used; } ArenaMark;
ArenaMark arena_mark(Arena *arena);
void      arena_reset(Arena *arena, ArenaMark mark);   /* frees what was allocated after the mark */

/* A block of its own, not zeroed, 64-byte aligned, NULL when out of memory: for elements of tensors, which come and go. */
void *block_new(size_t bytes);
void  block_free(void *block);                 /* NULL is allowed */

/* Test hook: the n-th request for memory from now on (1 = next; of arenas and blocks) fails, and every later one; 0 switches it off. */
void arena_fail_after(long n);
