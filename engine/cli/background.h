/* One piece of work beside the main thread: hashing and compressing the source while the model is read, pruned and written. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include "onnx/error.h"

typedef struct Background {
    Err (*work)(void *user);
    void *user;
    int threads;               /* for its own parallel loops */
    pthread_t thread;
    bool running;              /* on a thread of its own; otherwise it is done already */
    Err result;
    char text[256];            /* err_text of that thread */
} Background;

/* Starts work(user); with one thread, or when no other is to be had, it is done before this returns. b must stay in place until background_end. */
void background_start(Background *b, Err (*work)(void *), void *user, int threads);
/* Waits for the end; the work's result with its message. May be called again. */
Err  background_end(Background *b);
