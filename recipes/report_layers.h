/* The layers of a prune report: one description of columns for the text table, its grouped form and JSON. */
#pragma once
#include "recipes/report.h"

enum { HELP_WIDTH = 100 };               /* paragraphs where the terminal's width is not known */

void layers_text(Text *t, const PruneReport *r, const ReportStyle *style);
void layers_json(Json *j, const PruneReport *r, bool inspect);       /* the member "layers" */
/* What the names have in common, with "*" for the rest: "layer1.*.conv2". In the arena; NULL: out of memory. */
const char *names_pattern(Arena *arena, const char *const *name, int n);
