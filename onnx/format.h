/* Which format a file has, by its content: so that a model of another framework is answered with the way to export it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "onnx/error.h"

typedef enum ModelFormat {
    FORMAT_UNKNOWN,            /* none of those below; ONNX has no signature, so it is among these */
    FORMAT_TORCH,              /* .pt, .pth, .bin: a zip file or a pickle of PyTorch, TorchScript included */
    FORMAT_SAFETENSORS, FORMAT_TFLITE, FORMAT_HDF5, FORMAT_KERAS, FORMAT_GGUF,
    FORMAT_ORT,                /* ONNX Runtime's own */
    FORMAT_NUMPY,              /* .npy or .npz */
    FORMAT_ZIP, FORMAT_XML,    /* OpenVINO's .xml among others */
    FORMAT_LFS,                /* the few lines that Git LFS leaves in place of a file */
    FORMAT_HTML,               /* a web page, which a download has stored */
    FORMAT_COMPRESSED,         /* gzip, bzip2, xz, zstd; also tar */
    FORMAT_SAVED_MODEL,        /* a TensorFlow folder */
    FORMAT_FOLDER,             /* any other folder */
} ModelFormat;

ModelFormat format_of_bytes(const void *bytes, size_t size);
/* The same for a path, folders included. ERR_IO. */
Err         model_format_of(const char *path, ModelFormat *format);
const char *format_name(ModelFormat format);       /* "a PyTorch checkpoint" */
