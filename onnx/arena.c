/* Arenas: blocks in a list, each filled from its start. Small requests share blocks that double in size up to 8 MiB; a request that would
 * waste much of one gets a block of its own. Nothing is freed singly; what must be (fetched tensors) comes from block_new. */
#include "onnx/arena.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { FIRST_BLOCK = 4096, LINE = 64, HUGE_PAGE = 1 << 21 };

typedef struct Block {
    struct Block *before;          /* allocated earlier */
    size_t size, used;             /* of the bytes after this header */
} Block;
struct Arena { Block *last; size_t bytes; };
static const size_t LARGEST_BLOCK = 4 * HUGE_PAGE - sizeof(Block);
static const double SLOW_PAGE = 1e-3;      /* seconds; to clear a huge page takes a tenth */

static _Atomic long fail_after;    /* calls left until the first failure; 0: off, -1: failing */

void arena_fail_after(long n)
{
    fail_after = n;
}

static bool must_fail(void)
{
    if (fail_after > 0 && --fail_after == 0) fail_after = -1;
    return fail_after < 0;
}

static void *system_alloc(size_t bytes, size_t align)
{
    size_t rounded = (bytes + align - 1) & ~(align - 1);
    return rounded < bytes ? NULL : aligned_alloc(align, rounded);
}

static double seconds_to_touch(void *page)
{
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    *(volatile char *)page = 0;
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
}

/* Large blocks get huge pages: filling one then costs a 512th of the page faults, and rows of tensors that lie pages apart take one entry of a TLB. Until one takes
 * so long that a host had to find it: a virtual machine may have given back what was freed as huge pages, while it recycles small ones. */
static void *pages_alloc(size_t bytes)
{
    static _Atomic bool slow;
    if (bytes < 2 * HUGE_PAGE) return system_alloc(bytes ? bytes : 1, LINE);
    void *block = system_alloc(bytes, HUGE_PAGE);
    if (!block || slow || madvise(block, bytes, MADV_HUGEPAGE)) return block;
    slow = seconds_to_touch(block) > SLOW_PAGE;
    if (slow) madvise(block, bytes, MADV_NOHUGEPAGE);
    return block;
}

void *block_new(size_t bytes)
{
    return must_fail() ? NULL : pages_alloc(bytes);
}

void block_free(void *block)
{
    free(block);
}

Arena *arena_new(void)
{
    Arena *arena = must_fail() ? NULL : system_alloc(sizeof *arena, LINE);
    if (arena) *arena = (Arena){0};
    return arena;
}

static void free_until(Arena *arena, Block *keep)
{
    while (arena->last != keep) {
        Block *b = arena->last;
        arena->last = b->before;
        arena->bytes -= sizeof *b + b->size;
        free(b);
    }
}

void arena_free(Arena *arena)
{
    if (!arena) return;
    free_until(arena, NULL);
    free(arena);
}

static size_t next_block_size(const Arena *arena, size_t bytes)
{
    size_t size = arena->last ? arena->last->size * 2 : FIRST_BLOCK;
    if (size > LARGEST_BLOCK) size = LARGEST_BLOCK;
    return bytes > size / 4 && bytes > FIRST_BLOCK / 4 ? bytes : size;
}

static Block *block_add(Arena *arena, size_t bytes)
{
    size_t size = next_block_size(arena, bytes);
    if (size > SIZE_MAX - sizeof(Block)) return NULL;
    Block *b = pages_alloc(sizeof *b + size);
    if (!b) return NULL;
    *b = (Block){ .before = arena->last, .size = size };
    arena->last = b;
    arena->bytes += sizeof *b + size;
    return b;
}

/* Bytes to skip so that the next byte after the block's used ones is aligned. */
static size_t padding(const Block *b, size_t align)
{
    uintptr_t at = (uintptr_t)(b + 1) + b->used;
    return (size_t)(-at & (align - 1));
}

void *arena_alloc(Arena *arena, size_t bytes)
{
    size_t align = bytes >= 256 ? LINE : 16;
    if (bytes > SIZE_MAX / 2 || must_fail()) return NULL;
    Block *b = arena->last;
    if (!b || b->size - b->used < bytes || b->size - b->used - bytes < padding(b, align)) b = block_add(arena, bytes + align);
    if (!b) return NULL;
    b->used += padding(b, align);
    uint8_t *at = (uint8_t *)(b + 1) + b->used;
    b->used += bytes;
    return memset(at, 0, bytes);
}

void *arena_array(Arena *arena, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : arena_alloc(arena, bytes);
}

void *arena_grow(Arena *arena, const void *list, int n, size_t size)
{
    if (n > 0 && (n & (n - 1)) != 0) return (void *)(uintptr_t)list;
    if (n > INT32_MAX / 2) return NULL;
    void *moved = arena_array(arena, n ? (size_t)n * 2 : 1, size);
    return moved && n ? memcpy(moved, list, (size_t)n * size) : moved;
}

char *arena_strndup(Arena *arena, const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? arena_alloc(arena, length + 1) : NULL;
    if (copy && length) memcpy(copy, text, length);
    return copy;
}

char *arena_printf(Arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : arena_alloc(arena, (size_t)n + 1);
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

size_t arena_bytes(const Arena *arena)
{
    return arena->bytes;
}

ArenaMark arena_mark(Arena *arena)
{
    return (ArenaMark){ arena->last, arena->last ? arena->last->used : 0 };
}

void arena_reset(Arena *arena, ArenaMark mark)
{
    free_until(arena, mark.block);
    if (arena->last) arena->last->used = mark.used;
}
