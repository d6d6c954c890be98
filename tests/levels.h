/* Tests at every instruction set: the table of kernels is chosen once in a process, so each level has one of its own. */
#pragma once

/* Runs this test program again at a level, with an argument that says what to do and without its stdout. The test fails if it fails. */
void run_level(int level, const char *argument);
