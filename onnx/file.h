/* Output files that appear whole or not at all: written without a name where the file system can (O_TMPFILE), so that a killed process leaves
 * nothing behind; otherwise under a temporary name in the same folder. */
#pragma once
#include "onnx/model.h"

typedef struct OutFile {
    int fd;                        /* -1: not open */
    const char *path, *folder;     /* where the file will stand */
    const char *temporary;         /* its name until then */
    bool named;                    /* the temporary name exists in the folder */
    int64_t size;                  /* bytes written so far */
} OutFile;

/* Texts go into the arena. ERR_IO with a sentence: no such folder, no permission ... */
Err  out_open(Arena *arena, const char *path, OutFile *f);
/* Finds out whether out_open would succeed; leaves no trace. */
Err  out_check(Arena *arena, const char *path);
/* Appends the pieces, in few system calls. ERR_IO. */
Err  out_write(OutFile *f, const Span *piece, size_t n);
/* Writes at an offset; beyond the end of the file, runs of zero bytes become holes. */
Err  out_write_at(OutFile *f, int64_t offset, const void *bytes, size_t size);
/* Copies size bytes of another file to an offset at or beyond the end, inside the kernel where that works; holes stay holes. */
Err  out_copy(OutFile *f, int64_t offset, int fd, int64_t from, int64_t size);
/* Syncs the bytes to the disk. */
Err  out_sync(OutFile *f);
/* Gives the file its name, replacing what stood there; syncs the folder. The descriptor stays open. */
Err  out_commit(OutFile *f);
/* Gives the file one more name in its folder, for good. *name: NULL where a file cannot have two. Before out_commit. ERR_NOMEM. */
Err  out_second_name(Arena *arena, OutFile *f, const char **name);
void out_close(OutFile *f);        /* forgets the file if it was not committed */
char *folder_of(Arena *arena, const char *path);       /* the folder part of a path, "." if it has none; NULL when out of memory */
