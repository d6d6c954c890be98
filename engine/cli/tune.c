/* `oneshot tune`: measures products on this CPU, once, so that plans choose by what is fast here. */
#include "engine/cli/progress.h"
#include "engine/tune.h"
#include "recipes/report_table.h"
#include <math.h>
#include <omp.h>

static const Option options[] = {
    { "dry-run", 0, OPTION_FLAG, FIELD(dry_run), NULL, NULL, "measure and print, write nothing", "Measure and print, but do not keep the result." },
    { "output", 'o', OPTION_FILE, FIELD(output), "FILE", NULL, "default: below the user's cache folder",
      "Write to FILE. Default: $XDG_CACHE_HOME/oneshot/cost.txt or ~/.cache/oneshot/cost.txt, which is where every other command looks." },
    { "verbose", 'v', OPTION_FLAG, FIELD(verbose), NULL, NULL, "list every product that was timed",
      "List every product that was timed, and what the result says of it." },
    { "quiet", 'q', OPTION_FLAG, FIELD(quiet), NULL, NULL, "no text", "Print no text; warnings and errors remain." },
    ROW_HELP,
};

static void show_step(void *user, int done, int of) { progress_show(user, "Measuring products", done, of); }

/* How far the fitted times of a variant are from the measured ones: geometric mean of the factor. */
static double error_of(const Tuning *t, Variant v)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < t->n; i++) {
        if (t->line[i].variant != v) continue;
        sum += fabs(log(t->line[i].predicted / t->line[i].sample.seconds));
        n++;
    }
    return n ? exp(sum / n) : NAN;
}

static void add_summary(Text *text, const Tuning *t)
{
    static const Column column[] = {
        { "variant", "variant", CELL_TEXT }, { "multiply", "ps: multiply", CELL_NUMBER }, { "pack", "pack an input", CELL_NUMBER },
        { "finish", "finish an output", CELL_NUMBER }, { "read", "read a weight", CELL_NUMBER }, { "error", "typical error, factor", CELL_NUMBER },
    };
    enum { COLUMNS = sizeof column / sizeof *column };
    Cell cell[VARIANTS * COLUMNS];
    for (int v = 0; v < (int)VARIANTS; v++) {
        const double *term = t->cost.term[v];
        double value[COLUMNS] = { 0, term[0] * 1e12, term[1] * 1e12, term[2] * 1e12, term[3] * 1e12, error_of(t, (Variant)v) };
        for (int i = 0; i < COLUMNS; i++) cell[v * COLUMNS + i] = (Cell){ .text = variant_name((Variant)v), .share = value[i] };
    }
    table_text(text, &(Table){ column, COLUMNS, cell, VARIANTS, NULL }, 0);
}

static void add_lines(Text *text, const Tuning *t)
{
    for (int i = 0; i < t->n; i++) {
        const TuneLine *l = &t->line[i];
        const ProductSize *s = &l->sample.size;
        text_add(text, "%-14s %4.0f x %4.0f, %5lld columns, %5.1f %% zeros: %8.1f us, fitted %8.1f\n", variant_name(l->variant), s->rows, s->k,
                 (long long)(s->height * s->width), 100 * (1 - s->nonzeros / (s->rows * s->k)), l->sample.seconds * 1e6, l->predicted * 1e6);
    }
}

static int run(Arena *arena, const Settings *s)
{
    ProgressLine progress = progress_start(s);
    Text text = { .arena = arena };
    Tuning t;
    const char *path = s->output ? s->output : cost_path();
    Err e = OK;
    if (!s->dry_run && !*path) e = err_set(ERR_ARG, "There is no cache folder ($XDG_CACHE_HOME, $HOME): -o FILE says where to write.");
    if (e == OK && !s->dry_run) e = cost_check(path);
    omp_set_num_threads(1);
    if (e == OK) e = tune(arena, show_step, &progress, &t);
    progress_end(&progress);
    if (e == OK && !s->dry_run) e = cost_write(&t.cost, path);
    if (e != OK) return console_error(arena, e, false);
    if (s->verbose) add_lines(&text, &t);
    add_summary(&text, &t);
    if (!s->dry_run) text_add(&text, "\nWritten: %s\n", path);
    e = s->quiet ? OK : console_print(&text);
    return e == OK ? EXIT_DONE : console_error(arena, e, false);
}

const Command command_tune = {
    .name = "tune",
    .arguments = "",
    .summary = "Measures this CPU once, so that models are planned faster and better.",
    .about = "Times dense, Winograd and sparse products of common sizes for a few seconds and keeps what each costs on this CPU. Afterwards plans choose the form of "
             "every layer by these figures; without them, layers where the built-in figures leave doubt are run in both forms whenever a plan is made. The result "
             "counts for this CPU model, instruction set and version of oneshot.\n",
    .examples = "oneshot tune\n"
                "oneshot tune --dry-run --verbose\n",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .run = run,
};
