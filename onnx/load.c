/* Opening a model file, and the ModelProto at its top. */
#include "onnx/load.h"
#include "onnx/format.h"
#include "onnx/mapping.h"
#include "onnx/store.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Err load_out_of_memory(void)
{
    return err_set(ERR_NOMEM, "out of memory while reading the model");
}

Err load_string(Loader *l, Span bytes, const char **text)
{
    if (bytes.size && memchr(bytes.at, 0, bytes.size)) return err_set(ERR_FORMAT, "byte %td: a name contains a NUL byte", bytes.at - l->file);
    char *copy = arena_strndup(l->arena, (const char *)bytes.at, bytes.size);
    if (!copy) return load_out_of_memory();
    *text = copy;
    return OK;
}

Err load_nested(Loader *l)
{
    if (l->depth == WIRE_DEPTH) return err_set(ERR_FORMAT, "messages are nested more than %d deep", WIRE_DEPTH);
    l->depth++;
    return OK;
}

static Err load_opset(Loader *l, Span source, OpsetImport *opset)
{
    *opset = (OpsetImport){ .domain = "" };
    Wire w = wire_of(source, l->file);
    for (Field f; wire_next(&w, &f);) {
        if (f.tag == WIRE_TAG(OPSET_DOMAIN, WIRE_BYTES)) TRY(load_string(l, f.bytes, &opset->domain));
        if (f.tag == WIRE_TAG(OPSET_VERSION, WIRE_VARINT)) opset->version = (int64_t)f.value;
    }
    if (strcmp(opset->domain, "ai.onnx") == 0) opset->domain = "";
    return w.err;
}

Err load_opsets(Loader *l, Span message, uint32_t number, OpsetImport **opset, int *n)
{
    Wire w = wire_of(message, l->file);
    for (Field f; wire_next(&w, &f);) {
        if (f.tag != WIRE_TAG(number, WIRE_BYTES)) continue;
        OpsetImport *list = arena_grow(l->arena, *n ? *opset : NULL, *n, sizeof *list);
        if (!list) return load_out_of_memory();
        *opset = list;
        TRY(load_opset(l, f.bytes, &list[*n]));
        ++*n;
    }
    return w.err;
}

static Err load_property(Loader *l, Span source)
{
    Model *m = l->m;
    Property *list = arena_grow(l->arena, m->property, m->n_property, sizeof *list);
    if (!list) return load_out_of_memory();
    m->property = list;
    Property *p = &list[m->n_property];
    *p = (Property){ "", "" };
    Wire w = wire_of(source, l->file);
    for (Field f; wire_next(&w, &f);) {
        if (f.tag == WIRE_TAG(ENTRY_KEY, WIRE_BYTES)) TRY(load_string(l, f.bytes, &p->key));
        if (f.tag == WIRE_TAG(ENTRY_VALUE, WIRE_BYTES)) TRY(load_string(l, f.bytes, &p->value));
    }
    m->n_property++;
    return w.err;
}

static Err load_functions(Loader *l, Span function)
{
    Model *m = l->m;
    Graph **list = arena_grow(l->arena, m->function, m->n_function, sizeof *list);
    if (!list) return load_out_of_memory();
    m->function = list;
    Graph *g = NULL;
    Err err = load_function(l, function, &g);
    if (err) return err_in(err, "local function");
    list[m->n_function++] = g;
    return OK;
}

/* Everything but graphs and functions, which need the opsets. */
static Err load_head(Loader *l, Span *graph)
{
    Model *m = l->m;
    Wire w = wire_of(m->source, l->file);
    for (Field f; wire_next(&w, &f);) {
        switch (f.tag) {
        case WIRE_TAG(MODEL_IR_VERSION, WIRE_VARINT): m->ir_version = (int64_t)f.value; break;
        case WIRE_TAG(MODEL_PRODUCER_NAME, WIRE_BYTES): TRY(load_string(l, f.bytes, &m->producer_name)); break;
        case WIRE_TAG(MODEL_PRODUCER_VERSION, WIRE_BYTES): TRY(load_string(l, f.bytes, &m->producer_version)); break;
        case WIRE_TAG(MODEL_PROPERTY, WIRE_BYTES): TRY(load_property(l, f.bytes)); break;
        case WIRE_TAG(MODEL_GRAPH, WIRE_BYTES):
            if (graph->at) return err_set(ERR_FORMAT, "the file holds two graphs");
            *graph = f.bytes;
            break;
        default: break;
        }
    }
    return w.err;
}

static Err load_model(Loader *l)
{
    Model *m = l->m;
    Span graph = {0};
    TRY(load_nested(l));
    TRY(load_head(l, &graph));
    if (!graph.at) return err_set(ERR_FORMAT, "it holds no graph, so it is no ONNX model");
    TRY(load_opsets(l, m->source, MODEL_OPSET, &m->opset, &m->n_opset));
    TRY(load_graph(l, graph, NULL, NULL, &m->graph));
    Wire w = wire_of(m->source, l->file);
    for (Field f; wire_next(&w, &f);)
        if (f.tag == WIRE_TAG(MODEL_FUNCTION, WIRE_BYTES)) TRY(load_functions(l, f.bytes));
    TRY(w.err);
    return model_refresh(m);
}

static Err model_new(Model **out)
{
    Arena *arena = arena_new();
    Model *m = arena ? arena_alloc(arena, sizeof *m) : NULL;
    Names *symbols = m ? arena_alloc(arena, sizeof *symbols) : NULL;
    if (!symbols) {
        arena_free(arena);
        return load_out_of_memory();
    }
    size_t pages = (size_t)sysconf(_SC_PHYS_PAGES), page = (size_t)sysconf(_SC_PAGESIZE);
    *m = (Model){ .arena = arena, .producer_name = "", .producer_version = "", .symbols = symbols, .memory_limit = pages / 4 * 3 * page,
                  .lock = PTHREAD_MUTEX_INITIALIZER };
    *out = m;
    return OK;
}

void model_free(Model *m)
{
    if (!m) return;
    for (Mapping *mapping = m->mapping; mapping; mapping = mapping->next) mapping_clear(mapping);
    store_close(m);
    pthread_mutex_destroy(&m->lock);
    arena_free(m->arena);
}

Err model_parse(const void *bytes, size_t size, Model **out)
{
    Model *m;
    if (size == 0) return err_set(ERR_FORMAT, "the model is empty");
    TRY(model_new(&m));
    m->source = (Span){ bytes, size };
    Loader l = { .m = m, .arena = m->arena, .file = bytes };
    Err err = load_model(&l);
    if (err) {
        model_free(m);
        return err;
    }
    *out = m;
    return OK;
}

static Err open_model(const char *path, int *fd, size_t *size)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);       /* a FIFO without a writer must not block */
    if (*fd < 0) return err_set(ERR_IO, "cannot open it: %s", strerror(errno));
    struct stat st;
    if (fstat(*fd, &st) != 0) return err_set(ERR_IO, "cannot read it: %s", strerror(errno));
    if (S_ISDIR(st.st_mode)) return err_set(ERR_FORMAT, "this is a folder, not a file");
    if (!S_ISREG(st.st_mode)) return err_set(ERR_FORMAT, "this is no regular file but a pipe, socket or device");
    if (st.st_size == 0) return err_set(ERR_FORMAT, "the file is empty");
    *size = (size_t)st.st_size;
    return OK;
}

static Err map_model(Model *m, const char *path)
{
    int fd = -1;
    size_t size = 0;
    Mapping *mapping = NULL;
    Err err = open_model(path, &fd, &size);
    if (!err) err = mapping_new(m, &mapping);
    if (!err) err = mapping_file(mapping, fd, 0, size, false);
    if (fd >= 0) close(fd);
    if (err) return err;
    m->source = (Span){ mapping->base, size };
    m->path = arena_strndup(m->arena, path, strlen(path));
    m->folder = folder_of(m->arena, path);
    return m->path && m->folder ? OK : load_out_of_memory();
}

static Err load_file(Model *m, const char *path)
{
    TRY(map_model(m, path));
    ModelFormat format = format_of_bytes(m->source.at, m->source.size);
    if (format != FORMAT_UNKNOWN) return err_set(ERR_UNSUPPORTED, "this is %s, not an ONNX model", format_name(format));
    Loader l = { .m = m, .arena = m->arena, .file = m->source.at };
    TRY(load_model(&l));
    return external_check(m);
}

Err model_load(const char *path, Model **out)
{
    Model *m;
    TRY(model_new(&m));
    Err err = load_file(m, path);
    if (err) {
        model_free(m);
        return err_in(err, "%s", path);
    }
    *out = m;
    return OK;
}
