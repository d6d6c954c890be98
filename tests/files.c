#include "tests/files.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[256];
static pid_t owner;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_folder(void)
{
    if (getpid() == owner) nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_folder(void)
{
    if (folder[0]) return folder;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/oneshot-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        abort();
    }
    owner = getpid();
    atexit(remove_folder);
    return folder;
}

const char *test_path(const char *name)
{
    static char path[8][512];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", test_folder(), name);
    return p;
}

Bytes read_file(const char *path)
{
    Bytes b = {0};
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f) return b;
    if (fstat(fileno(f), &st) == 0 && (b.at = malloc((size_t)st.st_size + 1))) b.size = fread(b.at, 1, (size_t)st.st_size, f);
    fclose(f);
    return b;
}

void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) {
        perror(path);
        abort();
    }
}

void write_bytes(const char *path, Bytes b)
{
    write_file(path, b.at, b.size);
    bytes_free(b);
}

bool files_equal(const char *a, const char *b)
{
    Bytes x = read_file(a), y = read_file(b);
    bool equal = x.at && y.at && x.size == y.size && memcmp(x.at, y.at, x.size) == 0;
    bytes_free(x);
    bytes_free(y);
    return equal;
}

void bytes_free(Bytes b)
{
    free(b.at);
}

static char **found;
static int n_found;

static int add_model(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)ftw;
    size_t n = strlen(path);
    if (type != FTW_F || n < 5 || strcmp(path + n - 5, ".onnx") != 0) return 0;
    if ((n_found & (n_found - 1)) == 0) found = realloc(found, (size_t)(n_found ? 2 * n_found : 1) * sizeof *found);
    if (!found || !(found[n_found] = strdup(path))) abort();
    n_found++;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int each_model(const char *top, void (*visit)(const char *path, void *user), void *user)
{
    n_found = 0;
    if (top && *top) nftw(top, add_model, 16, FTW_PHYS);
    int n = n_found;
    char **list = found;
    found = NULL;
    if (n > 0) qsort(list, (size_t)n, sizeof *list, by_name);
    for (int i = 0; i < n; i++) {
        visit(list[i], user);
        free(list[i]);
    }
    free(list);
    return n;
}
