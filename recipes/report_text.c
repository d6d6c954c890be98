#include "recipes/report_text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool reserve(Text *t, size_t more)
{
    if (t->failed) return false;
    if (t->length + more < t->room) return true;
    size_t room = t->room ? t->room * 2 : 1024;
    while (room <= t->length + more) room *= 2;
    char *at = arena_alloc(t->arena, room);
    if (!at) {
        t->failed = true;
        return false;
    }
    if (t->length) memcpy(at, t->at, t->length);
    at[t->length] = 0;
    t->at = at;
    t->room = room;
    return true;
}

void text_bytes(Text *t, const char *bytes, size_t length)
{
    if (!length || !reserve(t, length)) return;
    memcpy(t->at + t->length, bytes, length);
    t->length += length;
    t->at[t->length] = 0;
}

void text_add(Text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0 && reserve(t, (size_t)n)) {
        vsnprintf(t->at + t->length, (size_t)n + 1, format, again);
        t->length += (size_t)n;
    }
    va_end(again);
}

void text_fill(Text *t, char c, int n)
{
    if (n <= 0 || !reserve(t, (size_t)n)) return;
    memset(t->at + t->length, c, (size_t)n);
    t->length += (size_t)n;
    t->at[t->length] = 0;
}

void text_wrap(Text *t, const char *paragraph, int indent, int width)
{
    int column = 0;
    for (const char *p = paragraph; *p;) {
        p += strspn(p, " ");
        size_t word = strcspn(p, " ");
        if (!word) break;
        int columns = 0;
        for (size_t i = 0; i < word; i++) columns += ((unsigned char)p[i] & 0xC0) != 0x80;
        if (column > indent && column + 1 + columns > width) {
            text_bytes(t, "\n", 1);
            column = 0;
        }
        if (column == 0) text_fill(t, ' ', indent), column = indent;
        else text_bytes(t, " ", 1), column++;
        text_bytes(t, p, word);
        column += columns;
        p += word;
    }
    text_bytes(t, "\n", 1);
}

Err text_check(const Text *t)
{
    return t->failed ? err_set(ERR_NOMEM, "not enough memory for the report") : OK;
}

const char *text_done(const Text *t)
{
    return t->at ? t->at : "";
}

int utf8_length(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) return 1;
    int n = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4) return 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F)) return 0;   /* overlong, surrogates */
    if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F)) return 0;   /* overlong, beyond U+10FFFF */
    return n;
}

int text_columns(const char *utf8)
{
    int n = 0;
    for (; *utf8; utf8++) n += ((unsigned char)*utf8 & 0xC0) != 0x80;
    return n;
}

bool utf8_invisible(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x061C || (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF0 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE0FFF);
}

uint32_t utf8_point(const char *p, int n)
{
    const unsigned char *b = (const unsigned char *)p;
    if (n == 1) return b[0];
    uint32_t c = b[0] & (0xFFu >> (n + 1));
    for (int i = 1; i < n; i++) c = c << 6 | (b[i] & 0x3Fu);
    return c;
}

const char *name_shown(Arena *arena, const char *name)
{
    Text t = { .arena = arena };
    for (const char *p = name ? name : ""; *p;) {
        int n = utf8_length(p);
        uint32_t c = n ? utf8_point(p, n) : 0;
        if (!n) text_add(&t, "\\x%02x", (unsigned char)*p);
        else if (c == '\n') text_add(&t, "\\n");
        else if (c == '\t') text_add(&t, "\\t");
        else if (utf8_invisible(c)) text_add(&t, c < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)c);
        else text_bytes(&t, p, (size_t)n);
        p += n ? n : 1;
    }
    return t.failed ? NULL : text_done(&t);
}

const char *name_shortened(Arena *arena, const char *name, int columns)
{
    int have = text_columns(name);
    if (have <= columns || columns < 4) return name;
    int head = (columns - 2) / 2, tail = columns - 2 - head, at = -1;
    size_t cut = 0, resume = 0;
    for (size_t i = 0; name[i]; i++) {
        if (((unsigned char)name[i] & 0xC0) == 0x80) continue;
        at++;
        if (at == head) cut = i;
        if (at == have - tail) resume = i;
    }
    Text t = { .arena = arena };
    text_bytes(&t, name, cut);
    text_bytes(&t, "..", 2);
    text_bytes(&t, name + resume, strlen(name + resume));
    return t.failed ? NULL : text_done(&t);
}

static Short scaled(double value, double step, const char *const *unit)
{
    Short s;
    int u = 0;
    while (value >= step * 0.9995 && unit[u + 1]) value /= step, u++;
    snprintf(s.at, sizeof s.at, value >= 99.95 ? "%.0f %s" : value >= 9.995 ? "%.1f %s" : "%.2f %s", value, unit[u]);
    return s;
}

Short count_short(int64_t n)
{
    static const char *const unit[] = { "", "k", "M", "G", "T", "P", "E", NULL };
    if (n >= 10000) return scaled((double)n, 1000, unit);
    Short s;
    snprintf(s.at, sizeof s.at, "%lld", (long long)n);
    return s;
}

Short bytes_short(int64_t n)
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", NULL };
    if (n >= 1024) return scaled((double)n, 1024, unit);
    Short s;
    snprintf(s.at, sizeof s.at, "%lld B", (long long)n);
    return s;
}

Short share_short(double share)
{
    Short s;
    double percent = 100 * share;
    if (percent > 0 && percent < 0.05) snprintf(s.at, sizeof s.at, "<0.1 %%");
    else if (percent < 100 && percent >= 99.95) snprintf(s.at, sizeof s.at, ">99.9 %%");
    else snprintf(s.at, sizeof s.at, "%.1f %%", percent);
    return s;
}

Short seconds_short(double t)
{
    Short s;
    if (t < 0.0995) snprintf(s.at, sizeof s.at, "%.1f ms", t * 1e3);
    else if (t < 0.9995) snprintf(s.at, sizeof s.at, "%.0f ms", t * 1e3);
    else if (t < 99.5) snprintf(s.at, sizeof s.at, "%.2f s", t);
    else snprintf(s.at, sizeof s.at, "%d min %d s", (int)(t + 0.5) / 60, (int)(t + 0.5) % 60);
    return s;
}
