/* Finding samples and matching them with a model's inputs. */
#include "recipes/samples.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "onnx/tensor_proto.h"

enum { MAX_PROTOS = 1024 };
static const size_t MAX_BYTES = (size_t)4 << 30;       /* of one sample */

static bool ends(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

static bool is_folder(const char *path) { struct stat st; return !stat(path, &st) && S_ISDIR(st.st_mode); }

static Err read_whole(Arena *arena, const char *path, Span *out)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) || !S_ISREG(st.st_mode)) {
        int why = f ? EINVAL : errno;
        if (f) fclose(f);
        return err_set(ERR_IO, "cannot read '%s': %s", path, strerror(why));
    }
    uint8_t *at = (size_t)st.st_size > MAX_BYTES ? NULL : arena_alloc(arena, (size_t)st.st_size + 1);
    size_t got = at ? fread(at, 1, (size_t)st.st_size, f) : 0;
    fclose(f);
    if (!at) return err_set(ERR_NOMEM, "'%s' is too large for a sample (%lld bytes)", path, (long long)st.st_size);
    if (got != (size_t)st.st_size) return err_set(ERR_IO, "'%s' could not be read to its end", path);
    *out = (Span){ at, got };
    return OK;
}

static bool is_sample(const char *name)
{
    return *name != '.' && (ends(name, ".npz") || ends(name, ".npy") || !strncmp(name, "test_data_set", 13));
}

/* Puts a path into the sorted list; test_data_set_10 comes after test_data_set_9. */
static Err add_path(Arena *arena, Samples *s, int *room, const char *path)
{
    if (!path) return err_set(ERR_NOMEM, "out of memory");
    if (s->n == *room) {
        const char **bigger = arena_array(arena, 2 * (size_t)*room + 64, sizeof *bigger);
        if (!bigger) return err_set(ERR_NOMEM, "out of memory");
        if (s->n) memcpy(bigger, s->path, (size_t)s->n * sizeof *bigger);
        s->path = bigger;
        *room = 2 * *room + 64;
    }
    int at = s->n++;
    for (; at > 0 && strverscmp(s->path[at - 1], path) > 0; at--) s->path[at] = s->path[at - 1];
    s->path[at] = path;
    return OK;
}

static Err list_folder(Arena *arena, const char *path, Samples *out)
{
    DIR *d = opendir(path);
    int room = 0;
    Err e = d ? OK : err_set(ERR_IO, "cannot read the folder '%s': %s", path, strerror(errno));
    for (const struct dirent *entry; e == OK && (entry = readdir(d));)
        if (is_sample(entry->d_name)) e = add_path(arena, out, &room, arena_printf(arena, "%s/%s", path, entry->d_name));
    if (d) closedir(d);
    return e;
}

Err samples_list(Arena *arena, const char *path, Samples *out)
{
    struct stat st;
    const char *proto = arena_printf(arena, "%s/input_0.pb", path);
    int room = 0;
    Samples found = { 0 };
    if (!proto) return err_set(ERR_NOMEM, "out of memory");
    if (stat(path, &st)) return err_set(ERR_IO, "there are no samples at '%s': %s", path, strerror(errno));
    bool single = !S_ISDIR(st.st_mode) || !stat(proto, &st);
    TRY(single ? add_path(arena, &found, &room, arena_printf(arena, "%s", path)) : list_folder(arena, path, &found));
    *out = found;
    return out->n ? OK : err_set(ERR_ARG, "'%s' holds no samples: .npz or .npy files, or test_data_set_N folders with input_0.pb ...", path);
}

static Err read_protos(Arena *arena, const char *folder, Array **out, int *n)
{
    Array *list = arena_array(arena, MAX_PROTOS, sizeof *list);
    struct stat st;
    if (!list) return err_set(ERR_NOMEM, "out of memory");
    for (*n = 0; *n < MAX_PROTOS; ++*n) {
        char *path = arena_printf(arena, "%s/input_%d.pb", folder, *n);
        Span bytes;
        Tensor *t;
        if (!path) return err_set(ERR_NOMEM, "out of memory");
        if (stat(path, &st)) break;
        TRY(read_whole(arena, path, &bytes));
        TRY(tensor_parse(arena, bytes, &t, &list[*n].name));
        list[*n].tensor = *t;
    }
    *out = list;
    return OK;
}

static Err read_arrays(Arena *arena, const char *path, Array **out, int *n)
{
    Span bytes;
    if (is_folder(path)) return read_protos(arena, path, out, n);
    TRY(read_whole(arena, path, &bytes));
    if (!ends(path, ".npy")) return npz_parse(arena, bytes, MAX_BYTES, out, n);
    Array *one = arena_alloc(arena, sizeof *one);
    if (!one) return err_set(ERR_NOMEM, "out of memory");
    one->name = "arr_0";
    TRY(npy_parse(bytes, &one->tensor));
    void *copy = arena_alloc(arena, one->tensor.bytes + 256);
    if (!copy) return err_set(ERR_NOMEM, "out of memory");
    one->tensor.data = memcpy(copy, one->tensor.data, one->tensor.bytes);
    *out = one;
    *n = 1;
    return OK;
}

static const Array *find(const Array *a, int n, const char *name)
{
    for (int i = 0; i < n; i++) if (!strcmp(a[i].name, name)) return &a[i];
    return NULL;
}

/* Arrays in order: protos without names of inputs, arr_0 ... of numpy.savez. */
static const Array *by_position(const Array *a, int n, int i)
{
    char name[32];
    snprintf(name, sizeof name, "arr_%d", i);
    const Array *found = find(a, n, name);
    if (found) return found;
    for (int k = 0; k < n; k++) if (!strncmp(a[k].name, "arr_", 4)) return NULL;
    return i < n ? &a[i] : NULL;
}

static Err fit(const Value *v, const Array *a, Tensor *out)
{
    const Fact *f = &v->stated;
    char given[256];
    *out = a->tensor;
    shape_text(&out->shape, NULL, given, sizeof given);
    if (f->dtype != DT_NONE && f->dtype != out->dtype) {
        return err_set(ERR_ARG, "the input '%s' takes %s, the sample holds %s", v->name, dtype_name(f->dtype), dtype_name(out->dtype));
    }
    if (f->shape.rank == out->shape.rank + 1) {        /* a single sample without batch dimension */
        for (int i = out->shape.rank; i > 0; i--) out->shape.dim[i] = out->shape.dim[i - 1];
        out->shape.dim[0] = 1;
        out->shape.rank++;
    }
    bool same = f->shape.rank < 0 || f->shape.rank == out->shape.rank;
    for (int i = 0; same && i < f->shape.rank; i++) same = dim_is_symbol(f->shape.dim[i]) || f->shape.dim[i] == out->shape.dim[i];
    char wanted[256];
    shape_text(&f->shape, v->graph->model->symbol, wanted, sizeof wanted);
    return same ? OK : err_set(ERR_ARG, "the input '%s' takes %s, the sample holds %s", v->name, wanted, given);
}

static Err match(Arena *arena, const Value *const *input, int n, const Array *a, int n_array, Tensor *tensor)
{
    int named = 0;
    for (int i = 0; i < n; i++) named += find(a, n_array, input[i]->name) != NULL;
    for (int i = 0; i < n; i++) {
        const Array *found = named ? find(a, n_array, input[i]->name) : by_position(a, n_array, i);
        if (!found || (!named && n_array != n)) {
            char *list = arena_printf(arena, "%s", "");
            for (int k = 0; list && k < n; k++) list = arena_printf(arena, "%s%s'%s'", list, k ? ", " : "", input[k]->name);
            return err_set(ERR_ARG, "it holds %d arrays; the model's inputs are %s", n_array, list ? list : "");
        }
        TRY(fit(input[i], found, &tensor[i]));
    }
    return OK;
}

Err sample_read(Arena *arena, const char *path, const Value *const *input, int n, Tensor *tensor)
{
    Array *a;
    int n_array;
    Err e = read_arrays(arena, path, &a, &n_array);
    if (e == OK) e = match(arena, input, n, a, n_array, tensor);
    return e == OK ? OK : err_in(e, "sample '%s'", path);
}
