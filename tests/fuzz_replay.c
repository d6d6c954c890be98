/* Feeds the files of a corpus to a fuzz target (tests/fuzz_*.c) without libFuzzer: every input that once found a bug stays a test.
 *   fuzz_load [PATH...]     files, or folders whose files are taken; without one: tests/corpus/load, named after the program */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (!file || fstat(fileno(file), &st) != 0) { perror(path); if (file) fclose(file); return -1; }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size + (size == 0));        /* exactly the size, so that ASan sees a read past the end */
    size_t got = data ? fread(data, 1, size, file) : 0;
    fclose(file);
    if (!data || got != size) { fprintf(stderr, "%s: cannot be read\n", path); free(data); return -1; }
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

/* Inputs replayed, or -1. */
static int replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) { perror(path); return -1; }
    if (!S_ISDIR(st.st_mode)) return replay_file(path);
    DIR *folder = opendir(path);
    if (!folder) { perror(path); return -1; }
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) && count >= 0;) {
        char inner[4096];
        if (entry->d_name[0] == '.') continue;
        int length = snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        int n = length < (int)sizeof inner ? replay(inner) : -1;
        count = n < 0 ? -1 : count + n;
    }
    closedir(folder);
    return count;
}

int main(int argc, char **argv)
{
    char corpus[256];
    const char *target = strstr(argv[0], "fuzz_");
    snprintf(corpus, sizeof corpus, "tests/corpus/%s", target ? target + strlen("fuzz_") : "");
    int count = argc > 1 ? 0 : replay(corpus);
    for (int i = 1; i < argc && count >= 0; i++) {
        int n = replay(argv[i]);
        count = n < 0 ? -1 : count + n;
    }
    if (count < 0) return 1;
    fprintf(stderr, "replayed %d inputs\n", count);
    printf("%d passed, 0 failed, 0 skipped\n", count > 0);
    return count > 0 ? 0 : 1;
}
