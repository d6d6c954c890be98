/* Files for tests: a fresh folder per test program, whole files in and out, walks over folders of models. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* A folder of this process's own below $TMPDIR or /tmp, removed at exit. Aborts when it cannot be made. */
const char *test_folder(void);
/* "folder/name" in one of eight rotating buffers. */
const char *test_path(const char *name);

typedef struct Bytes { unsigned char *at; size_t size; } Bytes;
Bytes read_file(const char *path);             /* at NULL if it cannot be read; the caller frees */
void  write_file(const char *path, const void *bytes, size_t size);
void  write_bytes(const char *path, Bytes b);  /* frees them */
bool  files_equal(const char *a, const char *b);
void  bytes_free(Bytes b);

/* Calls visit for every *.onnx below folder, in name order; returns how many. 0 if folder is NULL or absent. */
int   each_model(const char *folder, void (*visit)(const char *path, void *user), void *user);
