#include "engine/cli/background.h"
#include <omp.h>
#include <stdio.h>

static void *run(void *user)
{
    Background *b = user;
    omp_set_num_threads(b->threads);           /* a new thread does not inherit the number */
    b->result = b->work(b->user);
    if (b->result != OK) snprintf(b->text, sizeof b->text, "%s", err_text());
    return NULL;
}

void background_start(Background *b, Err (*work)(void *), void *user, int threads)
{
    *b = (Background){ .work = work, .user = user, .threads = threads };
    b->running = threads > 1 && pthread_create(&b->thread, NULL, run, b) == 0;
    if (!b->running) run(b);
}

Err background_end(Background *b)
{
    if (b->running) pthread_join(b->thread, NULL);
    b->running = false;
    return b->result == OK ? OK : err_set(b->result, "%s", b->text);
}
