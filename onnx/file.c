#include "onnx/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HOLE = 64 << 10, PIECES = IOV_MAX, COPY_BUFFER = 1 << 16, STEP = 8 << 20 };

static Err io_error(const OutFile *f, const char *what)
{
    return err_set(ERR_IO, "cannot %s %s: %s", what, f->path, strerror(errno));
}

char *folder_of(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return arena_strndup(arena, ".", 1);
    return arena_strndup(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

/* Says why no file can be made: mostly it is the folder. */
static Err open_error(const OutFile *f)
{
    struct stat st;
    int why = errno;
    if (stat(f->folder, &st) != 0 && errno == ENOENT) return err_set(ERR_IO, "cannot write %s: there is no folder %s", f->path, f->folder);
    if (why == ENOTDIR) return err_set(ERR_IO, "cannot write %s: %s is not a folder", f->path, f->folder);
    if (why == EACCES || why == EROFS) return err_set(ERR_IO, "cannot write into the folder %s: %s", f->folder, strerror(why));
    errno = why;
    return io_error(f, "write");
}

/* O_TMPFILE gets its name through /proc. */
static int open_unnamed(const char *folder)
{
    return access("/proc/self/fd", X_OK) == 0 ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666) : -1;
}

Err out_open(Arena *arena, const char *path, OutFile *f)
{
    struct stat st;
    *f = (OutFile){ .fd = -1, .path = path, .folder = folder_of(arena, path) };
    if (!f->folder) return err_set(ERR_NOMEM, "out of memory");
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) return err_set(ERR_IO, "cannot write %s: it is a folder", path);
    if (exists && !S_ISREG(st.st_mode)) return err_set(ERR_IO, "cannot write %s: it is not a regular file", path);
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*name) return err_set(ERR_IO, "cannot write %s: it names a folder", path);
    f->fd = open_unnamed(f->folder);
    for (int i = 0; i < 100; i++) {
        f->temporary = arena_printf(arena, "%s/.%s.%ld-%d.tmp", f->folder, name, (long)getpid(), i);
        if (!f->temporary) return err_set(ERR_NOMEM, "out of memory");
        if (f->fd >= 0 && access(f->temporary, F_OK) != 0) return OK;
        if (f->fd >= 0) continue;
        f->fd = open(f->temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
        f->named = f->fd >= 0;
        if (f->named) return OK;
        if (errno != EEXIST) break;
    }
    return open_error(f);
}

Err out_check(Arena *arena, const char *path)
{
    OutFile f;
    Err e = out_open(arena, path, &f);
    out_close(&f);
    return e;
}

static Err write_some(OutFile *f, struct iovec *part, int n)
{
    while (n > 0) {
        ssize_t done = writev(f->fd, part, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return io_error(f, "write");
        f->size += done;
        for (; n > 0 && (size_t)done >= part->iov_len; part++, n--) done -= (ssize_t)part->iov_len;
        if (n > 0) {
            part->iov_base = (uint8_t *)part->iov_base + done;
            part->iov_len -= (size_t)done;
        }
    }
    return OK;
}

/* The disk starts on what is written while the rest is being copied, instead of when it is synced. */
Err out_write(OutFile *f, const Span *piece, size_t n)
{
    struct iovec part[PIECES];
    size_t done = 0;                   /* of the first piece left */
    for (size_t i = 0; i < n;) {
        int count = 0;
        size_t room = STEP;
        while (i < n && count < PIECES && room > 0) {
            size_t left = piece[i].size - done, take = left < room ? left : room;
            if (take > 0) part[count++] = (struct iovec){ (void *)(uintptr_t)(piece[i].at + done), take };
            room -= take;
            done = take < left ? done + take : 0;
            i += done == 0;
        }
        int64_t from = f->size;
        TRY(write_some(f, part, count));
        if (room == 0) sync_file_range(f->fd, from, f->size - from, SYNC_FILE_RANGE_WRITE);     /* a hint */
    }
    return OK;
}

static bool is_zero(const uint8_t *at, size_t size)
{
    return size == 0 || (at[0] == 0 && memcmp(at, at + 1, size - 1) == 0);
}

static Err write_at(OutFile *f, int64_t offset, const uint8_t *at, size_t size)
{
    while (size > 0) {
        ssize_t done = pwrite(f->fd, at, size, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return io_error(f, "write");
        at += done;
        size -= (size_t)done;
        offset += done;
        if (offset > f->size) f->size = offset;
    }
    return OK;
}

/* Makes the file reach to `end`, so that a hole at its end counts. */
static Err extend(OutFile *f, int64_t end)
{
    if (end <= f->size) return OK;
    if (ftruncate(f->fd, end) != 0) return io_error(f, "write");
    f->size = end;
    return OK;
}

Err out_write_at(OutFile *f, int64_t offset, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    if (offset < f->size) return write_at(f, offset, at, size);        /* over old bytes, zeros must be written */
    TRY(extend(f, offset + (int64_t)size));
    for (size_t start = 0; start < size;) {
        size_t end = start;
        while (end < size && !is_zero(at + end, size - end < HOLE ? size - end : HOLE)) end += size - end < HOLE ? size - end : HOLE;
        TRY(write_at(f, offset + (int64_t)start, at + start, end - start));
        start = end < size ? end + (size - end < HOLE ? size - end : HOLE) : end;
    }
    return OK;
}

static Err copy_by_reading(OutFile *f, int64_t offset, int fd, int64_t from, int64_t size)
{
    uint8_t buffer[COPY_BUFFER];
    while (size > 0) {
        ssize_t n = pread(fd, buffer, size < COPY_BUFFER ? (size_t)size : COPY_BUFFER, from);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return err_set(ERR_IO, "cannot read the external data: %s", n < 0 ? strerror(errno) : "the file ends too early");
        TRY(write_at(f, offset, buffer, (size_t)n));
        offset += n;
        from += n;
        size -= n;
    }
    return OK;
}

Err out_copy(OutFile *f, int64_t offset, int fd, int64_t from, int64_t size)
{
    TRY(extend(f, offset + size));         /* callers append, so what is skipped reads as zeros */
    while (size > 0) {
        int64_t data = lseek(fd, from, SEEK_DATA);             /* holes stay holes */
        if (data < 0 && errno == ENXIO) return OK;
        int64_t skip = data > from ? data - from : 0;
        if (skip >= size) return OK;
        off_t in = from + skip, out = offset + skip;
        ssize_t n = copy_file_range(fd, &in, f->fd, &out, (size_t)(size - skip), 0);
        if (n <= 0) return copy_by_reading(f, offset + skip, fd, from + skip, size - skip);
        from += skip + n;
        offset += skip + n;
        size -= skip + n;
    }
    return OK;
}

Err out_sync(OutFile *f)
{
    return fsync(f->fd) == 0 ? OK : io_error(f, "write");
}

static Err sync_folder(const OutFile *f)
{
    int fd = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return io_error(f, "sync the folder of");
    int failed = fsync(fd) != 0 && errno != EINVAL && errno != EROFS;
    close(fd);
    return failed ? io_error(f, "sync the folder of") : OK;
}

/* Where the open file can be reached, with or without a name. */
typedef struct LinkName { char at[64]; } LinkName;

static LinkName link_name(const OutFile *f)
{
    LinkName n;
    snprintf(n.at, sizeof n.at, "/proc/self/fd/%d", f->fd);
    return n;
}

Err out_second_name(Arena *arena, OutFile *f, const char **name)
{
    *name = NULL;
    for (int i = 0; i < 100; i++) {
        const char *tried = arena_printf(arena, "%s.%ld-%d", f->path, (long)getpid(), i);
        if (!tried) return err_set(ERR_NOMEM, "out of memory");
        bool made = linkat(AT_FDCWD, link_name(f).at, AT_FDCWD, tried, AT_SYMLINK_FOLLOW) == 0;
        if (made) *name = tried;
        if (made || errno != EEXIST) break;
    }
    return OK;
}

Err out_commit(OutFile *f)
{
    LinkName link = link_name(f);
    if (!f->named && linkat(AT_FDCWD, link.at, AT_FDCWD, f->path, AT_SYMLINK_FOLLOW) == 0) return sync_folder(f);
    if (!f->named && linkat(AT_FDCWD, link.at, AT_FDCWD, f->temporary, AT_SYMLINK_FOLLOW) != 0) return io_error(f, "write");
    f->named = true;
    if (rename(f->temporary, f->path) != 0) return io_error(f, "replace");
    f->named = false;
    return sync_folder(f);
}

void out_close(OutFile *f)
{
    if (f->named) unlink(f->temporary);
    f->named = false;
    if (f->fd >= 0) close(f->fd);
    f->fd = -1;
}
