/* Growing text in an arena, and numbers and names as people read them.
 *
 * Names come from files that strangers wrote: whatever could move the cursor, colour the terminal, reverse the reading direction or end a line
 * is shown escaped. */
#pragma once
#include "onnx/model.h"

typedef struct Text {
    Arena *arena;
    char  *at;                 /* NUL-terminated from the first addition on; NULL before */
    size_t length, room;
    bool   failed;             /* memory ran out: later additions do nothing; see text_check */
} Text;

void text_add(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_bytes(Text *t, const char *bytes, size_t length);
void text_fill(Text *t, char c, int n);                     /* n times c; nothing if n <= 0 */
/* Breaks at blanks so that no line is longer than width columns unless one word is; every line is indented. Ends with a newline. */
void text_wrap(Text *t, const char *paragraph, int indent, int width);
Err  text_check(const Text *t);                             /* ERR_NOMEM if an addition failed */
const char *text_done(const Text *t);                       /* the text; "" if nothing was added */

/* The length of the UTF-8 sequence at p, from 1 to 4; 0 if it is none (overlong, surrogate, cut off by the NUL). */
int  utf8_length(const char *p);
uint32_t utf8_point(const char *p, int n);                   /* of a sequence of that length, as utf8_length gives it */
/* Control characters, and those without a glyph that change how others are shown: Unicode 15, general category Cf and the line separators. */
bool utf8_invisible(uint32_t point);
int  text_columns(const char *utf8);                        /* code points */
/* The name with control characters, bad UTF-8 and direction marks written as escapes; "" for NULL. In the arena; NULL: out of memory. */
const char *name_shown(Arena *arena, const char *name);
/* At most columns code points: the middle is replaced by "..". */
const char *name_shortened(Arena *arena, const char *name, int columns);

/* Numbers for people, each at most 3-4 significant digits. Used within one full expression: printf("%s", count_short(n).at) */
typedef struct Short { char at[32]; } Short;
Short count_short(int64_t n);          /* 9408, 25.5 M, 4.09 G */
Short bytes_short(int64_t n);          /* 698 B, 97.7 MiB */
Short share_short(double share);       /* 80.0 %; "<0.1 %" and ">99.9 %" where rounding would hide something */
Short seconds_short(double s);         /* 12 ms, 1.24 s, 3 min 20 s */
