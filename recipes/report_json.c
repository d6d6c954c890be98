#include "recipes/report_json.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool on_line(const Json *j)
{
    return j->line_depth && j->depth >= j->line_depth;
}

static void new_line(Json *j)
{
    text_bytes(j->out, "\n", 1);
    text_fill(j->out, ' ', 2 * j->depth);
}

/* What stands before a member: comma, line end, key. */
static void begin(Json *j, const char *key)
{
    if (j->depth) {
        bool *filled = &j->filled[j->depth - 1];
        if (*filled) text_bytes(j->out, ",", 1);
        if (!on_line(j)) new_line(j);
        else if (*filled) text_bytes(j->out, " ", 1);
        *filled = true;
    }
    if (key) text_add(j->out, "\"%s\": ", key);
}

static void open_container(Json *j, const char *key, const char *bracket, char closing)
{
    begin(j, key);
    assert(j->depth < JSON_DEPTH);
    text_bytes(j->out, bracket, 1);
    j->closing[j->depth] = closing;
    j->filled[j->depth++] = false;
}

void json_object(Json *j, const char *key)
{
    open_container(j, key, "{", '}');
}

void json_array(Json *j, const char *key)
{
    open_container(j, key, "[", ']');
}

void json_line(Json *j, const char *key)
{
    open_container(j, key, "{", '}');
    if (!j->line_depth) j->line_depth = j->depth;
}

void json_end(Json *j)
{
    assert(j->depth > 0);
    bool line = on_line(j), filled = j->filled[j->depth - 1];
    if (j->line_depth == j->depth) j->line_depth = 0;
    j->depth--;
    if (!line && filled) new_line(j);
    text_bytes(j->out, &j->closing[j->depth], 1);
    if (!j->depth) text_bytes(j->out, "\n", 1);
}

static void add_quoted(Text *t, const char *value)
{
    text_bytes(t, "\"", 1);
    for (const char *p = value; *p;) {
        int n = utf8_length(p);
        unsigned char c = (unsigned char)*p;
        if (!n) text_add(t, "\\ufffd");
        else if (c == '"' || c == '\\') text_add(t, "\\%c", c);
        else if (c == '\n') text_add(t, "\\n");
        else if (utf8_invisible(utf8_point(p, n)) && n < 4) text_add(t, "\\u%04x", (unsigned)utf8_point(p, n));
        else text_bytes(t, p, (size_t)n);
        p += n ? n : 1;
    }
    text_bytes(t, "\"", 1);
}

void json_string(Json *j, const char *key, const char *value)
{
    if (!value) {
        json_null(j, key);
        return;
    }
    begin(j, key);
    add_quoted(j->out, value);
}

void json_pair(Json *j, const char *key, const char *value)
{
    begin(j, NULL);
    add_quoted(j->out, key ? key : "");
    text_add(j->out, ": ");
    add_quoted(j->out, value ? value : "");
}

void json_int(Json *j, const char *key, int64_t value)
{
    begin(j, key);
    text_add(j->out, "%lld", (long long)value);
}

void json_number(Json *j, const char *key, double value)
{
    if (!isfinite(value)) {
        json_null(j, key);
        return;
    }
    char digits[40];
    for (int precision = 6; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value) break;
    }
    begin(j, key);
    text_add(j->out, "%s", digits);
}

void json_bool(Json *j, const char *key, bool value)
{
    begin(j, key);
    text_add(j->out, value ? "true" : "false");
}

void json_null(Json *j, const char *key)
{
    begin(j, key);
    text_add(j->out, "null");
}
