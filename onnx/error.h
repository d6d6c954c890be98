/* Errors: a code for the program, one sentence for the user.
 *
 * The sentence is built where the fact is known ("W has 3 input channels per group, X gives 4") and prefixed on the way up
 * where context is added ("node 'Conv_12' (Conv): "). The library never prints and never exits. */
#pragma once

typedef enum [[nodiscard]] Err {
    OK = 0,
    ERR_NOMEM,        /* an allocation failed, or the memory limit would be passed */
    ERR_IO,           /* open, read, write, sync or rename failed */
    ERR_FORMAT,       /* the bytes are not a valid ONNX model */
    ERR_UNSUPPORTED,  /* valid ONNX that this program does not implement */
    ERR_SHAPE,        /* types or shapes of a node do not fit together */
    ERR_ARG,          /* a caller's or a user's argument is out of range */
    ERR_NUMERIC,      /* NaN or Inf met, matrix not positive definite, ... */
    ERR_TIME,         /* the time limit has passed */
} Err;

/* Replaces the calling thread's message; returns code. */
Err err_set(Err code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "where: " before the message, unless it is very long already; returns code. */
Err err_in(Err code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The calling thread's message; valid until its next err_set or err_in. Never NULL. */
const char *err_text(void);

/* The only macro with hidden control flow: returns from the calling function unless expr is OK. */
#define TRY(expr) do { Err try_err_ = (expr); if (try_err_ != OK) return try_err_; } while (0)
