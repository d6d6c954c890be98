#include "engine/workspace.h"
#include "onnx/arena.h"
#include <stdint.h>

enum { LINE = 64 };

size_t workspaces_bytes(const Workspaces *all)
{
    size_t bytes = 0;
    for (const Workspace *w = all->first; w; w = w->next) bytes += w->bytes;
    return bytes;
}

Workspace *workspace_share(Workspaces *all, size_t bytes)
{
    Workspace *w = all->first;
    while (w && w->bytes < bytes) w = w->next;
    if (w) w->users++;
    return w;
}

/* Those of at most so many bytes. */
static void free_unused(Workspaces *all, size_t bytes)
{
    for (Workspace **at = &all->first, *w; (w = *at); ) {
        if (w->users || w->bytes > bytes) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        block_free(w);
    }
}

Workspace *workspace_add(Workspaces *all, size_t bytes)
{
    Workspace *w = bytes > SIZE_MAX - LINE ? NULL : block_new(bytes + LINE);
    if (!w) return NULL;
    *w = (Workspace){ .bytes = bytes, .users = 1, .next = all->first };
    return all->first = w;
}

void workspace_leave(Workspaces *all, Workspace *w)
{
    w->users--;
    for (const Workspace *larger = all->first; larger; larger = larger->next)
        if (larger->bytes > w->bytes) {
            free_unused(all, w->bytes);
            return;
        }
}

void workspaces_clear(Workspaces *all) { free_unused(all, SIZE_MAX); }

void *workspace_memory(Workspace *w) { return (char *)w + LINE; }
