/* Memory planning: every value gets an offset in one block. */
#include <string.h>
#include "engine/plan.h"
#include "kernels/whole.h"

/* Larger first; equal sizes in order of birth, so that the result does not depend on the sort. */
static bool goes_before(const Buffer *a, const Buffer *b)
{
    if (a->bytes != b->bytes) return a->bytes > b->bytes;
    return a->first < b->first;
}

static void merge_sort(Buffer **b, Buffer **spare, int n)
{
    if (n < 2) return;
    int half = n / 2;
    merge_sort(b, spare, half);
    merge_sort(b + half, spare, n - half);
    memcpy(spare, b, (size_t)n * sizeof *b);
    for (int i = 0, left = 0, right = half; i < n; i++) {
        bool take_right = left == half || (right < n && goes_before(spare[right], spare[left]));
        b[i] = take_right ? spare[right++] : spare[left++];
    }
}

/* The lowest offset where `size` bytes meet no placed buffer that is alive at the same time. placed is sorted by offset. */
static size_t lowest_gap(Buffer *const *placed, int n, const Buffer *b)
{
    size_t at = 0, size = to_line(b->bytes);
    for (int i = 0; i < n; i++) {
        const Buffer *p = placed[i];
        if (p->last < b->first || b->last < p->first) continue;
        if (p->offset >= at + size) return at;
        size_t end = p->offset + to_line(p->bytes);
        if (end > at) at = end;
    }
    return at;
}

Err memplan(Arena *scratch, Buffer *const *buffer, int n, size_t *total)
{
    Buffer **sorted = arena_array(scratch, (size_t)n + 1, sizeof *sorted);
    Buffer **placed = arena_array(scratch, (size_t)n + 1, sizeof *placed);
    if (!sorted || !placed) return err_set(ERR_NOMEM, "Out of memory while planning memory.");
    memcpy(sorted, buffer, (size_t)n * sizeof *sorted);
    merge_sort(sorted, placed, n);
    size_t end = 0;
    for (int i = 0; i < n; i++) {
        Buffer *b = sorted[i];
        b->offset = lowest_gap(placed, i, b);
        if (b->bytes > SIZE_MAX / 4 || b->offset > SIZE_MAX / 4) return err_set(ERR_NOMEM, "The values of this model do not fit into the address space.");
        int at = i;
        for (; at > 0 && placed[at - 1]->offset > b->offset; at--) placed[at] = placed[at - 1];
        placed[at] = b;
        size_t stop = b->offset + to_line(b->bytes);
        if (stop > end) end = stop;
    }
    *total = end;
    return OK;
}
