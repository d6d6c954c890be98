/* The memory of plans: allocation under the limit, lists that grow, buffers and how values find theirs. */
#include <string.h>
#include <unistd.h>
#include "engine/element.h"
#include "engine/packs.h"
#include "engine/plan_internal.h"
#include "engine/run_ops.h"
#include "engine/workspace.h"

/* Memory ---------------------------------------------------------------------------------------------------------------------------- */

size_t plan_used(const Plan *p) { return p->used_by_outer + arena_bytes(p->arena) + arena_bytes(p->late); }

static size_t shared_bytes(const Plan *p)
{
    const PlanOptions *o = &p->options;
    return (o->packs ? arena_bytes(o->packs->arena) : 0) + (o->workspaces ? workspaces_bytes(o->workspaces) : 0);
}

size_t plan_memory_limit(void) { return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE) / 4 * 3; }

static Err out_of_memory(const Plan *p, size_t bytes)
{
    const bool small = p->options.memory_limit < (size_t)1 << 20;
    const int shift = small ? 10 : 20;
    const char *unit = small ? "KiB" : "MiB";
    return err_set(ERR_NOMEM, "This model needs more memory than the limit of %zu %s allows (%zu %s in use, %zu %s more wanted).",
                   p->options.memory_limit >> shift, unit, (plan_used(p) + shared_bytes(p)) >> shift, unit, bytes >> shift, unit);
}

Err plan_room(const Plan *p, size_t bytes)
{
    size_t used = plan_used(p) + shared_bytes(p), limit = p->options.memory_limit;
    return used > limit || bytes > limit - used ? out_of_memory(p, bytes) : OK;
}

static Err no_memory(size_t bytes) { return err_set(ERR_NOMEM, "Out of memory: %zu bytes more were wanted.", bytes); }

Err plan_alloc(Plan *p, size_t bytes, void **out)
{
    TRY(plan_room(p, bytes));
    void *at = arena_alloc(p->now, bytes);
    if (!at) return no_memory(bytes);
    *out = at;
    return OK;
}

/* A body runs while what is around it does. */
Err plan_workspace(Plan *p)
{
    Workspaces *all = p->options.workspaces;
    void *block = NULL;
    if (!all || p->outer) {
        TRY(plan_alloc(p, p->block_bytes, &block));
        p->block = block;
        return OK;
    }
    p->workspace = workspace_share(all, p->block_bytes);
    if (!p->workspace) {
        workspaces_clear(all);
        TRY(plan_room(p, p->block_bytes));
        p->workspace = workspace_add(all, p->block_bytes);
    }
    if (!p->workspace) return no_memory(p->block_bytes);
    p->block = workspace_memory(p->workspace);
    return OK;
}

Err plan_temporary(Plan *p, size_t bytes, void **out)
{
    Arena *now = p->now;
    p->now = p->late;
    Err e = plan_alloc(p, bytes, out);
    p->now = now;
    return e;
}

Err plan_array(Plan *p, int64_t n, size_t size, void *out)
{
    size_t bytes;
    if (n < 0 || __builtin_mul_overflow((size_t)n, size, &bytes)) return out_of_memory(p, SIZE_MAX);
    void *at = NULL;
    TRY(plan_alloc(p, bytes, &at));
    memcpy(out, &at, sizeof at);
    return OK;
}

/* Doubles a list in the plan's own arena when it is full. */
Err grow(Plan *p, void *list, int n, int *room, size_t size)
{
    if (n < *room) return OK;
    int wanted = *room ? 2 * *room : 64;
    void *old, *bigger = arena_array(p->arena, (size_t)wanted, size);
    if (!bigger) return err_set(ERR_NOMEM, "Out of memory while planning.");
    memcpy(&old, list, sizeof old);
    if (n) memcpy(bigger, old, (size_t)n * size);
    memcpy(list, &bigger, sizeof bigger);
    *room = wanted;
    return OK;
}

/* Buffers --------------------------------------------------------------------------------------------------------------------------- */

Err buffer_set(Buffer *b, DType dtype, const Shape *shape)
{
    int64_t count;
    size_t bytes;
    TRY(shape_count(shape, &count));
    if (dtype == DT_STRING) bytes = (size_t)count * sizeof(Span);
    else TRY(tensor_bytes(dtype, shape, &bytes));
    b->dtype = dtype; b->shape = *shape; b->count = count; b->bytes = bytes;
    b->fact = (Fact){ .is_tensor = true, .dtype = dtype, .shape = *shape };
    return OK;
}

void buffer_hold(Buffer *b, List *list)
{
    buffer_forget(b);
    b->list = list;
    b->dtype = DT_NONE;
    b->fact = (Fact){ .is_tensor = false, .shape = { .rank = -1 } };
}

void buffer_forget(Buffer *b)
{
    b->list = NULL; b->shape.rank = -1; b->count = 0; b->bytes = 0; b->data = NULL; b->base = NULL;
    b->fact = (Fact){ .is_tensor = true, .dtype = b->dtype, .shape = { .rank = -1 } };
}

Err buffer_new(Plan *p, const char *name, Buffer **out)
{
    Buffer *b = arena_alloc(p->arena, sizeof *b);
    if (!b) return err_set(ERR_NOMEM, "Out of memory while planning.");
    TRY(grow(p, &p->buffer, p->n_buffer, &p->room_buffer, sizeof *p->buffer));
    b->number = p->n_buffer;
    p->buffer[p->n_buffer++] = b;
    b->name = name;
    buffer_forget(b);
    *out = b;
    return OK;
}

static size_t slot_of(const BufferMap *map, const Value *v)
{
    size_t mask = (size_t)map->room - 1, i = ((uintptr_t)v >> 4) * 0x9E3779B97F4A7C15u >> 20 & mask;
    while (map->key[i] && map->key[i] != v) i = (i + 1) & mask;
    return i;
}

Err map_put(Plan *p, const Value *v, Buffer *b)
{
    BufferMap *map = &p->map;
    if (2 * (map->n + 1) > map->room) {
        BufferMap bigger = { .room = map->room ? 2 * map->room : 128 };
        bigger.key = arena_array(p->arena, (size_t)bigger.room, sizeof *bigger.key);
        bigger.buffer = arena_array(p->arena, (size_t)bigger.room, sizeof *bigger.buffer);
        if (!bigger.key || !bigger.buffer) return err_set(ERR_NOMEM, "Out of memory while planning.");
        for (int i = 0; i < map->room; i++) {
            if (!map->key[i]) continue;
            size_t at = slot_of(&bigger, map->key[i]);
            bigger.key[at] = map->key[i]; bigger.buffer[at] = map->buffer[i]; bigger.n++;
        }
        *map = bigger;
    }
    size_t at = slot_of(map, v);
    if (!map->key[at]) map->n++;
    map->key[at] = v; map->buffer[at] = b;
    return OK;
}

Buffer *map_get(const BufferMap *map, const Value *v) { return map->room ? map->buffer[slot_of(map, v)] : NULL; }

/* Elements at an address that suits vectors: where they stand in the file, or a copy in p->now. */
static Err copy_aligned(Plan *p, const void *from, Buffer *b)
{
    void *copy = NULL;
    if ((uintptr_t)from % 16) {
        TRY(plan_alloc(p, b->bytes, &copy));
        memcpy(copy, from, b->bytes);
    }
    b->data = copy ? copy : (void *)(uintptr_t)from;
    return OK;
}

/* Elements of a constant, of b's own or where they are stored: for reading only, at any alignment. */
static Err elements_of(Plan *p, const Buffer *b, const void **from)
{
    *from = b->data;
    return b->data ? OK : constant_read(p->model, b->stored, from);
}

static Err load_wide(Plan *p, Buffer *b)
{
    const void *from;
    const Kernels *kernels;
    void *data = NULL;
    TRY(find_kernels(&kernels));
    TRY(plan_alloc(p, b->bytes, &data));
    TRY(elements_of(p, b->halves, &from));
    halves_to_f32(kernels, b->halves->dtype, from, b->count, data);
    if (!b->halves->data) constant_forget(p->model, b->halves->stored);
    b->data = data;
    return OK;
}

Err buffer_load(Plan *p, Buffer *b)
{
    const void *from;
    if (b->halves && !b->data) return load_wide(p, b);
    if (!b->stored || b->data) return OK;
    TRY(constant_read(p->model, b->stored, &from));
    if ((uintptr_t)from % 16 && p->now != p->late) {           /* a copy that all plans of the model share */
        TRY(constant_fetch(p->model, b->stored));
        constant_forget(p->model, b->stored);
        from = b->stored->tensor.data;
    }
    TRY(copy_aligned(p, from, b));
    if (b->data != from) constant_forget(p->model, b->stored);
    return OK;
}

Err buffer_load_temporary(Plan *p, Buffer *b)
{
    Arena *now = p->now;
    p->now = p->late;
    Err e = buffer_load(p, b);
    p->now = now;
    return e;
}

void buffer_unload(const Plan *p, Buffer *b)
{
    b->data = NULL;
    if (b->stored) constant_forget(p->model, b->stored);
}

/* A large matrix is left in the file until a step wants it: most are only read once, to be packed. */
static bool is_read_late(const Buffer *b)
{
    enum { LARGE = 64 << 10 };
    return (b->dtype == DT_F32 || b->dtype == DT_F16 || b->dtype == DT_BF16) && b->bytes > LARGE && b->shape.rank > 1;
}

Err constant_widen(Plan *p, Buffer *b, Buffer *wide)
{
    wide->constant = true;
    wide->halves = b;
    if (is_read_late(wide)) return OK;
    TRY(buffer_load(p, wide));
    return buffer_learn(p, wide);
}

/* The buffer of a constant. */
static Err constant_buffer(Plan *p, const Value *v, Buffer **out)
{
    Constant *c = v->constant;
    Buffer *b;
    TRY(buffer_new(p, v->name, &b));
    TRY(buffer_set(b, c->tensor.dtype, &c->tensor.shape));
    b->constant = true;
    if (is_read_late(b)) b->stored = c;
    else {
        TRY(constant_fetch(p->model, c));
        TRY(copy_aligned(p, c->tensor.data, b));
        TRY(buffer_learn(p, b));
    }
    TRY(map_put(p, v, b));
    *out = b;
    return OK;
}

static Err note_capture(Plan *p, Buffer *b)
{
    if (b->constant) return OK;
    for (int i = 0; i < p->n_capture; i++) if (p->capture[i].buffer == b) return OK;
    TRY(grow(p, &p->capture, p->n_capture, &p->room_capture, sizeof *p->capture));
    p->capture[p->n_capture++] = (Capture){ b, b->dtype, b->shape };
    return OK;
}

/* What bodies read of an enclosing plan lasts as long as that plan. */
static Err load_for_body(Plan *outer, Buffer *b)
{
    Arena *now = outer->now;
    outer->now = outer->arena;
    Err e = buffer_load(outer, b);
    outer->now = now;
    return e;
}

/* The buffer of a value that a node reads: of this plan, of an enclosing one, or a constant met for the first time. */
Err buffer_of(Plan *p, const Value *v, Buffer **out)
{
    Plan *root = p;
    for (Plan *q = p; q; root = q, q = q->outer) {
        Buffer *b = map_get(&q->map, v);
        if (!b) continue;
        if (q != p) TRY(note_capture(p, b));
        *out = b;
        return q == p ? OK : load_for_body(q, b);
    }
    if (!v->constant) return err_set(ERR_FORMAT, "The value '%s' is read before anything produces it.", v->name);
    Arena *now = root->now;
    root->now = root->arena;
    Err e = constant_buffer(root, v, out);
    if (e == OK && root != p) e = buffer_load(root, *out);
    root->now = now;
    return e;
}
