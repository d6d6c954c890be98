#include "onnx/mapping.h"
#include "onnx/store.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DATA_ALIGN = 64, PAGE_ALIGN = 4096 };

/* Whether `path`, all links followed, lies below `folder`. */
static bool stays_inside(const char *folder, const char *path)
{
    char real_folder[PATH_MAX], real_path[PATH_MAX];
    if (!realpath(folder, real_folder) || !realpath(path, real_path)) return false;
    size_t n = strcmp(real_folder, "/") == 0 ? 0 : strlen(real_folder);
    return strncmp(real_path, real_folder, n) == 0 && real_path[n] == '/';
}

Err external_open(const Model *m, const char *location, int *fd, int64_t *size)
{
    char path[PATH_MAX];
    struct stat st;
    if (!m->folder) return err_set(ERR_IO, "external data '%s': the model was not read from a file", location);
    int n = snprintf(path, sizeof path, "%s/%s", m->folder, location);
    if (n < 0 || (size_t)n >= sizeof path) return err_set(ERR_IO, "external data '%s': the path is too long", location);
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return err_set(ERR_IO, "external data '%s': %s", path, strerror(errno));
    Err err = OK;
    if (!stays_inside(m->folder, path))
        err = err_set(ERR_FORMAT, "external data '%s' is a link that leaves the model's folder and is not followed; copy the model and its data into one folder "
                                  "(cp -L)", location);
    else if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) err = err_set(ERR_FORMAT, "external data '%s' is not a regular file", location);
    if (err) close(*fd);
    else *size = st.st_size;
    return err;
}

/* Where the elements end; the file must reach that far. */
static Err check_range(const Constant *c, int64_t size)
{
    int64_t length = c->length < 0 ? (int64_t)c->tensor.bytes : c->length, end;
    if (__builtin_add_overflow(c->offset, length, &end) || end > size)
        return err_set(ERR_FORMAT, "external data '%s' has %" PRId64 " bytes, but the tensor needs %" PRId64 " bytes from %" PRId64 " on",
                       c->location, size, length, c->offset);
    return OK;
}

Err external_open_for(const Model *m, const Constant *c, int *fd)
{
    int64_t size;
    TRY(external_open(m, c->location, fd, &size));
    Err err = check_range(c, size);
    if (err) close(*fd);
    return err;
}

typedef struct Checked { const Model *m; const char *location; int64_t size; } Checked;

static Err check_constant(Constant *c, void *user)
{
    Checked *x = user;
    if (c->storage != STORED_EXTERNAL) return OK;
    if (!x->location || strcmp(x->location, c->location) != 0) {
        int fd;
        Err err = external_open(x->m, c->location, &fd, &x->size);
        if (err) return err_in(err, "tensor '%s'", c->name);
        close(fd);
        x->location = c->location;
    }
    Err err = check_range(c, x->size);
    return err ? err_in(err, "tensor '%s'", c->name) : OK;
}


Err external_check(Model *m)
{
    Checked x = { .m = m };
    return model_each_constant(m, check_constant, &x);
}

/* A mapping starts at a page; the elements start `skip` bytes later. */
static Err map_elements(Constant *c, int fd)
{
    int64_t page = sysconf(_SC_PAGESIZE), skip = c->offset % page;
    TRY(mapping_file(c->mapping, fd, c->offset - skip, c->tensor.bytes + (size_t)skip, true));
    c->tensor.data = (uint8_t *)c->mapping->base + skip;
    return OK;
}

static Err read_elements(Constant *c, int fd, int64_t offset)
{
    TRY(mapping_block(c->mapping, c->tensor.bytes));
    for (size_t done = 0; done < c->tensor.bytes;) {
        ssize_t n = pread(fd, (uint8_t *)c->mapping->base + done, c->tensor.bytes - done, offset + (int64_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            mapping_clear(c->mapping);
            return err_set(ERR_IO, "cannot read its data: %s", n < 0 ? strerror(errno) : "the file ends too early");
        }
        done += (size_t)n;
    }
    c->tensor.data = c->mapping->base;
    return OK;
}

static int64_t element_bytes(DType t)
{
    int bits = dtype_bits(t);
    return bits < 8 ? 1 : bits >= 64 ? 8 : bits / 8;
}

Err external_fetch(Model *m, Constant *c)
{
    int fd;
    TRY(external_open_for(m, c, &fd));
    bool mappable = c->tensor.bytes > 0 && c->offset % element_bytes(c->tensor.dtype) == 0;
    Err err = mappable ? map_elements(c, fd) : read_elements(c, fd, c->offset);
    close(fd);
    return err;
}

Err model_store(Model *m, const char *output_path)
{
    Store *store = arena_alloc(m->arena, sizeof *store);
    char *path = arena_printf(m->arena, "%s.data", output_path);
    if (!store || !path) return err_set(ERR_NOMEM, "out of memory");
    store_close(m);
    TRY(out_open(m->arena, path, &store->file));
    m->store = store;
    return OK;
}

void store_close(Model *m)
{
    if (m->store) out_close(&m->store->file);
    m->store = NULL;
}

int64_t data_align(int64_t offset, size_t bytes)
{
    int64_t align = bytes >= PAGE_ALIGN ? PAGE_ALIGN : DATA_ALIGN;
    return (offset + align - 1) / align * align;
}

Err store_put(Model *m, Constant *c)
{
    OutFile *f = &m->store->file;
    int64_t offset = c->stored ? c->stored - 1 : data_align(f->size, c->tensor.bytes);
    TRY(out_write_at(f, offset, c->tensor.data, c->tensor.bytes));
    c->stored = offset + 1;
    return OK;
}

Err store_fetch(Model *m, Constant *c)
{
    return read_elements(c, m->store->file.fd, c->stored - 1);
}
