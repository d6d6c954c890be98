#include "tests/guard.h"
#include "tests/cmocka.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILL = 0xa5, FENCE = 256 };

Guard guard_new(size_t bytes, size_t slack)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (FENCE + bytes + slack + page - 1) / page * page;
    Guard g = { .bytes = bytes, .map_bytes = inner + page };
    g.map = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    memset(g.map, FILL, inner);
    assert_int_equal(mprotect((char *)g.map + inner, page, PROT_NONE), 0);
    g.data = (char *)g.map + inner - slack - bytes;
    return g;
}

Guard guard_floats(size_t n, uint32_t tenths, Random *r)
{
    Guard g = guard_new(n * sizeof(float), 0);
    for (size_t i = 0; i < n; i++)
        ((float *)g.data)[i] = random_below(r, 10) < tenths ? random_float(r) : 0;
    return g;
}

Guard guard_copy(const Guard *g)
{
    Guard copy = guard_new(g->bytes, 0);
    memcpy(copy.data, g->data, g->bytes);
    return copy;
}

void guard_free(Guard *g)
{
    const unsigned char *data = g->data, *page = (unsigned char *)g->map + g->map_bytes - (size_t)sysconf(_SC_PAGESIZE);
    for (const unsigned char *p = data - FENCE; p < data; p++)
        assert_int_equal(*p, FILL);
    for (const unsigned char *p = data + g->bytes; p < page; p++)
        assert_int_equal(*p, FILL);
    assert_int_equal(munmap(g->map, g->map_bytes), 0);
}
