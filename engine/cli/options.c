/* Parsing of the command line by the tables of options.h. */
#include "engine/cli/options.h"
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Edit distance with insertions, deletions and substitutions, given up beyond 3. */
static int distance(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) return LONGEST;
    int row[LONGEST + 1];
    for (size_t j = 0; j <= m; j++) row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int keep = diagonal + (a[i - 1] != b[j - 1]), best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = keep < best ? keep : best;
        }
    }
    return row[m];
}

const char *nearest(const char *word, const char *const *candidates)
{
    enum { SHORT = 4 };
    const char *best = NULL;
    int least = 3;                                 /* at most 2 slips; 1 in a short word */
    for (; *candidates; candidates++) {
        bool is_short = strlen(word) <= SHORT || strlen(*candidates) <= SHORT;
        int d = distance(word, *candidates);
        if (d < least && !(is_short && d > 1)) best = *candidates, least = d;
    }
    return best;
}

/* strtod without its hexadecimal numbers: nobody who writes 0x8 here means 8. */
static double decimal(const char *text, char **end)
{
    if (strpbrk(text, "xX")) {
        *end = (char *)(uintptr_t)text;
        return 0;
    }
    return strtod(text, end);
}

Err share_parse(const char *text, const char *what, double *share)
{
    char *end;
    double s = decimal(text, &end);
    bool percent = *end == '%' && !end[1];
    if (end == text || (*end && !percent) || !isfinite(s)) return err_set(ERR_ARG, "%s '%s' is not a number such as 0.8 or 80%%.", what, text);
    if (percent) s /= 100;
    if (s >= 1 && s < 100 && !percent) return err_set(ERR_ARG, "%s %s is not in [0,1); for %s percent write %g or %s%%.", what, text, text, s / 100, text);
    if (s < 0 || s >= 1) return err_set(ERR_ARG, "%s %s is not in [0,1).", what, text);
    *share = s;
    return OK;
}

static Err count_parse(const Option *o, const char *text, int *count)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end || errno || n < 1 || n > 4096) return err_set(ERR_ARG, "--%s '%s' is not a number from 1 to 4096.", o->name, text);
    *count = (int)n;
    return OK;
}

static Err seconds_parse(const Option *o, const char *text, double *seconds)
{
    char *end;
    double s = decimal(text, &end);
    if (end == text || *end || !(s >= 0 && s <= 86400)) return err_set(ERR_ARG, "--%s '%s' is not a number of seconds from 0 to 86400.", o->name, text);
    *seconds = s;
    return OK;
}

static Err size_parse(const Option *o, const char *text, size_t *bytes)
{
    static const char UNIT[] = "KMGT";
    char *end;
    double n = decimal(text, &end);
    const char *unit = *end ? strchr(UNIT, *end) : NULL;
    if (unit) end++;
    for (const char *u = UNIT; unit && u <= unit; u++) n *= 1024;
    if (end == text || *end || !(n >= 1 && n < 0x1p62)) return err_set(ERR_ARG, "--%s '%s' is not a size such as 500M or 8G.", o->name, text);
    *bytes = (size_t)n;
    return OK;
}

static Err choice_check(const Option *o, const char *text)
{
    size_t length = strlen(text);
    for (const char *c = o->choices; length && c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
        if (strncmp(c, text, length) == 0 && (c[length] == '|' || !c[length])) return OK;
    return err_set(ERR_ARG, "--%s '%s' is none of %s.", o->name, text, o->choices);
}

/* Room for every word that the command line can hold is taken at the first one: n_max + the final NULL. */
static Err words_add(Arena *arena, Words *w, const char *text, int n_max)
{
    if (!w->at) w->at = arena_array(arena, (size_t)n_max + 1, sizeof *w->at);
    if (!w->at) return err_set(ERR_NOMEM, "not enough memory for the command line");
    w->at[w->n++] = text;
    return OK;
}

static Err option_store(Arena *arena, const Option *o, const char *text, int n_words, Settings *s)
{
    void *field = (char *)s + o->field;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return OK;
    case OPTION_CHOICE:
        TRY(choice_check(o, text));
        break;
    case OPTION_TEXT: case OPTION_FILE:
        if (!*text) return err_set(ERR_ARG, "--%s has an empty value.", o->name);
        break;
    case OPTION_COUNT: return count_parse(o, text, field);
    case OPTION_SHARE: return share_parse(text, "--sparsity", field);
    case OPTION_SIZE: return size_parse(o, text, field);
    case OPTION_SECONDS: return seconds_parse(o, text, field);
    case OPTION_WORDS: return words_add(arena, field, text, n_words);
    }
    if (*(const char **)field && strcmp(*(const char **)field, text) != 0) return err_set(ERR_ARG, "--%s is given twice.", o->name);
    *(const char **)field = text;
    return OK;
}

static const Option *find_letter(const Command *c, char letter)
{
    for (int i = 0; i < c->n_option; i++)
        if (c->option[i].letter == letter) return &c->option[i];
    return NULL;
}

static const Option *find_name(const Command *c, const char *name, size_t length)
{
    for (int i = 0; i < c->n_option; i++)
        if (strlen(c->option[i].name) == length && strncmp(c->option[i].name, name, length) == 0) return &c->option[i];
    return NULL;
}

static Err unknown_option(Arena *arena, const Command *c, const char *word)
{
    const char **name = arena_array(arena, (size_t)c->n_option + 1, sizeof *name);
    if (!name) return err_set(ERR_NOMEM, "not enough memory for the command line");
    for (int i = 0; i < c->n_option; i++) name[i] = c->option[i].name;
    const char *near = word[0] == '-' && word[1] == '-' ? nearest(word + 2, name) : NULL;
    if (near) return err_set(ERR_ARG, "unknown option %s; did you mean --%s?", word, near);
    return err_set(ERR_ARG, "unknown option %s; `oneshot help %s` lists those of this command.", word, c->name);
}

/* One option at word[*i]; advances *i over its value. */
static Err parse_option(Arena *arena, const Command *c, int n, char **word, int *i, Settings *s)
{
    const char *at = word[*i], *value = NULL;
    const Option *o;
    if (at[1] == '-') {
        size_t length = strcspn(at + 2, "=");
        o = find_name(c, at + 2, length);
        if (at[2 + length]) value = at + 3 + length;
        if (!o) return unknown_option(arena, c, arena_strndup(arena, at, 2 + length));
    } else {
        o = find_letter(c, at[1]);
        if (!o) return unknown_option(arena, c, at);
        if (at[2]) value = at + 2;
    }
    if (o->kind == OPTION_FLAG && value && at[1] != '-')
        return err_set(ERR_ARG, "'%s': -%c takes no value; letters are given apart, such as -q -v.", at, at[1]);
    if (o->kind == OPTION_FLAG && value) return err_set(ERR_ARG, "--%s takes no value.", o->name);
    if (o->kind != OPTION_FLAG && !value) {
        if (*i + 1 >= n) return err_set(ERR_ARG, "--%s needs a value: --%s %s", o->name, o->name, o->value);
        value = word[++*i];
        if (o->kind == OPTION_FILE && value[0] == '-' && value[1])
            return err_set(ERR_ARG, "--%s needs a value, and '%s' looks like an option; a file of that name is ./%s", o->name, value, value);
    }
    return option_store(arena, o, value, n, s);
}

Err options_parse(Arena *arena, const Command *c, int n, char **word, Settings *s)
{
    *s = (Settings){ .sparsity = -1, .seconds = -1, .warmup = -1 };
    bool only_arguments = false;
    for (int i = 0; i < n; i++) {
        if (!only_arguments && strcmp(word[i], "--") == 0) only_arguments = true;
        else if (!only_arguments && word[i][0] == '-' && word[i][1]) TRY(parse_option(arena, c, n, word, &i, s));
        else if (s->n_argument < c->n_argument_max) s->argument[s->n_argument++] = word[i];
        else return err_set(ERR_ARG, "'%s' is one word too many; usage: oneshot %s%s%s", word[i], c->name, *c->arguments ? " " : "", c->arguments);
    }
    if (s->help || s->version) return OK;
    if (s->n_argument < c->n_argument_min) return err_set(ERR_ARG, "usage: oneshot %s %s", c->name, c->arguments);
    return OK;
}
