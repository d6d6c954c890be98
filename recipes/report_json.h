/* Writes JSON (RFC 8259) into a Text: always UTF-8, always balanced. Strings that are not UTF-8 get U+FFFD for each bad byte; numbers that are not
 * finite become null. Keys are ours and are written as they stand, except those of json_pair. */
#pragma once
#include "recipes/report_text.h"

enum { JSON_DEPTH = 16 };
typedef struct Json {
    Text *out;
    int  depth;
    char closing[JSON_DEPTH];      /* '}' or ']' of every open container */
    bool filled[JSON_DEPTH];       /* it has a member already */
    int  line_depth;               /* containers deeper than this are written on one line; 0: none */
} Json;

/* key is NULL for the members of an array and for the whole document. */
void json_object(Json *j, const char *key);
void json_array(Json *j, const char *key);
void json_line(Json *j, const char *key);          /* an object on one line, for rows of tables */
void json_end(Json *j);                            /* closes the innermost container */
void json_string(Json *j, const char *key, const char *value);     /* NULL: null */
void json_int(Json *j, const char *key, int64_t value);
void json_number(Json *j, const char *key, double value);          /* the shortest decimal that reads back as the same double */
void json_bool(Json *j, const char *key, bool value);
void json_null(Json *j, const char *key);
void json_pair(Json *j, const char *key, const char *value);       /* a key from a file, escaped */
