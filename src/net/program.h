/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_NET_PROGRAM_H
#define NACRE_NET_PROGRAM_H

#include "base/error.h"

/*
 * Runs a program of the host's to its end. arguments: begins with its name, ends with NULL. input:
 * what it reads. -errno with *error: what it said last, or which package has it when it is missing.
 */
int program_run(const char *const *arguments, const char *input, struct error *error);

#endif
