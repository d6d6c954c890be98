#include "engine/cli/progress.h"
#include <stdio.h>
#include <unistd.h>

static const double PATIENCE = 0.3, INTERVAL = 0.1;        /* seconds */

ProgressLine progress_start(const Settings *s)
{
    return (ProgressLine){ .on = !s->quiet && isatty(STDERR_FILENO), .start = seconds_now() };
}

/* Names come from the file: one that is not plain ASCII is left out rather than escaped. */
static bool harmless(const char *name)
{
    for (; *name; name++)
        if (*name < ' ' || *name > '~') return false;
    return true;
}

void progress_show(void *user, const char *what, int64_t done, int64_t total)
{
    ProgressLine *p = user;
    double now = p->on ? seconds_now() : 0;
    if (!p->on || now - p->start < PATIENCE || now - p->last < INTERVAL) return;
    p->last = now;
    p->shown = true;
    if (total > 0) fprintf(stderr, "\r%3.0f %%  %.60s\033[K", 100.0 * (double)done / (double)total, harmless(what) ? what : "");
    else fprintf(stderr, "\r%s\033[K", what);
    fflush(stderr);
}

void progress_end(ProgressLine *p)
{
    if (p->shown) fprintf(stderr, "\r\033[K");
    p->shown = false;
    fflush(stderr);
}
