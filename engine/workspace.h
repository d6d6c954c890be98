/* Memory for what is computed during a run. Plans of one model that run one after the other share it: a block serves every plan that is not too large for it, and
 * a plan for other sizes begins with pages that are there. */
#pragma once
#include <stddef.h>

typedef struct Workspace { size_t bytes; int users; struct Workspace *next; } Workspace;   /* followed by its memory */
typedef struct Workspaces { Workspace *first; } Workspaces;

size_t workspaces_bytes(const Workspaces *all);
/* A block of at least so many bytes with one user more, or NULL: there is none. */
Workspace *workspace_share(Workspaces *all, size_t bytes);
/* A new one with one user; NULL: out of memory. Anything may be in it. */
Workspace *workspace_add(Workspaces *all, size_t bytes);
/* One user less. Without users the largest one stays for those to come. */
void  workspace_leave(Workspaces *all, Workspace *w);
/* Frees those without users. */
void  workspaces_clear(Workspaces *all);
/* Aligned like memory of arenas. */
void *workspace_memory(Workspace *w);
