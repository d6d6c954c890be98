/* The calling thread's error message. Fixed size and thread-local: reporting an error never allocates. */
#include "onnx/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
    size_t used = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    snprintf(text + used, sizeof text - used, ": ");
    used += strlen(text + used);
    memmove(message + used, message, sizeof message - used - 1);       /* the end of a long message is cut off */
    message[sizeof message - 1] = 0;
    memcpy(message, text, used);
    return code;
}

const char *err_text(void)
{
    return message;
}
