/* Speed against imposed sparsity: what this processor would gain from zeros. */
#include "engine/cli/bench_report.h"
#include "kernels/kernels.h"
#include "recipes/layers.h"
#include "recipes/report_chart.h"
#include <math.h>
#include <string.h>

enum { MOST_POINTS = 32 };

typedef struct Point {
    double asked, zeros;           /* of the prunable weights: asked for, reached */
    double bound;                  /* all multiply-adds over those that are left: the layers that stay dense included; NaN: unknown */
    double median, items;          /* seconds; a second */
    Ratio  dense, rival;           /* times as fast as the dense model, as the other runtime */
} Point;

typedef struct Sweep { Point point[MOST_POINTS]; int n; Pattern pattern; Contender dense, rival; bool against; } Sweep;

static Err parse(const Settings *s, Sweep *w)
{
    char word[32];
    if (s->pattern) TRY(pattern_parse(s->pattern, &w->pattern));
    for (const char *p = s->sweep; *p;) {
        size_t n = strcspn(p, ",");
        if (w->n == MOST_POINTS || n >= sizeof word) return err_set(ERR_ARG, "--sparsity-sweep takes at most %d sparsities such as 0,.5,.9.", MOST_POINTS);
        memcpy(word, p, n);
        word[n] = 0;
        TRY(share_parse(word, "the sparsity", &w->point[w->n].asked));
        if (w->n && w->point[w->n].asked <= w->point[w->n - 1].asked) return err_set(ERR_ARG, "--sparsity-sweep takes sparsities in ascending order.");
        w->n++;
        p += n + (p[n] == ',');
    }
    return OK;
}

/* Prunes the loaded model in memory. */
static Err impose(const Bench *b, Model *m, const Sweep *w, Point *p)
{
    Survey *survey;
    PruneResult *r;
    PruneOptions o = { .sparsity = p->asked, .pattern = w->pattern };
    TRY(model_survey(m, b->choice, &survey));
    TRY(prune_plan(m, survey->weight, survey->n_weight, &o, NULL, &r));
    TRY(prune_apply(m, &o, r, NULL));
    p->zeros = r->prunable ? (double)r->zeros_after / (double)r->prunable : 0;
    int64_t left = layers_macs(survey, r, true);
    p->bound = left > 0 ? (double)survey->macs / (double)left : NAN;
    return OK;
}

static Err race_point(Bench *b, Executor *x, Sweep *w, Point *p)
{
    Contender own;
    TRY(executor_load(b, b->settings->model, x));
    if (p->asked > 0) TRY(impose(b, x->model, w, p));
    else p->bound = 1;
    TRY(executor_start(b, x, false, &own));
    own.name = "oneshot";
    TRY(bench_race(b, (Contender *[]){ &own, &w->dense, &w->rival }, w->against ? 3 : 2));
    p->median = series_quantile(&own.latency, 0.5);
    p->items = (double)b->batch * own.latency.n / own.busy;
    p->dense = ratio_of(b, &own, &w->dense);
    if (w->against) p->rival = ratio_of(b, &own, &w->rival);
    return OK;
}

static Err race_all(Bench *b, Sweep *w)
{
    for (int i = 0; i < w->n; i++) {
        Executor x = { 0 };
        Err e = race_point(b, &x, w, &w->point[i]);
        executor_stop(&x);
        TRY(e);
    }
    return OK;
}

/* Showing -------------------------------------------------------------------------------------------------------------------------------- */

static void sweep_text(Text *t, const Bench *b, const Sweep *w)
{
    bench_head(t, b, w->dense.path);
    text_add(t, "\n%8s %8s %10s %10s %10s %18s %8s", "sparsity", "zeros", "items/s", "median ms", "to dense", "middle half", "bound");
    if (w->against) text_add(t, "   %s %s %18s", w->rival.name, w->rival.version, "middle half");
    text_add(t, "\n");
    for (int i = 0; i < w->n; i++) {
        const Point *p = &w->point[i];
        text_add(t, "%8s %8s %10.2f %10.3f %9.2fx %7.2f to %6.2fx %7.2fx", share_short(p->asked).at, share_short(p->zeros).at, p->items, p->median * 1e3, p->dense.median,
                 p->dense.low, p->dense.high, p->bound);
        if (w->against) text_add(t, "   %17.2fx %7.2f to %6.2fx", p->rival.median, p->rival.low, p->rival.high);
        text_add(t, "\n");
    }
    text_add(t, "\nzeros: of the prunable weights; the first and the last layer and others stay dense, as when pruning.\n"
                "to dense: how many times as fast as the dense model in rounds that alternate, and the quartiles of the rounds' ratios.\n"
                "bound: all multiply-adds over those that are left.\n");
}

static void ratio_json(Json *j, const char *key, const char *low, const char *high, const Ratio *r)
{
    json_number(j, key, r->median);
    json_number(j, low, r->low);
    json_number(j, high, r->high);
}

static void sweep_json(Json *j, const Sweep *w)
{
    json_array(j, "sweep");
    for (int i = 0; i < w->n; i++) {
        const Point *p = &w->point[i];
        json_line(j, NULL);
        json_number(j, "sparsity", p->asked);
        json_number(j, "zeros", p->zeros);
        json_number(j, "median", p->median * 1e3);
        json_number(j, "items_per_sec", p->items);
        ratio_json(j, "speedup", "speedup_25", "speedup_75", &p->dense);
        json_number(j, "bound", p->bound);
        if (w->against) ratio_json(j, "against", "against_25", "against_75", &p->rival);
        json_end(j);
    }
    json_end(j);
}

enum { BOUND_POINTS = 100 };
typedef struct Curve { double x[MOST_POINTS], y[MOST_POINTS], low[MOST_POINTS], high[MOST_POINTS]; } Curve;

static void draw(Text *t, const Bench *b, const Sweep *w)
{
    Curve curve[2];
    double bound_x[BOUND_POINTS], bound_y[BOUND_POINTS];
    const char *slash = strrchr(w->dense.path, '/'), *name = slash ? slash + 1 : w->dense.path;
    for (int i = 0; i < w->n; i++)
        for (int k = 0; k < 2; k++) {
            const Ratio *r = k ? &w->point[i].rival : &w->point[i].dense;
            curve[k].x[i] = 100 * w->point[i].asked;
            curve[k].y[i] = r->median, curve[k].low[i] = r->low, curve[k].high[i] = r->high;
        }
    double last = w->point[w->n - 1].asked;
    for (int i = 0; i < BOUND_POINTS; i++) bound_x[i] = 100 * last * i / (BOUND_POINTS - 1), bound_y[i] = 1 / (1 - bound_x[i] / 100);
    ChartLine line[3] = { { "over dense", curve[0].x, curve[0].y, w->n, curve[0].low, curve[0].high, false } };
    int n = 1;
    const char *over = w->against && !strcmp(w->rival.name, "onnxruntime") ? "over ONNX Runtime" : "over DeepSparse";
    if (w->against) line[n++] = (ChartLine){ over, curve[1].x, curve[1].y, w->n, curve[1].low, curve[1].high, false };
    line[n++] = (ChartLine){ "1 / (1 - sparsity)", bound_x, bound_y, BOUND_POINTS, NULL, NULL, true };
    const char *title = arena_printf(t->arena, "%s: speedup against sparsity", name);
    const char *below = arena_printf(t->arena, "%s, %s, %d thread%s, batch %lld, float32, %s", b->processor.name, kernels_best()->isa, b->threads,
                                     b->threads == 1 ? "" : "s", (long long)b->batch, b->settings->pattern ? b->settings->pattern : "unstructured");
    chart_svg(t, &(Chart){ title ? title : name, below, "sparsity", "times as fast", " %", "x", 0, line, n });
}

static Err show(Bench *b, const Sweep *w)
{
    const Settings *s = b->settings;
    Text text = { .arena = b->arena }, json = { .arena = b->arena }, svg = { .arena = b->arena };
    if (s->svg) {
        draw(&svg, b, w);
        TRY(console_json(b->arena, s->svg, &svg));
    }
    if (s->json) {
        Json j = { .out = &json };
        bench_json_head(&j, b, &w->dense);
        sweep_json(&j, w);
        json_end(&j);
        TRY(text_check(&json));
        TRY(console_json(b->arena, s->json, &json));
    }
    if (s->quiet || (s->json && !strcmp(s->json, "-"))) return OK;
    sweep_text(&text, b, w);
    return console_print(&text);
}

Err bench_sweep(Bench *b)
{
    Sweep w = { 0 };
    Executor dense = { 0 };
    Rival rival = { .fd = -1 };
    TRY(parse(b->settings, &w));
    w.against = b->settings->against != NULL;
    Err e = executor_load(b, b->settings->model, &dense);
    if (e == OK) e = executor_start(b, &dense, true, &w.dense);
    w.dense.name = "dense";
    if (e == OK && w.against) e = rival_start(b, b->settings->model, &rival, &w.rival);
    if (e == OK) e = race_all(b, &w);
    if (e == OK) e = show(b, &w);
    rival_stop(&rival);
    executor_stop(&dense);
    return e;
}
