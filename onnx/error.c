/* The calling thread's error message. Fixed size and thread-local: reporting an error never allocates. */
#include "onnx/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ENOUGH = 600 };
static _Thread_local char message[1024];

Err err_set(Err code, const char *format, ...)
{
    char text[sizeof message];      /* the arguments may point into the old message */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, sizeof message);
    return code;
}

Err err_in(Err code, const char *format, ...)
{
    char text[sizeof message];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = n > 0 ? (size_t)n : 0, length = strlen(message);
    if (used + 2 + length > ENOUGH) return code;           /* where is clear by now; the cause at the end must stay */
    memcpy(text + used, ": ", 2);
    memcpy(text + used + 2, message, length + 1);
    memcpy(message, text, used + 2 + length + 1);
    return code;
}

const char *err_text(void)
{
    return message;
}
