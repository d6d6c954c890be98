/* Saving: decide the form of every constant, collect what was edited, write the data file, encode, write, name the files.
 *
 * An unedited model is its source; only its data files have to be at hand beside the output. */
#include "onnx/encode.h"
#include "onnx/store.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXTERNAL_FROM = 1024, SPARSE_OVERHEAD = 64, SPARSE_IR_VERSION = 6, EDIT_ROOM = 1 << 20 };
#define LARGEST_FILE INT64_C(2147483647)       /* of a protobuf message in most readers */

typedef struct Saving {
    Model *m;
    const SaveOptions *o;
    const char *path;
    Encoder encoder;
    bool edited, external;         /* anything differs from the source; some tensor goes to the data file */
    bool move_out;                 /* second attempt: the file would be too large */
    OutFile model;
    DataFiles data;                /* to be named together with the model: the one that is made, or those of an unedited model that replace others */
    OutFile between;               /* the model while its data has second names */
    bool needs_second;             /* a model that knows the data by these names stands in the folder */
    bool from_store;               /* the store became the data file */
    bool in_memory;                /* no files at all */
} Saving;

static Err out_of_memory(void)
{
    return err_set(ERR_NOMEM, "out of memory while saving the model");
}

static bool convertible(const Constant *c)
{
    return dtype_bits(c->tensor.dtype) > 0 && (c->tensor.shape.rank >= 0 || c->storage != STORED_SPARSE);
}

/* Whether an initializer is smaller as values and linear int64 indices. */
static Err sparse_is_smaller(Saving *s, Constant *c, bool *smaller)
{
    *smaller = false;
    if (dtype_bits(c->tensor.dtype) < 8 || c->tensor.shape.rank < 0 || c->tensor.bytes <= SPARSE_OVERHEAD || !*c->name) return OK;
    TRY(constant_fetch(s->m, c));
    size_t unit = (size_t)dtype_bits(c->tensor.dtype) / 8;
    *smaller = (size_t)count_nonzeros(&c->tensor) * (unit + sizeof(int64_t)) + SPARSE_OVERHEAD < c->tensor.bytes;
    return constant_release(s->m, c);
}

static Err choose_form(Saving *s, const Value *v)
{
    Constant *c = v->constant;
    const SaveOptions *o = s->o;
    bool sparse = c->storage == STORED_SPARSE;
    if (!convertible(c)) return OK;
    if (o->form == FORM_SPARSE && !v->is_input && !sparse) TRY(sparse_is_smaller(s, c, &sparse));
    if (o->form == FORM_DENSE) sparse = false;
    bool large = c->tensor.bytes >= EXTERNAL_FROM;
    if (sparse) c->saved.form = STORED_SPARSE;
    else if (o->data == DATA_INLINE && c->storage == STORED_EXTERNAL) c->saved.form = STORED_RAW;
    else if ((o->data == DATA_EXTERNAL || s->move_out) && large) c->saved.form = STORED_EXTERNAL;
    else if (c->storage == STORED_SPARSE) c->saved.form = STORED_RAW;
    return OK;
}

static Err choose_default(Constant *c, void *user)
{
    const Saving *s = user;
    c->saved.form = c->source.at ? c->storage : STORED_RAW;
    c->saved.offset = c->offset;
    c->saved.location = c->location;
    if (s->o->data == DATA_INLINE && c->storage == STORED_EXTERNAL) c->saved.form = STORED_RAW;
    return OK;
}

static Err choose_forms(Graph *g, void *user)
{
    for (int i = 0; i < g->n_value; i++) {
        const Value *v = g->value[i];
        if (v->constant && !v->producer && !v->constant->in_attribute) TRY(choose_form(user, v));
    }
    return OK;
}

static bool is_new_form(const Constant *c)
{
    return c->edited || !c->source.at || c->saved.form != c->storage;
}

static Err note_edit(Saving *s, Edit e)
{
    if (!e.at) return OK;                              /* new objects are reached through what they were added to */
    Encoder *x = &s->encoder;
    Edit *list = arena_grow(x->arena, x->edit, x->n_edit, sizeof *list);
    if (!list) return out_of_memory();
    x->edit = list;
    list[x->n_edit++] = e;
    return OK;
}

static Err look_at_constant(Constant *c, void *user)
{
    Saving *s = user;
    s->edited |= is_new_form(c);
    s->external |= c->saved.form == STORED_EXTERNAL;
    return OK;
}

static Err note_constant(Constant *c, void *user)
{
    if (!is_new_form(c) && c->saved.form != STORED_EXTERNAL) return OK;
    return note_edit(user, (Edit){ .at = c->source.at, .kind = EDIT_CONSTANT, .constant = c });
}

static Err note_node(Saving *s, const Node *n)
{
    if (n->edited) {
        s->edited = true;
        TRY(note_edit(s, (Edit){ .at = n->source.at, .kind = EDIT_NODE, .node = n }));
    }
    for (int i = 0; i < n->n_attr; i++) {
        if (!n->attr[i].edited) continue;
        s->edited = true;
        TRY(note_edit(s, (Edit){ .at = n->attr[i].source.at, .kind = EDIT_ATTR, .attr = &n->attr[i] }));
    }
    return OK;
}

static Err note_graph(Graph *g, void *user)
{
    Saving *s = user;
    if (g->edited) {
        s->edited = true;
        TRY(note_edit(s, (Edit){ .at = g->source.at, .kind = EDIT_GRAPH, .graph = g }));
    }
    for (int i = 0; i < g->n_node; i++) TRY(note_node(s, g->node[i]));
    return OK;
}

static int by_address(const void *a, const void *b)
{
    const uint8_t *p = ((const Edit *)a)->at, *q = ((const Edit *)b)->at;
    return p < q ? -1 : p > q;
}

static Err collect(Saving *s)
{
    Model *m = s->m;
    s->encoder.n_edit = 0;
    s->encoder.edit = NULL;
    s->edited = m->edited;
    s->external = false;
    TRY(model_each_constant(m, choose_default, s));
    TRY(model_each_graph(m, choose_forms, s));
    TRY(model_each_constant(m, look_at_constant, s));
    TRY(model_each_graph(m, note_graph, s));
    TRY(model_each_constant(m, note_constant, s));
    if (s->encoder.n_edit > 0) qsort(s->encoder.edit, (size_t)s->encoder.n_edit, sizeof(Edit), by_address);
    return OK;
}

/* Writes one external tensor to the data file, from wherever its elements are. */
static Err write_data(Constant *c, void *user)
{
    Saving *s = user;
    Model *m = s->m;
    OutFile *data = &s->data.at[0].file;
    if (c->saved.form != STORED_EXTERNAL) return OK;
    c->saved.location = s->data.at[0].location;
    c->saved.offset = c->stored - 1;
    if (s->from_store && c->stored && !c->tensor.data) return OK;      /* there already */
    c->saved.offset = data_align(data->size, c->tensor.bytes);
    if (!c->edited && c->storage == STORED_EXTERNAL) {
        int fd;
        TRY(external_open_for(m, c, &fd));
        Err err = out_copy(data, c->saved.offset, fd, c->offset, (int64_t)c->tensor.bytes);
        close(fd);
        return err;
    }
    bool fetched = c->tensor.data != NULL;
    TRY(constant_fetch(m, c));
    TRY(out_write_at(data, c->saved.offset, c->tensor.data, c->tensor.bytes));
    return fetched ? OK : constant_release(m, c);
}

typedef struct Place { Model *m; const char *path; struct stat now; const char *seen; bool taken; } Place;

static Err compare_place(Constant *c, void *user)
{
    Place *p = user;
    struct stat st;
    if (c->storage != STORED_EXTERNAL || p->taken || (p->seen && strcmp(p->seen, c->location) == 0)) return OK;
    int fd;
    int64_t size;
    TRY(external_open(p->m, c->location, &fd, &size));
    p->taken = fstat(fd, &st) == 0 && st.st_dev == p->now.st_dev && st.st_ino == p->now.st_ino;
    p->seen = c->location;
    close(fd);
    return OK;
}

/* Whether the model reads external data from the file that stands at path. */
static Err is_source_of_data(Model *m, const char *path, bool *yes)
{
    Place p = { .m = m, .path = path };
    *yes = false;
    if (!m->folder || stat(path, &p.now) != 0) return OK;
    TRY(model_each_constant(m, compare_place, &p));
    *yes = p.taken;
    return OK;
}

/* The new data file must not take the place of one that the model reads. */
static Err check_data(Model *m, const char *path, bool force)
{
    bool taken = false;
    if (!force) TRY(is_source_of_data(m, path, &taken));
    return taken ? err_set(ERR_ARG, "%s holds data of the model that was read; --force replaces it", path) : OK;
}

static Err open_data(Saving *s)
{
    Store *store = s->m->store;
    DataFile *data = arena_array(s->encoder.arena, 1, sizeof *data);
    char *path = arena_printf(s->encoder.arena, "%s.data", s->path);
    const char *slash = strrchr(s->path, '/');
    if (!path || !data) return out_of_memory();
    data->location = path + (slash ? slash + 1 - s->path : 0);
    s->from_store = store && !store->committed && strcmp(store->file.path, path) == 0;
    if (s->from_store) data->file = store->file;
    else TRY(out_open(s->encoder.arena, path, &data->file));
    s->data = (DataFiles){ data, 1 };
    return check_data(s->m, path, s->o->force);
}

static Err check_overwrite(Model *m, const char *path, bool force)
{
    struct stat old, new;
    bool holds_data, same = m->path && stat(m->path, &old) == 0 && stat(path, &new) == 0 && old.st_dev == new.st_dev && old.st_ino == new.st_ino;
    if (same && !force) return err_set(ERR_ARG, "%s is the model that was read; --force overwrites it", path);
    TRY(is_source_of_data(m, path, &holds_data));
    return holds_data ? err_set(ERR_ARG, "%s holds data of the model that was read; a model cannot take its place", path) : OK;
}

static Err encode_all(Saving *s)
{
    TRY(collect(s));
    s->encoder.rope = (Rope){ .arena = s->encoder.arena };
    if (!s->edited) return rope_add(&s->encoder.rope, s->m->source);
    if (s->external && s->in_memory) return err_set(ERR_ARG, "a model with external data cannot be kept in one piece of memory");
    if (s->external) {
        TRY(open_data(s));
        TRY(model_each_constant(s->m, write_data, s));
    }
    return encode_model(&s->encoder);
}

static Err write_model(Saving *s, OutFile *f)
{
    TRY(out_open(s->encoder.arena, s->path, f));
    TRY(out_write(f, s->encoder.rope.piece, (size_t)s->encoder.rope.n));
    return out_sync(f);
}

static Err use_second_name(Constant *c, void *user)
{
    const Saving *s = user;
    for (int i = 0; c->saved.form == STORED_EXTERNAL && i < s->data.n; i++)
        if (strcmp(c->saved.location, s->data.at[i].location) == 0) {
            c->saved.location = s->data.at[i].second_location;
            break;
        }
    return OK;
}

/* Two files cannot be replaced at once, and the old model must never meet the new data. So the data gets a second name, and a model that knows it by this
 * name comes first. Without hard links there is no second name: then the data is replaced just before the model. */
static Err prepare_between(Saving *s)
{
    for (int i = 0; i < s->data.n; i++) {
        DataFile *d = &s->data.at[i];
        TRY(out_second_name(s->encoder.arena, &d->file, &d->second));
        if (!d->second) return OK;
        d->second_location = arena_printf(s->encoder.arena, "%s%s", d->location, d->second + strlen(d->file.path));
        if (!d->second_location) return out_of_memory();
    }
    TRY(model_each_constant(s->m, use_second_name, s));
    s->encoder.rope = (Rope){ .arena = s->encoder.arena };
    TRY(encode_model(&s->encoder));
    return write_model(s, &s->between);
}

static Err commit_all(Saving *s)
{
    if (s->between.fd >= 0) TRY(out_commit(&s->between));
    s->needs_second = s->between.fd >= 0;
    for (int i = 0; i < s->data.n; i++) TRY(out_commit(&s->data.at[i].file));
    TRY(out_commit(&s->model));
    s->needs_second = false;
    return OK;
}

static Err write_files(Saving *s)
{
    TRY(encode_all(s));
    if (s->edited && (int64_t)s->encoder.rope.size > LARGEST_FILE && !s->external && s->o->data != DATA_INLINE) {
        s->move_out = true;
        TRY(encode_all(s));
    }
    if (s->edited && (int64_t)s->encoder.rope.size > LARGEST_FILE)
        return err_set(ERR_ARG, "the model needs %zu bytes in one file, protobuf allows %" PRId64 "; external data takes more", s->encoder.rope.size, LARGEST_FILE);
    if (!s->edited && s->external) TRY(external_copy(s->m, s->encoder.arena, s->path, s->o->force, &s->data));
    TRY(write_model(s, &s->model));
    bool replaces = false;
    for (int i = 0; i < s->data.n; i++) {
        TRY(out_sync(&s->data.at[i].file));
        replaces |= access(s->data.at[i].file.path, F_OK) == 0;
    }
    if (replaces && access(s->path, F_OK) == 0) TRY(prepare_between(s));
    return commit_all(s);
}

static Err check_options(const Model *m, const SaveOptions *o)
{
    if (o->form != FORM_SPARSE || m->ir_version >= SPARSE_IR_VERSION) return OK;
    return err_set(ERR_UNSUPPORTED, "sparse initializers need IR version %d, the model has %" PRId64, SPARSE_IR_VERSION, m->ir_version);
}

static Err join(const Saving *s, uint8_t **bytes, size_t *size)
{
    const Rope *r = &s->encoder.rope;
    uint8_t *copy = block_new(r->size);
    if (!copy) return out_of_memory();
    size_t at = 0;
    for (int i = 0; i < r->n; at += r->piece[i++].size)
        if (r->piece[i].size > 0) memcpy(copy + at, r->piece[i].at, r->piece[i].size);
    *bytes = copy;
    *size = r->size;
    return OK;
}

Err model_serialize(Model *m, const SaveOptions *o, uint8_t **bytes, size_t *size)
{
    Saving s = { .m = m, .o = o, .in_memory = true };
    TRY(check_options(m, o));
    s.encoder = (Encoder){ .m = m, .arena = arena_new() };
    if (!s.encoder.arena) return out_of_memory();
    Err err = encode_all(&s);
    if (!err) err = join(&s, bytes, size);
    arena_free(s.encoder.arena);
    return err;
}

static void finish(Saving *s)
{
    for (int i = 0; i < s->data.n; i++) {
        DataFile *d = &s->data.at[i];
        if (d->second && !s->needs_second) unlink(d->second);
        if (!s->from_store) out_close(&d->file);
        else s->m->store->file = d->file;
    }
    out_close(&s->between);
    out_close(&s->model);
    arena_free(s->encoder.arena);
}

static Err check_output(Model *m, const char *path, const SaveOptions *o)
{
    TRY(check_options(m, o));
    TRY(check_overwrite(m, path, o->force));
    return out_check(m->arena, path);
}

static Err note_external(Constant *c, void *user)
{
    *(bool *)user |= c->storage == STORED_EXTERNAL;
    return OK;
}

/* What an edit adds is known later; metadata is the most of it, for which EDIT_ROOM is plenty. */
Err model_saves_data(Model *m, const SaveOptions *o, bool *yes)
{
    *yes = o->data == DATA_EXTERNAL;
    if (o->data != DATA_AS_IS) return OK;
    *yes = (int64_t)m->source.size > LARGEST_FILE - EDIT_ROOM;
    return model_each_constant(m, note_external, yes);
}

Err model_save_check(Model *m, const char *path, const SaveOptions *o)
{
    bool external;
    TRY(check_output(m, path, o));
    TRY(model_saves_data(m, o, &external));
    if (!external) return OK;
    const char *data = arena_printf(m->arena, "%s.data", path);
    if (!data) return out_of_memory();
    TRY(out_check(m->arena, data));
    return check_data(m, data, o->force);
}

Err model_save(Model *m, const char *path, const SaveOptions *o)
{
    TRY(check_output(m, path, o));
    Saving s = { .m = m, .o = o, .path = path, .model = { .fd = -1 }, .between = { .fd = -1 } };
    s.encoder = (Encoder){ .m = m, .arena = arena_new() };
    if (!s.encoder.arena) return out_of_memory();
    Err err = write_files(&s);
    if (!err && s.from_store) m->store->committed = true;
    finish(&s);
    return err;
}
