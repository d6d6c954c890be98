#include "recipes/names.h"
#include <fnmatch.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { CLOSEST = 3, LONGEST = 200 };           /* names that an error lists; bytes of a name that are compared */

static const char *name_of(const Weight *w, int i)
{
    const char *name = i < 0 ? w->name : w->use[i].node->name;
    return name ? name : "";
}

Err name_matches(const char *text, const Weight *w, bool *matches)
{
    *matches = false;
    if (strncmp(text, "re:", 3) != 0) {
        for (int i = -1; i < w->n_use && !*matches; i++)
            *matches = *name_of(w, i) && (strcmp(text, name_of(w, i)) == 0 || fnmatch(text, name_of(w, i), 0) == 0);
        return OK;
    }
    regex_t expression;
    int code = regcomp(&expression, text + 3, REG_EXTENDED | REG_NOSUB);
    if (code) {
        char why[128];
        regerror(code, &expression, why, sizeof why);
        return err_set(ERR_ARG, "'%s' is not a POSIX extended regular expression: %s", text, why);
    }
    for (int i = -1; i < w->n_use && !*matches; i++)
        *matches = *name_of(w, i) && regexec(&expression, name_of(w, i), 0, NULL, 0) == 0;
    regfree(&expression);
    return OK;
}

/* Levenshtein's distance of the first LONGEST bytes, letters alike in both cases. */
static int distance(const char *a, const char *b)
{
    int row[LONGEST + 1], length = (int)strnlen(b, LONGEST);
    for (int j = 0; j <= length; j++)
        row[j] = j;
    for (int i = 0; i < LONGEST && a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 1; j <= length; j++) {
            int change = diagonal + (strncasecmp(a + i, b + j - 1, 1) != 0), gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < gap ? change : gap;
        }
    }
    return row[length];
}

/* The closest names first; one that contains the text, or is contained in it, is closer than any other. */
typedef struct Close { const char *name[CLOSEST]; int distance[CLOSEST]; int n; } Close;

static void close_add(Close *c, const char *name, int d)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->name[i], name) == 0)
            return;
    int at = c->n;
    while (at > 0 && c->distance[at - 1] > d)
        at--;
    if (at == CLOSEST)
        return;
    c->n += c->n < CLOSEST;
    for (int i = c->n - 1; i > at; i--) {
        c->name[i] = c->name[i - 1];
        c->distance[i] = c->distance[i - 1];
    }
    c->name[at] = name;
    c->distance[at] = d;
}

Err name_check(const char *text, const Weight *weight, int n)
{
    Close close = { .n = 0 };
    for (int i = 0; i < n; i++) {
        bool matches;
        TRY(name_matches(text, &weight[i], &matches));
        if (matches)
            return OK;
        for (int j = -1; j < weight[i].n_use; j++) {
            const char *name = name_of(&weight[i], j);
            if (*name)
                close_add(&close, name, strcasestr(name, text) || strcasestr(text, name) ? 0 : 1 + distance(text, name));
        }
    }
    if (n == 0)
        return OK;
    if (close.n == 0)
        return err_set(ERR_ARG, "'%s' matches no weight: none has a name", text);
    char list[CLOSEST * LONGEST] = "";
    for (int i = 0; i < close.n; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s'%s'", i ? ", " : "", close.name[i]);
    return err_set(ERR_ARG, "'%s' matches the name of no weight and of no node that uses one; the closest: %s", text, list);
}
