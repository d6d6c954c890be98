/* External data: files beside the model, and the store for edited elements that do not fit into memory. */
#pragma once
#include "onnx/file.h"

/* Checks that every external tensor's file is there, inside the model's folder and long enough. ERR_FORMAT, ERR_IO. */
Err external_check(Model *m);
/* Opens the file at a tensor's location for reading. Links that lead out of the folder are refused. *size: bytes of the file. ERR_FORMAT, ERR_IO. */
Err external_open(const Model *m, const char *location, int *fd, int64_t *size);
/* The same for one tensor, whose elements must lie in the file. */
Err external_open_for(const Model *m, const Constant *c, int *fd);
/* Maps or reads the tensor's elements: constant_fetch for STORED_EXTERNAL. */
Err external_fetch(Model *m, Constant *c);

int64_t data_align(int64_t offset, size_t bytes);      /* where the next tensor of that many bytes starts in a data file */

/* The file that model_store opened. It becomes the data file of the first edited model that is saved. */
typedef struct Store { OutFile file; bool committed; } Store;
Err  store_put(Model *m, Constant *c);             /* writes the elements to the store and remembers where */
Err  store_fetch(Model *m, Constant *c);           /* reads them again */
void store_close(Model *m);

/* A data file of an output: it gets its name together with the model. */
typedef struct DataFile {
    OutFile file;
    const char *location;                      /* what the model calls it */
    const char *second, *second_location;      /* its other name, until the model has been replaced, and what a model would call that; NULL: none */
} DataFile;
typedef struct DataFiles { DataFile *at; int n; } DataFiles;

/* Puts the data files of an unedited model beside an output in another folder, under their own names. A different file that stands there already is
 * replaced only with force (ERR_ARG), and not here: what replaces it is added to `replacing`, also when an error follows. */
Err external_copy(Model *m, Arena *arena, const char *output_path, bool force, DataFiles *replacing);
