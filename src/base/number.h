/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as users write them. */
#ifndef NACRE_BASE_NUMBER_H
#define NACRE_BASE_NUMBER_H

#include "base/error.h"

#include <stdint.h>

/* "512M", "2G", "1048576"; suffixes K, M, G, T. option: what to name in the error. -EINVAL with
 * *error. */
int size_parse(const char *option, const char *text, uint64_t *bytes, struct error *error);
/* A decimal number from low to high. */
int number_parse(const char *option, const char *text, unsigned low, unsigned high, unsigned *value,
                 struct error *error);

#endif
