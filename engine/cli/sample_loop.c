#include "engine/cli/sample_loop.h"
#include "engine/cli/progress.h"

Err samples_find(SampleLoop *l, Arena *arena)
{
    Err e = samples_list(arena, l->s->data, &l->samples);
    l->failed = e == ERR_IO || e == ERR_ARG;
    return e;
}

static Err read_one(SampleLoop *l, const char *path, Tensor **in)
{
    *in = arena_array(l->scratch, (size_t)l->n_input + 1, sizeof **in);
    if (!*in) return err_set(ERR_NOMEM, "out of memory");
    Err e = sample_read(l->scratch, path, l->input, l->n_input, *in);
    l->failed = e != OK && e != ERR_NOMEM;
    return e;
}

Err samples_each(SampleLoop *l, Err (*each)(void *user, const Tensor *in, const char *path, int number), void *user)
{
    ProgressLine progress = progress_start(l->s);
    Err e = OK;
    for (int i = 0; e == OK && i < l->samples.n; i++) {
        Tensor *in;
        ArenaMark mark = arena_mark(l->scratch);
        progress_show(&progress, l->samples.path[i], i, l->samples.n);
        e = read_one(l, l->samples.path[i], &in);
        if (e == OK) e = each(user, in, l->samples.path[i], i);
        arena_reset(l->scratch, mark);
    }
    l->seconds = seconds_now() - progress.start;
    progress_end(&progress);
    return e;
}
