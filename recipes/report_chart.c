#include "recipes/report_chart.h"
#include <math.h>

enum { WIDTH = 760, HEIGHT = 460, LEFT = 70, RIGHT = 64, TOP = 84, BOTTOM = 64 };
static const char *const COLOR[CHART_LINES] = { "#1b6ca8", "#d2601a", "#3a7d44", "#7b4ea3", "#a83246", "#5c5c5c" };
static const char BOUND_COLOR[] = "#7a7a7a";

/* The drawing area in numbers: where 0 is, and how large a unit. */
typedef struct Frame { double x_max, y_max; const char *y_unit; } Frame;

static double place_x(const Frame *f, double x) { return LEFT + x / f->x_max * (WIDTH - LEFT - RIGHT); }
static double place_y(const Frame *f, double y) { return HEIGHT - BOTTOM - y / f->y_max * (HEIGHT - TOP - BOTTOM); }

double chart_step(double range, int most)
{
    double power = pow(10, floor(log10(range / most)));
    for (int i = 0;; i++) {
        static const double factor[] = { 1, 2, 5, 10 };
        if (i == 3 || range / (factor[i] * power) <= most * (1 + 1e-9)) return factor[i] * power;
    }
}

static void add_escaped(Text *t, const char *s)
{
    for (const char *p = name_shown(t->arena, s); p && *p; p++) {
        if (*p == '<') text_add(t, "&lt;");
        else if (*p == '&') text_add(t, "&amp;");
        else text_bytes(t, p, 1);
    }
}

/* One text; anchor: "start", "middle", "end". */
static void add_label(Text *t, double x, double y, const char *anchor, const char *style, const char *words)
{
    text_add(t, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>", x, y, anchor, style);
    add_escaped(t, words);
    text_add(t, "</text>\n");
}

static Frame frame_of(const Chart *c)
{
    enum { MOST_STEPS = 6 };
    Frame f = { 0, c->y_max, c->y_unit };
    for (int i = 0; i < c->n_line; i++)
        for (int k = 0; k < c->line[i].n; k++) {
            const ChartLine *l = &c->line[i];
            double top = l->high ? l->high[k] : l->y[k];
            if (l->x[k] > f.x_max) f.x_max = l->x[k];
            if (c->y_max <= 0 && !l->dashed && top > f.y_max) f.y_max = top;
        }
    if (f.x_max <= 0) f.x_max = 1;
    if (f.y_max <= 0) f.y_max = 1;
    double step = chart_step(f.y_max, MOST_STEPS);
    f.y_max = ceil(f.y_max * 1.04 / step) * step;
    return f;
}

static void add_grid(Text *t, const Chart *c, const Frame *f)
{
    double x_step = chart_step(f->x_max, 10), y_step = chart_step(f->y_max, 8);
    for (int i = 0; i * y_step <= f->y_max * (1 + 1e-9); i++) {
        double y = place_y(f, i * y_step);
        text_add(t, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"%s\"/>\n", LEFT, y, WIDTH - RIGHT, y, i ? "#e4e4e4" : "#404040");
        add_label(t, LEFT - 10, y + 4, "end", "class=\"tick\"", arena_printf(t->arena, "%g%s", i * y_step, c->y_unit));
    }
    for (int i = 0; i * x_step <= f->x_max * (1 + 1e-9); i++) {
        double x = place_x(f, i * x_step);
        text_add(t, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#404040\"/>\n", x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 5);
        add_label(t, x, HEIGHT - BOTTOM + 20, "middle", "class=\"tick\"", arena_printf(t->arena, "%g%s", i * x_step, c->x_unit));
    }
    add_label(t, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14, "middle", "class=\"axis\"", c->x_title);
    text_add(t, "<g transform=\"translate(20 %.1f) rotate(-90)\">", (TOP + HEIGHT - BOTTOM) / 2.0);
    add_label(t, 0, 0, "middle", "class=\"axis\"", c->y_title);
    text_add(t, "</g>\n");
}

static void add_path(Text *t, const ChartLine *l, const Frame *f, const char *color)
{
    text_add(t, "<polyline clip-path=\"url(#area)\" fill=\"none\" stroke=\"%s\" stroke-width=\"%s\"%s points=\"", color, l->dashed ? "1.5" : "2.5",
             l->dashed ? " stroke-dasharray=\"7 5\"" : "");
    for (int k = 0; k < l->n; k++) text_add(t, "%s%.1f,%.1f", k ? " " : "", place_x(f, l->x[k]), place_y(f, l->y[k]));
    text_add(t, "\"/>\n");
}

/* A point with its spread and its number: on the left above the line or on its right below, where a line that rises leaves room. */
static void add_point(Text *t, const Frame *f, const ChartLine *l, int k, const char *color, bool above)
{
    double x = place_x(f, l->x[k]), y = place_y(f, l->y[k]);
    if (l->low)
        text_add(t, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"6\" stroke-opacity=\"0.25\"/>\n", x, place_y(f, l->low[k]), x,
                 place_y(f, l->high[k]), color);
    text_add(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\" stroke=\"white\" stroke-width=\"1.5\"/>\n", x, y, color);
    const char *number = arena_printf(t->arena, "%.2f%s", l->y[k], f->y_unit), *style = arena_printf(t->arena, "class=\"number\" fill=\"%s\"", color);
    bool left = above && x > LEFT + 40;            /* beside the axis there is none on the left */
    add_label(t, left ? x - 7 : x + 8, above ? y - 9 : y + 16, left ? "end" : "start", style ? style : "", number);
}

static void add_legend(Text *t, const Chart *c)
{
    double x = LEFT;
    for (int i = 0; i < c->n_line; i++) {
        const ChartLine *l = &c->line[i];
        const char *color = l->dashed ? BOUND_COLOR : COLOR[i % CHART_LINES];
        text_add(t, "<line x1=\"%.1f\" y1=\"64\" x2=\"%.1f\" y2=\"64\" stroke=\"%s\" stroke-width=\"%s\"%s/>\n", x, x + 26, color, l->dashed ? "1.5" : "2.5",
                 l->dashed ? " stroke-dasharray=\"7 5\"" : "");
        if (!l->dashed) text_add(t, "<circle cx=\"%.1f\" cy=\"64\" r=\"4\" fill=\"%s\" stroke=\"white\" stroke-width=\"1.5\"/>\n", x + 13, color);
        add_label(t, x + 34, 68, "start", "class=\"tick\"", l->name);
        x += 34 + 7.0 * text_columns(l->name) + 26;
    }
}

void chart_svg(Text *t, const Chart *c)
{
    Frame f = frame_of(c);
    text_add(t, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" ", WIDTH, HEIGHT, WIDTH, HEIGHT);
    text_add(t, "font-family=\"Helvetica, Arial, sans-serif\">\n<style>.tick{font-size:12px;fill:#404040}.axis{font-size:13px;fill:#202020}"
                ".number{font-size:11.5px;font-weight:600;stroke:white;stroke-width:3px;paint-order:stroke}</style>\n");
    text_add(t, "<clipPath id=\"area\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/></clipPath>\n", LEFT, TOP - 6, WIDTH - LEFT - RIGHT,
             HEIGHT - TOP - BOTTOM + 6);
    text_add(t, "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", WIDTH, HEIGHT);
    add_label(t, LEFT, 26, "start", "font-size=\"17\" font-weight=\"600\" fill=\"#202020\"", c->title);
    if (c->subtitle) add_label(t, LEFT, 45, "start", "class=\"tick\"", c->subtitle);
    add_grid(t, c, &f);
    for (int i = 0; i < c->n_line; i++) add_path(t, &c->line[i], &f, c->line[i].dashed ? BOUND_COLOR : COLOR[i % CHART_LINES]);
    for (int i = 0; i < c->n_line; i++)
        for (int k = 0; k < c->line[i].n && !c->line[i].dashed; k++) add_point(t, &f, &c->line[i], k, COLOR[i % CHART_LINES], i == 0);
    add_legend(t, c);
    text_add(t, "</svg>\n");
}
