/* Any bytes as a model: refused with a reason, or loaded; then every constant can be asked for, what is saved unedited is the input, and what is
 * saved with everything edited loads again. */
#include "onnx/model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_LIMIT = 1 << 22, INPUT_LIMIT = 1 << 20 };

static void demand(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s: %s\n", what, err_text());
    abort();
}

static Err touch(Constant *c, void *user)
{
    if (constant_fetch(user, c)) return OK;            /* data and shape may disagree */
    constant_edited(c);
    return OK;
}

static Err fetch(Constant *c, void *user)
{
    if (constant_fetch(user, c)) return OK;
    return constant_release(user, c);
}

static Err edit_everything(Graph *g, void *user)
{
    (void)user;
    g->edited = true;
    for (int i = 0; i < g->n_node; i++) {
        g->node[i]->edited = true;
        for (int k = 0; k < g->node[i]->n_attr; k++)
            if (g->node[i]->attr[k].kind) g->node[i]->attr[k].edited = true;
    }
    return OK;
}

/* What the model is saved as must load again, if it can be saved at all. */
static void save(Model *m, const char *what)
{
    uint8_t *bytes;
    size_t size;
    Model *again;
    SaveOptions o = {0};
    if (model_serialize(m, &o, &bytes, &size)) return;
    demand(model_parse(bytes, size, &again) == OK, what);
    model_free(again);
    block_free(bytes);
}

static void unedited(Model *m, const uint8_t *data, size_t size)
{
    uint8_t *bytes;
    size_t saved;
    SaveOptions o = {0};
    demand(model_serialize(m, &o, &bytes, &saved) == OK, "an unedited model cannot be saved");
    demand(saved == size && memcmp(bytes, data, size) == 0, "an unedited model changed");
    block_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Model *m;
    SaveOptions sparse = { .form = FORM_SPARSE }, dense = { .form = FORM_DENSE };
    uint8_t *bytes;
    size_t n;
    if (size > INPUT_LIMIT || model_parse(data, size, &m)) return 0;
    m->memory_limit = MEMORY_LIMIT;
    demand(model_each_constant(m, fetch, m) == OK, "fetch");
    unedited(m, data, size);
    if (!model_serialize(m, &sparse, &bytes, &n)) block_free(bytes);
    if (!model_serialize(m, &dense, &bytes, &n)) block_free(bytes);
    demand(model_each_constant(m, touch, m) == OK, "edit");
    save(m, "with edited constants");
    demand(model_refresh(m) == OK, "refresh");
    demand(model_each_graph(m, edit_everything, NULL) == OK, "edit");
    demand(model_set_property(m, "fuzz", "1") == OK, "property");
    save(m, "with everything edited");
    model_free(m);
    return 0;
}
