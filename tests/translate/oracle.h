/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second look at code that the checker has accepted, by other means: Zydis decodes all of it, and
 * each instruction alone must be harmless. It knows nothing of what registers hold, so it asks for
 * less than the checker, but shares nothing with it.
 */
#ifndef NACRE_TESTS_TRANSLATE_ORACLE_H
#define NACRE_TESTS_TRANSLATE_ORACLE_H

#include "cpu/translate/cache.h"

/* NULL, or what is wrong with the code at *offset. */
const char *oracle_complaint(const struct translator *translator,
                             const struct translation *translation, const uint8_t *code,
                             uint32_t *offset);

#endif
