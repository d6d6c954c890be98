/* Charts: steps of axes, and SVG that any XML reader takes, with everything inside its frame. */
#include "recipes/report_chart.h"
#include "tests/cmocka.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void steps(void **state)
{
    (void)state;
    const double range[] = { 1, 10, 12, 95, 0.3, 7, 1000, 3e-5 };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        for (int most = 2; most <= 12; most++) {
            double step = chart_step(range[i], most), digit = step / pow(10, floor(log10(step) + 1e-9));
            assert_true(range[i] / step <= most * (1 + 1e-9));
            assert_true(range[i] / step * 2.5 >= most * 0.99);         /* the next smaller step is at most 2.5 times as fine */
            assert_true(fabs(digit - 1) < 1e-9 || fabs(digit - 2) < 1e-9 || fabs(digit - 5) < 1e-9);
        }
}

static int count(const char *text, const char *word)
{
    int n = 0;
    for (; (text = strstr(text, word)); text += strlen(word)) n++;
    return n;
}

/* Elements that are opened are closed, in order; returns how many there are. */
static int check_xml(const char *p)
{
    char open[16][24];
    int depth = 0, elements = 0;
    while ((p = strchr(p, '<'))) {
        size_t n = strcspn(p, ">"), name = strcspn(p + 1, " />");
        assert_true(p[n] == '>');
        if (p[1] == '/') {
            assert_true(depth > 0 && strncmp(open[depth - 1], p + 2, strlen(open[depth - 1])) == 0);
            depth--;
        } else {
            elements++;
            if (p[n - 1] != '/') {
                assert_true(depth < 16 && name < sizeof open[0]);
                snprintf(open[depth++], sizeof open[0], "%.*s", (int)name, p + 1);
            }
        }
        p += n;
    }
    assert_int_equal(depth, 0);
    return elements;
}

static void check_points(const char *svg)
{
    int n = 0;
    for (const char *p = svg; (p = strstr(p, "<circle cx=\"")); n++) {
        char *end;
        double x = strtod(p += 12, &end), y = strtod(strchr(end + 1, '"') + 1, NULL);
        assert_true(x >= 0 && x <= 760 && y >= 0 && y <= 460);
    }
    assert_int_equal(n, 2 * 3 + 2);                    /* two lines of three points, and the legend */
}

static void drawing(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Text t = { .arena = arena };
    const double x[] = { 0, 50, 90 }, y[] = { 1, 1.7, 4.2 }, low[] = { 0.9, 1.6, 4 }, high[] = { 1.1, 1.9, 4.5 }, z[] = { 1, 1.4, 3 }, bound[] = { 1, 2, 10 };
    const ChartLine line[] = {
        { "over <dense> & co", x, y, 3, low, high, false }, { "over another", x, z, 3, NULL, NULL, false }, { "bound", x, bound, 3, NULL, NULL, true },
    };
    chart_svg(&t, &(Chart){ "a & b", "below", "sparsity", "times", " %", "x", 0, line, 3 });
    assert_int_equal(text_check(&t), OK);
    const char *svg = text_done(&t);
    assert_true(check_xml(svg) > 40);
    check_points(svg);
    assert_int_equal(count(svg, "&"), count(svg, "&amp;") + count(svg, "&lt;"));
    assert_non_null(strstr(svg, "over &lt;dense> &amp; co"));
    assert_int_equal(count(svg, "stroke-dasharray"), 2);               /* the bound and its sample in the legend */
    assert_non_null(strstr(svg, "4.20x"));
    arena_free(arena);
}

static void one_point(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Text t = { .arena = arena };
    const double zero = 0;
    chart_svg(&t, &(Chart){ "t", NULL, "x", "y", "", "", 0, &(ChartLine){ "l", &zero, &zero, 1, NULL, NULL, false }, 1 });
    assert_int_equal(text_check(&t), OK);
    check_xml(text_done(&t));
    assert_null(strstr(text_done(&t), "nan"));
    assert_null(strstr(text_done(&t), "inf"));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(steps), cmocka_unit_test(drawing), cmocka_unit_test(one_point) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
