#include "engine/cli/bench_report.h"
#include "kernels/kernels.h"
#include <stdio.h>
#include <string.h>

static const char *shown(const Bench *b, const char *name)
{
    const char *s = name_shown(b->arena, name);
    return s ? s : "";
}

static double items_per_second(const Bench *b, const Contender *c) { return (double)b->batch * c->latency.n / c->busy; }

/* "8.31 ms", with three digits that count. */
static Short ms(double seconds)
{
    Short s;
    double x = seconds * 1e3;
    snprintf(s.at, sizeof s.at, "%.*f", x < 1 ? 4 : x < 10 ? 3 : x < 100 ? 2 : 1, x);
    return s;
}

/* Text ---------------------------------------------------------------------------------------------------------------------------------- */

void bench_head(Text *t, const Bench *b, const char *path)
{
    text_add(t, "%s, batch %lld", shown(b, path), (long long)b->batch);
    for (int i = 0; i < b->n_input; i++)
        text_add(t, "%s%s %s %s", i ? ", " : ": ", shown(b, b->name[i]), dtype_name(b->input[i].dtype), shape_shown(b->arena, &b->input[i].shape, NULL));
    text_add(t, "\n");
    if (b->sizes) text_add(t, "Sizes: %s\n", b->sizes);
    text_add(t, "%s, %s, %d thread%s", b->processor.name, kernels_best()->isa, b->threads, b->threads == 1 ? "" : "s");
    if (b->streams > 1) text_add(t, " in %d streams", b->streams);
    text_add(t, b->pinned ? " (pinned)" : " (not pinned: there are fewer processors)");
    if (b->settings->data) text_add(t, "; %d sample%s\n", b->n_sample, b->n_sample == 1 ? "" : "s");
    else text_add(t, "; random inputs, seed %llu\n", (unsigned long long)b->seed);
}

static void add_speed(Text *t, const Bench *b, Contender *const *c, int n)
{
    text_add(t, "\n%-14s%12s %10s %10s %10s %10s %10s %10s\n", "", "items/s", "median ms", "25 %", "75 %", "90 %", "99 %", "runs");
    for (int i = 0; i < n; i++) {
        const Series *l = &c[i]->latency;
        text_add(t, "%-14s%12.2f %10s %10s %10s %10s %10s %10d\n", c[i]->name, items_per_second(b, c[i]), ms(series_quantile(l, 0.5)).at,
                 ms(series_quantile(l, 0.25)).at, ms(series_quantile(l, 0.75)).at, ms(series_quantile(l, 0.9)).at, ms(series_quantile(l, 0.99)).at, l->n);
    }
}

static void add_start(Text *t, Contender *const *c, int n)
{
    text_add(t, "\n%-14s%12s %10s %10s %10s %10s\n", "", "load ms", "plan", "first run", "together", "memory");
    for (int i = 0; i < n; i++) {
        const Startup *s = &c[i]->startup;
        text_add(t, "%-14s%12s %10s %10s %10s %10s\n", c[i]->name, ms(s->load).at, s->plan > 0 ? ms(s->plan).at : "-", ms(s->first).at,
                 ms(s->load + s->plan + s->first).at, s->peak_bytes < 0 ? "?" : bytes_short(s->peak_bytes).at);
    }
}

static void add_ratios(Text *t, const Bench *b, Contender *const *c, int n)
{
    if (n > 1) text_add(t, "\n");
    for (int i = 1; i < n; i++) {
        Ratio r = ratio_of(b, c[0], c[i]);
        text_add(t, "%s is %.2f times as fast as %s%s%s (%.2f to %.2f in the middle half of %d rounds)", c[0]->name, r.median, c[i]->name,
                 c[i]->version ? " " : "", c[i]->version ? c[i]->version : "", r.low, r.high, c[i]->pace.n);
        if (c[i]->error >= 0) text_add(t, "; the outputs differ by at most %.2g of their largest magnitude", c[i]->error);
        text_add(t, ".\n");
    }
}

static Err report_text_of(const Bench *b, Contender *const *c, int n, const LayerTimes *times)
{
    Text t = { .arena = b->arena };
    bench_head(&t, b, c[0]->path);
    add_speed(&t, b, c, n);
    add_start(&t, c, n);
    add_ratios(&t, b, c, n);
    if (times) steps_text(&t, times, console_width());
    return console_print(&t);
}

/* JSON -------------------------------------------------------------------------------------------------------------------------------------- */

static const char *scenario(const Bench *b) { return b->streams > 1 ? "multistream" : "singlestream"; }

static void add_result(Json *j, const Bench *b, const Contender *c)
{
    static const struct { const char *key; double q; } quantile[] = {
        { "25.0%", 0.25 }, { "50.0%", 0.5 }, { "75.0%", 0.75 }, { "90.0%", 0.9 }, { "95.0%", 0.95 }, { "99.0%", 0.99 }, { "99.9%", 0.999 },
    };
    json_object(j, "benchmark_result");
    json_string(j, "scenario", scenario(b));
    json_number(j, "items_per_sec", items_per_second(b, c));
    json_number(j, "seconds_ran", c->busy);
    json_int(j, "iterations", c->latency.n);
    json_number(j, "median", 1e3 * series_quantile(&c->latency, 0.5));
    json_number(j, "mean", 1e3 * series_mean(&c->latency));
    json_number(j, "std", 1e3 * series_deviation(&c->latency));
    for (size_t i = 0; i < sizeof quantile / sizeof *quantile; i++) json_number(j, quantile[i].key, 1e3 * series_quantile(&c->latency, quantile[i].q));
    json_end(j);
}

static void add_startup(Json *j, const Contender *c)
{
    json_number(j, "seconds_to_load", c->startup.load);
    json_number(j, "seconds_to_plan", c->startup.plan);
    json_number(j, "seconds_to_first_run", c->startup.first);
    if (c->startup.peak_bytes < 0) json_null(j, "peak_memory_bytes");
    else json_int(j, "peak_memory_bytes", c->startup.peak_bytes);
}

/* A contender beside the first one: its engine is its key. */
static void add_contender(Json *j, const Bench *b, const Contender *first, const Contender *c)
{
    Ratio r = ratio_of(b, first, c);
    json_object(j, c->name);
    json_string(j, "version", c->version ? c->version : ONESHOT_VERSION);
    json_string(j, "model_path", c->path);
    json_number(j, "ratio", r.median);
    json_number(j, "ratio_25", r.low);
    json_number(j, "ratio_75", r.high);
    json_int(j, "rounds", c->pace.n);
    if (c->error >= 0) json_number(j, "max_relative_error", c->error);
    add_result(j, b, c);
    add_startup(j, c);
    json_end(j);
}

void bench_json_head(Json *j, const Bench *b, const Contender *c)
{
    json_object(j, NULL);
    json_string(j, "engine", "oneshot");
    json_string(j, "version", ONESHOT_VERSION);
    json_string(j, "orig_model_path", c->path);
    json_string(j, "model_path", c->path);
    json_int(j, "batch_size", b->batch);
    json_array(j, "input_shapes");
    for (int i = 0; i < b->n_input; i++) json_shape(j, NULL, &b->input[i].shape, NULL);
    json_end(j);
    json_int(j, "num_cores", b->threads);
    json_string(j, "scenario", scenario(b));
    json_string(j, "scheduler", b->streams > 1 ? "multi_stream" : "single_stream");
    json_number(j, "seconds_to_run", b->seconds);
    json_int(j, "num_streams", b->streams);
    add_result(j, b, c);
    json_number(j, "fraction_of_supported_ops", 1);            /* a model with others does not run at all */
    json_string(j, "cpu", b->processor.name);
    json_string(j, "isa", kernels_best()->isa);
    json_bool(j, "pinned", b->pinned);
    json_string(j, "inputs", b->settings->data ? "samples" : "random");
    add_startup(j, c);
}

static Err report_json_of(const Bench *b, Contender *const *c, int n, const LayerTimes *times)
{
    Text t = { .arena = b->arena };
    Json j = { .out = &t };
    bench_json_head(&j, b, c[0]);
    for (int i = 1; i < n; i++) add_contender(&j, b, c[0], c[i]);
    if (times) steps_json(&j, times);
    json_end(&j);
    TRY(text_check(&t));
    return console_json(b->arena, b->settings->json, &t);
}

Err bench_report(Bench *b, Contender *const *c, int n, const LayerTimes *times)
{
    const Settings *s = b->settings;
    if (s->json) TRY(report_json_of(b, c, n, times));
    if (s->quiet || (s->json && !strcmp(s->json, "-"))) return OK;
    return report_text_of(b, c, n, times);
}
