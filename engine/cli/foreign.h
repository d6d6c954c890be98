/* Answers for files that are no ONNX models: the two or three lines that make one of them. */
#pragma once
#include "onnx/arena.h"

/* Prints the answer on stderr; nothing when the file's content is not recognised. */
void foreign_help(Arena *arena, const char *path);
