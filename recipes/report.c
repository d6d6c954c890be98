/* The prune report as text. Its JSON form is in report_prune_json.c, the layers' columns of both in report_layers.c. */
#include "recipes/report.h"
#include "recipes/layers.h"
#include "recipes/report_layers.h"
#include "recipes/stamp.h"

static double ratio(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static void total_line(Text *t, const char *label)
{
    text_add(t, "  %-18s", label);
}

static void add_macs(Text *t, const PruneReport *r)
{
    int64_t before = layers_macs(r->survey, r->result, false), after = layers_macs(r->survey, r->result, true);
    total_line(t, "multiply-adds");
    if (before < 0) text_add(t, "unknown, because sizes are\n");
    else if (!r->survey->macs) text_add(t, "0\n");
    else
        text_add(t, "%s -> %s (%s of %s remain)\n", count_short(before).at, count_short(after).at, share_short(ratio(after, r->survey->macs)).at,
                 count_short(r->survey->macs).at);
}

static void add_files(Text *t, const PruneReport *r)
{
    const char *about = r->before.estimated ? "about " : "", *about_after = r->after.estimated ? "about " : "";
    total_line(t, "file");
    if (r->dry_run) text_add(t, "%s -> about the same: zeros are stored like other numbers\n", bytes_short(r->before.bytes).at);
    else text_add(t, "%s -> %s\n", bytes_short(r->before.bytes).at, bytes_short(r->after.bytes).at);
    total_line(t, "  with gzip");
    if (r->dry_run) text_add(t, "%s%s -> known once it is pruned\n", about, bytes_short(r->before.gzip_bytes).at);
    else text_add(t, "%s%s -> %s%s\n", about, bytes_short(r->before.gzip_bytes).at, about_after, bytes_short(r->after.gzip_bytes).at);
}

static void add_totals(Text *t, const PruneReport *r)
{
    const PruneResult *p = r->result;
    text_add(t, "\nTotals%s\n", r->dry_run ? " as planned" : "");
    total_line(t, "prunable weights");
    text_add(t, "%s in %d of %d layers, zeros %s -> %s\n", count_short(p->prunable).at, layers_pruned(p), p->n_layer,
             share_short(ratio(p->zeros_before, p->prunable)).at, share_short(ratio(p->zeros_after, p->prunable)).at);
    total_line(t, "all parameters");
    text_add(t, "%s, zeros %s -> %s\n", count_short(r->survey->parameters).at, share_short(ratio(r->survey->zeros, r->survey->parameters)).at,
             share_short(ratio(layers_zeros(r->survey, p), r->survey->parameters)).at);
    add_macs(t, r);
    add_files(t, r);
}

/* Figures: ImageNet top-1, measured with ONNX Runtime on real samples. */
static void add_accuracy(Text *t, const PruneReport *r, int width)
{
    enum { RISKY_PERCENT = 40 };
    Text note = { .arena = t->arena };
    text_add(&note, "Accuracy was not measured: there were no samples.");
    if (r->options->sparsity * 100 >= RISKY_PERCENT && r->result->zeros_after > r->result->zeros_before)
        text_add(&note, " From 40 %% on most networks need samples and correction to keep theirs: by magnitude alone, ResNet-18 at 50 %% falls from "
                        "74 to 52 %% top-1, MobileNetV2 at 50 %% to zero.");
    text_add(t, "\n");
    text_wrap(t, text_done(&note), 0, width ? width : HELP_WIDTH);
    t->failed |= note.failed;
}

void report_sizes_text(Text *t, const Survey *v, int width)
{
    if (!v->n_size) return;
    Text line = { .arena = t->arena };
    bool assumed = false;
    text_add(&line, "Sizes:");
    for (int i = 0; i < v->n_size; i++) {
        const SizeChoice *c = &v->size[i];
        const char *name = name_shown(t->arena, c->name);
        text_add(&line, "%s %s = %lld%s", i ? "," : "", name ? name : "?", (long long)c->size, c->given ? "" : " (assumed)");
        assumed |= !c->given;
    }
    if (assumed) text_add(&line, "; --shape NAME=SIZE sets them");
    text_wrap(t, text_done(&line), 0, width ? width : HELP_WIDTH);
    t->failed |= line.failed;
}

static void add_head(Text *t, const PruneReport *r, int width)
{
    const char *from = name_shown(t->arena, r->model->path), *to = name_shown(t->arena, r->output), *pattern = pattern_name(t->arena, &r->options->pattern);
    if (!from || !to || !pattern) {
        t->failed = true;
        return;
    }
    text_add(t, "%s -> %s%s\n", from, to, r->dry_run ? " (dry run: nothing is written)" : "");
    text_add(t, "Magnitude pruning to %s, scope %s, pattern %s%s\n", share_short(r->options->sparsity).at, scope_name(r->options->scope), pattern,
             r->options->regroup ? ", regrouped" : "");
    report_sizes_text(t, r->survey, width);
    text_add(t, "\n");
}

void report_text(Text *t, const PruneReport *r, const ReportStyle *style)
{
    add_head(t, r, style->width);
    if (r->result->n_layer) layers_text(t, r, style);
    else text_add(t, "The model has no weights that multiply activations.\n");
    add_totals(t, r);
    if (style->timings) {
        text_add(t, "\nTime\n");
        for (int i = 0; i < r->n_timing; i++) {
            total_line(t, r->timing[i].what);
            text_add(t, "%s\n", seconds_short(r->timing[i].seconds).at);
        }
        total_line(t, "peak memory");
        text_add(t, "%s with %d thread%s\n", bytes_short(r->peak_bytes).at, r->threads, r->threads == 1 ? "" : "s");
    }
    add_accuracy(t, r, style->width);
}
