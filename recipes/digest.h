/* Facts about files on disk: their size, what gzip would make of it. */
#pragma once
#include "onnx/model.h"

typedef struct FileSizes {
    int64_t bytes;             /* of all files together */
    int64_t gzip_bytes;        /* of all files together, compressed at level 6 */
    bool    estimated;         /* gzip_bytes comes from samples */
} FileSizes;

enum { GZIP_EXACT = 4 << 20, GZIP_SAMPLE = 16 << 10, GZIP_SAMPLES = 64 };

/* Up to GZIP_EXACT bytes in all are compressed as a whole; otherwise GZIP_SAMPLES pieces of GZIP_SAMPLE bytes at even distances are, in parallel, each
 * with what stands before it in the window. ERR_IO, ERR_NOMEM. */
Err files_measure(const char *const *path, int n, FileSizes *out);
/* The sum of the files' sizes alone. ERR_IO. */
Err files_weigh(const char *const *path, int n, int64_t *bytes);

/* The model's file and the files with its external data, each once, in the order of first use; in the model's arena. ERR_NOMEM. */
Err model_files(Model *m, const char ***path, int *n);
/* The files that the last model_save of an edited model wrote, given its path. In the model's arena. ERR_NOMEM. */
Err model_files_saved(Model *m, const char *output, const char ***path, int *n);
