/* Data files of an unedited model, copied to where its copy will look for them. */
#include "onnx/names.h"
#include "onnx/store.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COMPARED = 1 << 16 };

typedef struct Copying { Model *m; Arena *arena; const char *folder; bool force; DataFiles *replacing; Names done; } Copying;

/* Makes the folders that lie between `folder` and the file. */
static Err make_folders(char *path, size_t folder)
{
    for (size_t i = folder + 1; path[i]; i++) {
        if (path[i] != '/') continue;
        path[i] = 0;
        int failed = mkdir(path, 0777) != 0 && errno != EEXIST;
        Err err = failed ? err_set(ERR_IO, "cannot make the folder %s: %s", path, strerror(errno)) : OK;
        path[i] = '/';
        TRY(err);
    }
    return OK;
}

static Err same_bytes(int a, int b, int64_t size, bool *same)
{
    uint8_t x[COMPARED], y[COMPARED];
    *same = true;
    for (int64_t at = 0; at < size && *same; at += COMPARED) {
        size_t n = size - at < COMPARED ? (size_t)(size - at) : COMPARED;
        if (pread(a, x, n, at) != (ssize_t)n || pread(b, y, n, at) != (ssize_t)n) return err_set(ERR_IO, "cannot compare data files: %s", strerror(errno));
        *same = memcmp(x, y, n) == 0;
    }
    return OK;
}

/* What stands at the target already: nothing, the same bytes, or something else. */
static Err compare(int source, int64_t size, const char *target, bool *exists, bool *same)
{
    struct stat a, b;
    int fd = open(target, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *exists = fd >= 0;
    *same = false;
    if (fd < 0) return OK;
    Err err = OK;
    if (fstat(source, &a) != 0 || fstat(fd, &b) != 0) err = err_set(ERR_IO, "cannot read %s: %s", target, strerror(errno));
    else if (a.st_dev == b.st_dev && a.st_ino == b.st_ino) *same = true;
    else if (S_ISREG(b.st_mode) && b.st_size == size) err = same_bytes(source, fd, size, same);
    close(fd);
    return err;
}

static Err keep_for_later(Copying *x, const OutFile *f, const char *location)
{
    DataFile *list = arena_grow(x->arena, x->replacing->at, x->replacing->n, sizeof *list);
    if (!list) return err_set(ERR_NOMEM, "out of memory");
    list[x->replacing->n++] = (DataFile){ .file = *f, .location = location };
    x->replacing->at = list;
    return OK;
}

/* A new file gets its name at once: no model that stands there reads it. */
static Err copy_to(Copying *x, int source, int64_t size, const char *target, const char *replaces)
{
    OutFile f;
    Err err = out_open(x->arena, target, &f);
    if (!err) err = out_copy(&f, 0, source, 0, size);
    if (!err && replaces) {
        err = keep_for_later(x, &f, replaces);
        if (!err) return OK;
    }
    if (!err) err = out_sync(&f);
    if (!err) err = out_commit(&f);
    out_close(&f);
    return err;
}

static Err copy_file(Copying *x, const char *location)
{
    int fd;
    int64_t size;
    char *target = arena_printf(x->arena, "%s/%s", x->folder, location);
    if (!target) return err_set(ERR_NOMEM, "out of memory");
    TRY(external_open(x->m, location, &fd, &size));
    bool exists, same;
    Err err = make_folders(target, strlen(x->folder));
    if (!err) err = compare(fd, size, target, &exists, &same);
    if (!err && exists && !same && !x->force) err = err_set(ERR_ARG, "%s exists and is another file than the model's data; --force replaces it", target);
    if (!err && !same) err = copy_to(x, fd, size, target, exists ? location : NULL);
    close(fd);
    return err;
}

static Err copy_constant(Constant *c, void *user)
{
    Copying *x = user;
    if (c->storage != STORED_EXTERNAL || names_get(&x->done, c->location)) return OK;
    TRY(copy_file(x, c->location));
    return names_put(x->arena, &x->done, c->location, c);
}

Err external_copy(Model *m, Arena *arena, const char *output_path, bool force, DataFiles *replacing)
{
    Copying x = { .m = m, .arena = arena, .folder = folder_of(arena, output_path), .force = force, .replacing = replacing };
    if (!x.folder) return err_set(ERR_NOMEM, "out of memory");
    return model_each_constant(m, copy_constant, &x);
}
