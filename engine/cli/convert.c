/* `oneshot convert`: the same model, its tensors stored another way. */
#include "engine/cli/console.h"
#include "recipes/digest.h"
#include <string.h>

static const Option options[] = {
    { "external-data", 0, OPTION_FLAG, FIELD(external_data), NULL, NULL, "tensors from 1 KiB on go to OUT.data beside it",
      "Move tensors of 1 KiB and more to a file beside the model, named like it with .data at the end. Models over 2 GiB are written so in any case." },
    { "inline", 0, OPTION_FLAG, FIELD(inline_data), NULL, NULL, "bring external tensors into the file", "Bring tensors that lie in other files into the model." },
    { "format", 0, OPTION_CHOICE, FIELD(format), "FORM", "sparse|dense", "sparse: sparse_initializer where smaller; dense",
      "sparse: store initializers as sparse_initializer where that makes the file smaller (more than two thirds zeros in float32). dense: the other way round. "
      "ONNX Runtime expands sparse initializers when it loads them: the file gets smaller, its memory and speed stay the same." },
    { "force", 0, OPTION_FLAG, FIELD(force), NULL, NULL, "let OUT replace IN", "Let the output replace the model that is read." },
    ROW_QUIET,
    ROW_HELP,
};

static Err weigh(const char *path, int64_t *bytes)
{
    Model *m;
    const char **file;
    int n;
    TRY(model_load(path, &m));
    Err e = model_files(m, &file, &n);
    if (e == OK) e = files_weigh(file, n, bytes);
    model_free(m);
    return e;
}

static Err report(Arena *arena, const char *in, const char *out, int64_t before)
{
    int64_t after;
    Text t = { .arena = arena };
    TRY(weigh(out, &after));
    text_add(&t, "%s -> %s, %s -> %s\n", name_shown(arena, in), name_shown(arena, out), bytes_short(before).at, bytes_short(after).at);
    return console_print(&t);
}

static int convert(Arena *arena, const Settings *s)
{
    const char *in = s->argument[0], *out = s->argument[1];
    SaveOptions o = { .data = s->external_data ? DATA_EXTERNAL : s->inline_data ? DATA_INLINE : DATA_AS_IS,
                      .form = !s->format ? FORM_AS_IS : strcmp(s->format, "sparse") == 0 ? FORM_SPARSE : FORM_DENSE, .force = s->force };
    int64_t before;
    Model *m;
    int code;
    Err e = OK;
    if (s->external_data && s->inline_data) e = err_set(ERR_ARG, "--external-data and --inline contradict each other.");
    else if (strcmp(out, "-") == 0) e = err_set(ERR_ARG, "the model cannot be written to the standard output; give a file.");
    else if (same_file(in, out) && !s->force) e = err_set(ERR_ARG, "'%s' is the model that is read; --force replaces it.", out);
    if (e != OK) return console_error(arena, e, false);
    if (!model_open(arena, s, in, &m, &code)) return code;
    e = weigh(in, &before);
    if (e == OK) e = model_save(m, out, &o);
    model_free(m);
    if (e == OK && !s->quiet) e = report(arena, in, out, before);
    return e == OK ? EXIT_DONE : console_error(arena, e, false);
}

const Command command_convert = {
    .name = "convert",
    .arguments = "IN OUT",
    .n_argument_min = 2,
    .n_argument_max = 2,
    .summary = "Copies a model; options change how its tensors are stored.",
    .about = "Writes the model again. Without options the copy is the same byte for byte; with them only the storage of tensors changes, never their values.\n",
    .examples = "oneshot convert m.onnx copy.onnx\n"
                "oneshot convert pruned.onnx small.onnx --format sparse\n"
                "oneshot convert big.onnx big-external.onnx --external-data\n",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .run = convert,
};
