#include "recipes/digest.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* pread instead of a mapping, so that a file that shrinks meanwhile gives an error and not a signal. */

static Err open_file(const char *path, int *fd, int64_t *size)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &st) != 0) return err_set(ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    *size = st.st_size;
    return OK;
}

/* Reads up to size bytes at offset; fewer only at the end of the file. */
static ssize_t read_at(int fd, void *to, size_t size, int64_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, (char *)to + done, size - done, offset + (int64_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Files as if they were laid end to end. */
typedef struct Laid { int *fd; int64_t *size; int n; } Laid;

static Err laid_read(const Laid *files, int64_t from, size_t size, unsigned char *to)
{
    for (int i = 0; i < files->n && size; i++) {
        if (from >= files->size[i]) {
            from -= files->size[i];
            continue;
        }
        size_t take = files->size[i] - from < (int64_t)size ? (size_t)(files->size[i] - from) : size;
        if (read_at(files->fd[i], to, take, from) != (ssize_t)take) return err_set(ERR_IO, "reading failed or a file became shorter");
        to += take;
        size -= take;
        from = 0;
    }
    return OK;
}

/* Feeds a file to the compressor, which counts what comes out. */
static Err deflate_file(z_stream *z, int fd, int64_t size, bool last)
{
    unsigned char in[16384], out[16384];
    for (int64_t at = 0; at < size || last; at += (int64_t)sizeof in) {
        size_t want = size - at < (int64_t)sizeof in ? (size_t)(size - at) : sizeof in;
        bool end = at + (int64_t)want == size;
        if (read_at(fd, in, want, at) != (ssize_t)want) return err_set(ERR_IO, "reading failed or a file became shorter");
        z->next_in = in;
        z->avail_in = (uInt)want;
        do {
            z->next_out = out;
            z->avail_out = sizeof out;
            deflate(z, last && end ? Z_FINISH : Z_NO_FLUSH);
        } while (z->avail_out == 0);
        if (end) break;
    }
    return OK;
}

/* Level 6 is gzip's own; a window of -15 means deflate without gzip's frame. */
static Err deflate_begin(z_stream *z, int window)
{
    enum { LEVEL = 6, MEMORY = 8 };
    *z = (z_stream){ 0 };
    if (deflateInit2(z, LEVEL, Z_DEFLATED, window, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) return err_set(ERR_NOMEM, "not enough memory to compress");
    return OK;
}

static Err deflate_whole(const Laid *files, int64_t *compressed)
{
    enum { GZIP_WINDOW = 15 + 16 };
    z_stream z;
    TRY(deflate_begin(&z, GZIP_WINDOW));
    Err e = OK;
    for (int i = 0; i < files->n && e == OK; i++) e = deflate_file(&z, files->fd[i], files->size[i], i == files->n - 1);
    *compressed = (int64_t)z.total_out;
    deflateEnd(&z);
    return e;
}

/* Bits that `GZIP_SAMPLE` bytes from `from` on take when what stands before them is in the window, as it would be in the whole. */
static Err deflate_sample(const Laid *files, int64_t from, int64_t *compressed)
{
    enum { WINDOW = 32 << 10, RAW_WINDOW = -15 };
    unsigned char in[WINDOW + GZIP_SAMPLE], out[GZIP_SAMPLE + 1024];       /* stored blocks grow by less than 1 % */
    z_stream z;
    int64_t before = from < WINDOW ? from : WINDOW;
    TRY(laid_read(files, from - before, (size_t)before + GZIP_SAMPLE, in));
    TRY(deflate_begin(&z, RAW_WINDOW));
    deflateSetDictionary(&z, in, (uInt)before);
    z.next_in = in + before;
    z.avail_in = GZIP_SAMPLE;
    z.next_out = out;
    z.avail_out = sizeof out;
    deflate(&z, Z_FINISH);
    *compressed = (int64_t)z.total_out;
    deflateEnd(&z);
    return OK;
}

static Err measure(const Laid *files, FileSizes *out)
{
    if (out->bytes <= GZIP_EXACT) return deflate_whole(files, &out->gzip_bytes);
    int64_t compressed[GZIP_SAMPLES], total = 0;
    bool failed = false;
    double stride = (double)(out->bytes - GZIP_SAMPLE) / (GZIP_SAMPLES - 1);
#pragma omp parallel for schedule(dynamic) reduction(|| : failed)
    for (int i = 0; i < GZIP_SAMPLES; i++) failed = deflate_sample(files, (int64_t)(stride * i), &compressed[i]) != OK || failed;
    if (failed) return err_set(ERR_IO, "a file could not be read to estimate its compressed size");
    for (int i = 0; i < GZIP_SAMPLES; i++) total += compressed[i];
    out->gzip_bytes = (int64_t)((double)total / ((double)GZIP_SAMPLES * GZIP_SAMPLE) * (double)out->bytes);
    out->estimated = true;
    return OK;
}

Err files_measure(const char *const *path, int n, FileSizes *out)
{
    Arena *scratch = arena_new();
    Laid files = { 0 };
    if (scratch) {
        files.fd = arena_array(scratch, (size_t)n, sizeof *files.fd);
        files.size = arena_array(scratch, (size_t)n, sizeof *files.size);
    }
    Err e = files.fd && files.size ? OK : err_set(ERR_NOMEM, "not enough memory to measure files");
    FileSizes found = { 0 };
    while (e == OK && files.n < n) {
        e = open_file(path[files.n], &files.fd[files.n], &files.size[files.n]);
        found.bytes += files.size[files.n++];
    }
    if (e == OK) e = measure(&files, &found);
    for (int i = 0; i < files.n; i++)
        if (files.fd[i] >= 0) close(files.fd[i]);
    arena_free(scratch);
    if (e == OK) *out = found;
    return e;
}

Err files_weigh(const char *const *path, int n, int64_t *bytes)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++) {
        struct stat st;
        if (stat(path[i], &st) != 0) return err_set(ERR_IO, "cannot read '%s': %s", path[i], strerror(errno));
        sum += st.st_size;
    }
    *bytes = sum;
    return OK;
}

/* ---- The files of a model ---- */

typedef struct Files { Model *model; const char **path; int n, room; } Files;

static Err files_add(Files *f, const char *path)
{
    for (int i = 0; i < f->n; i++)
        if (strcmp(f->path[i], path) == 0) return OK;
    if (f->n == f->room) {
        int room = f->room ? 2 * f->room : 4;
        const char **larger = arena_array(f->model->arena, (size_t)room, sizeof *larger);
        if (!larger) return err_set(ERR_NOMEM, "not enough memory for the names of files");
        if (f->n) memcpy(larger, f->path, (size_t)f->n * sizeof *larger);
        f->path = larger;
        f->room = room;
    }
    f->path[f->n++] = path;
    return OK;
}

static Err files_of_graph(Graph *g, void *user)
{
    Files *f = user;
    const char *last = NULL;
    for (int i = 0; i < g->n_value; i++) {
        const Constant *c = g->value[i]->constant;
        if (!c || c->storage != STORED_EXTERNAL || !c->location || (last && strcmp(last, c->location) == 0)) continue;
        last = c->location;
        const char *path = arena_printf(f->model->arena, "%s/%s", f->model->folder, c->location);
        if (!path) return err_set(ERR_NOMEM, "not enough memory for the names of files");
        TRY(files_add(f, path));
    }
    return OK;
}

Err model_files(Model *m, const char ***path, int *n)
{
    Files f = { .model = m };
    TRY(files_add(&f, m->path));
    TRY(model_each_graph(m, files_of_graph, &f));
    *path = f.path;
    *n = f.n;
    return OK;
}

static Err note_external(Constant *c, void *user)
{
    *(bool *)user |= c->saved.form == STORED_EXTERNAL;
    return OK;
}

Err model_files_saved(Model *m, const char *output, const char ***path, int *n)
{
    bool external = false;
    TRY(model_each_constant(m, note_external, &external));
    const char **list = arena_array(m->arena, 2, sizeof *list);
    if (!list) return err_set(ERR_NOMEM, "not enough memory for the names of files");
    list[0] = output;
    list[1] = arena_printf(m->arena, "%s.data", output);
    if (!list[1]) return err_set(ERR_NOMEM, "not enough memory for the names of files");
    *path = list;
    *n = external ? 2 : 1;
    return OK;
}
