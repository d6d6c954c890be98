#include "onnx/format.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOKED_AT = 4096 };         /* bytes at the start of a file that tell its format */

static bool holds(const uint8_t *bytes, size_t size, size_t at, const char *text)
{
    size_t n = strlen(text);
    return at + n <= size && memcmp(bytes + at, text, n) == 0;
}

static bool mentions(const uint8_t *bytes, size_t size, const char *text)
{
    return memmem(bytes, size < LOOKED_AT ? size : LOOKED_AT, text, strlen(text)) != NULL;
}

/* A length in 8 bytes, then as much JSON: https://github.com/huggingface/safetensors#format */
static bool is_safetensors(const uint8_t *bytes, size_t size)
{
    if (size < 10 || bytes[8] != '{') return false;
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    return header >= 2 && header < UINT64_C(100000000) && (bytes[9] == '"' || bytes[9] == '}' || bytes[9] == ' ' || bytes[9] == '\n');
}

static ModelFormat format_of_zip(const uint8_t *bytes, size_t size)
{
    if (mentions(bytes, size, "data.pkl") || mentions(bytes, size, "/version") || mentions(bytes, size, "constants.pkl")) return FORMAT_TORCH;
    if (mentions(bytes, size, "metadata.json") || mentions(bytes, size, "model.weights.h5")) return FORMAT_KERAS;
    return mentions(bytes, size, ".npy") ? FORMAT_NUMPY : FORMAT_ZIP;
}

static bool is_compressed(const uint8_t *bytes, size_t size)
{
    return holds(bytes, size, 0, "\x1f\x8b\x08") || holds(bytes, size, 0, "\xfd" "7zXZ") || holds(bytes, size, 0, "\x28\xb5\x2f\xfd")
        || (holds(bytes, size, 0, "BZh") && holds(bytes, size, 4, "1AY&SY")) || holds(bytes, size, 257, "ustar");
}

static bool is_page(const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    while (at < size && at < LOOKED_AT && strchr(" \t\r\n", bytes[at]) && bytes[at]) at++;
    const char *text = (const char *)bytes + at;
    return (size - at >= 14 && strncasecmp(text, "<!DOCTYPE html", 14) == 0) || (size - at >= 5 && strncasecmp(text, "<html", 5) == 0);
}

ModelFormat format_of_bytes(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    if (holds(bytes, size, 0, "PK\3\4")) return format_of_zip(bytes, size);
    if (size > 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5 && bytes[size - 1] == '.') return FORMAT_TORCH;
    if (holds(bytes, size, 0, "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.")) return FORMAT_TORCH;     /* its magic number, pickled */
    if (holds(bytes, size, 4, "TFL3")) return FORMAT_TFLITE;
    if (holds(bytes, size, 4, "ORTM")) return FORMAT_ORT;
    if (holds(bytes, size, 0, "\x89HDF\r\n\x1a\n")) return FORMAT_HDF5;
    if (holds(bytes, size, 0, "GGUF")) return FORMAT_GGUF;
    if (holds(bytes, size, 0, "\x93NUMPY")) return FORMAT_NUMPY;
    if (holds(bytes, size, 0, "<?xml")) return FORMAT_XML;
    if (holds(bytes, size, 0, "version https://git-lfs.github.com/spec/")) return FORMAT_LFS;
    if (is_page(bytes, size)) return FORMAT_HTML;
    if (is_compressed(bytes, size)) return FORMAT_COMPRESSED;
    return is_safetensors(bytes, size) ? FORMAT_SAFETENSORS : FORMAT_UNKNOWN;
}

static ModelFormat format_of_folder(int fd)
{
    return faccessat(fd, "saved_model.pb", F_OK, 0) == 0 ? FORMAT_SAVED_MODEL : FORMAT_FOLDER;
}

/* The start of a file, and its last byte right behind it, which is all that format_of_bytes looks at. */
static Err format_of_file(int fd, int64_t size, ModelFormat *format)
{
    uint8_t bytes[LOOKED_AT + 1];
    ssize_t n = pread(fd, bytes, LOOKED_AT, 0);
    if (n < 0) return err_set(ERR_IO, "cannot read it: %s", strerror(errno));
    if (n == LOOKED_AT && pread(fd, &bytes[n], 1, size - 1) == 1) n++;
    *format = format_of_bytes(bytes, (size_t)n);
    return OK;
}

Err model_format_of(const char *path, ModelFormat *format)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    Err err = OK;
    *format = FORMAT_UNKNOWN;
    if (fd < 0 || fstat(fd, &st) != 0) err = err_set(ERR_IO, "cannot open it: %s", strerror(errno));
    else if (S_ISDIR(st.st_mode)) *format = format_of_folder(fd);
    else if (S_ISREG(st.st_mode)) err = format_of_file(fd, st.st_size, format);
    if (fd >= 0) close(fd);
    return err ? err_in(err, "%s", path) : OK;
}

const char *format_name(ModelFormat format)
{
    switch (format) {
    case FORMAT_TORCH: return "a PyTorch checkpoint";
    case FORMAT_SAFETENSORS: return "a safetensors file";
    case FORMAT_TFLITE: return "a TensorFlow Lite model";
    case FORMAT_HDF5: return "an HDF5 file (Keras)";
    case FORMAT_KERAS: return "a Keras model";
    case FORMAT_GGUF: return "a GGUF model";
    case FORMAT_ORT: return "a model in ONNX Runtime's own format";
    case FORMAT_NUMPY: return "a NumPy file";
    case FORMAT_ZIP: return "a zip file";
    case FORMAT_XML: return "an XML file (OpenVINO?)";
    case FORMAT_LFS: return "a pointer of Git LFS";
    case FORMAT_HTML: return "a web page";
    case FORMAT_COMPRESSED: return "a compressed file or an archive";
    case FORMAT_SAVED_MODEL: return "a TensorFlow SavedModel folder";
    case FORMAT_FOLDER: return "a folder";
    case FORMAT_UNKNOWN: break;
    }
    return "an unknown format";
}
