#include "engine/cli/foreign.h"
#include "onnx/format.h"
#include "recipes/report_text.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* %1$s is the path as the user gave it, quoted for the shell; %2$s the same for Python. */
static const char torch[] =
    "In Python, with the model's class at hand, export it once:\n"
    "    import torch\n"
    "    model = ...                      # build the network, then model.load_state_dict(torch.load(%2$s)); a whole pickled model: torch.load(%2$s)\n"
    "    torch.onnx.export(model.eval(), torch.randn(1, 3, 224, 224), \"model.onnx\", input_names=[\"input\"], dynamic_axes={\"input\": {0: \"batch\"}})\n"
    "A YOLO checkpoint of Ultralytics:   yolo export model=%1$s format=onnx\n";
static const char hub[] =
    "In the shell, with the folder that holds this file and its config.json:\n"
    "    pip install 'optimum[onnxruntime]'\n"
    "    optimum-cli export onnx --model \"$(dirname %1$s)\" exported/     # writes exported/model.onnx\n";
static const char tflite[] =
    "In the shell:\n"
    "    pip install tf2onnx tensorflow\n"
    "    python -m tf2onnx.convert --tflite %1$s --output model.onnx --opset 17\n";
static const char keras[] =
    "In the shell:\n"
    "    pip install tf2onnx tensorflow\n"
    "    python -c 'import sys, keras; keras.saving.load_model(sys.argv[1]).export(\"model.onnx\", format=\"onnx\")' %1$s\n";
static const char saved_model[] =
    "In the shell:\n"
    "    pip install tf2onnx tensorflow\n"
    "    python -m tf2onnx.convert --saved-model %1$s --output model.onnx --opset 17\n";
static const char ort[] =
    "ONNX Runtime's own format cannot be turned back; use the .onnx file that it was made from.\n";
static const char xml[] =
    "OpenVINO's format cannot be turned back; use the .onnx file or the framework's model that it was made from.\n";
static const char gguf[] =
    "Take the original checkpoint instead and export it in the shell:\n"
    "    pip install 'optimum[onnxruntime]'\n"
    "    optimum-cli export onnx --model ORGANISATION/NAME exported/     # writes exported/model.onnx\n";
static const char lfs[] =
    "Git has not fetched the model itself; in its repository:\n"
    "    git lfs pull\n";
static const char page[] =
    "A download has stored a page instead of the model: use the link to the file itself (on GitHub \"Download raw file\", on Hugging Face resolve/ for blob/).\n";
static const char compressed[] =
    "Unpack it first: gzip -d, bzip2 -d, xz -d or zstd -d; an archive with\n"
    "    tar -xf %1$s\n";

static const char *answer(ModelFormat format)
{
    switch (format) {
    case FORMAT_TORCH:       return torch;
    case FORMAT_SAFETENSORS: return hub;
    case FORMAT_TFLITE:      return tflite;
    case FORMAT_HDF5: case FORMAT_KERAS: return keras;
    case FORMAT_SAVED_MODEL: return saved_model;
    case FORMAT_ORT:         return ort;
    case FORMAT_XML:         return xml;
    case FORMAT_GGUF:        return gguf;
    case FORMAT_LFS:         return lfs;
    case FORMAT_HTML:        return page;
    case FORMAT_COMPRESSED:  return compressed;
    case FORMAT_UNKNOWN: case FORMAT_NUMPY: case FORMAT_ZIP: case FORMAT_FOLDER: break;
    }
    return NULL;
}

/* The word as the shell reads it back: 'it'\''s.pt'. */
static const char *shell_word(Arena *arena, const char *word)
{
    if (!word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+/,:@%")]) return word;
    Text t = { .arena = arena };
    text_add(&t, "'");
    for (const char *p = word; *p; p++)
        if (*p == '\'') text_add(&t, "'\\''");
        else text_bytes(&t, p, 1);
    text_add(&t, "'");
    return t.failed ? word : text_done(&t);
}

static const char *python_word(Arena *arena, const char *word)
{
    Text t = { .arena = arena };
    text_add(&t, "\"");
    for (const char *p = word; *p; p++) text_add(&t, strchr("\"\\", *p) ? "\\%c" : "%c", *p);
    text_add(&t, "\"");
    return t.failed ? word : text_done(&t);
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

/* Looks into a folder: the .onnx file in it, else the format of a checkpoint that it holds. */
static void folder_help(Arena *arena, const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) return;
    const char *model = NULL, *checkpoint = NULL;
    int models = 0;
    for (const struct dirent *d; (d = readdir(folder));) {
        const char *full = arena_printf(arena, ends_with(path, "/") ? "%s%s" : "%s/%s", path, d->d_name);
        if (full && ends_with(d->d_name, ".onnx")) model = models++ ? model : full;
        if (full && (ends_with(d->d_name, ".safetensors") || strcmp(d->d_name, "pytorch_model.bin") == 0)) checkpoint = full;
    }
    closedir(folder);
    const char *shown = model ? name_shown(arena, shell_word(arena, model)) : NULL;
    if (models == 1 && shown) fprintf(stderr, "The folder holds one ONNX model; give that file:\n    --model %s\n", shown);
    else if (models > 1 && shown) fprintf(stderr, "The folder holds %d ONNX models; give one of them, such as\n    --model %s\n", models, shown);
    else if (checkpoint && (shown = name_shown(arena, shell_word(arena, checkpoint)))) {
        fprintf(stderr, "The folder holds a checkpoint but no ONNX model. ");
        fprintf(stderr, hub, shown);
    } else fprintf(stderr, "The folder holds no ONNX model (*.onnx).\n");
}

void foreign_help(Arena *arena, const char *path)
{
    ModelFormat format;
    if (model_format_of(path, &format) != OK) return;
    if (format == FORMAT_FOLDER) {
        folder_help(arena, path);
        return;
    }
    const char *text = answer(format), *shell = name_shown(arena, shell_word(arena, path)), *python = name_shown(arena, python_word(arena, path));
    if (text && shell && python) fprintf(stderr, text, shell, python);
}
