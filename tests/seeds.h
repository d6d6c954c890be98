/* A collection of tiny models that between them use every feature of the format that the reader knows: for round trips, allocation failures and
 * as the fuzzer's first corpus. */
#pragma once
#include "tests/build_model.h"

int         seed_count(void);
const char *seed_name(int i);
Bytes       seed_model(int i);         /* the caller frees */
