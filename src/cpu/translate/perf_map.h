/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /tmp/perf-PID.map: a line for each translation, "START SIZE NAME" in hexadecimal, by which perf
 * (and bench/profile) name translated code. The name is the guest virtual address it was made for.
 */
#ifndef NACRE_CPU_TRANSLATE_PERF_MAP_H
#define NACRE_CPU_TRANSLATE_PERF_MAP_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* NULL with *error. */
FILE *perf_map_open(struct error *error);

/* The code of `size` bytes at `code` runs what the guest has at gva. */
void perf_map_add(FILE *map, const void *code, unsigned size, uint64_t gva, bool user);

#endif
