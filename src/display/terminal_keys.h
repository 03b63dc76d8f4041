/* SPDX-License-Identifier: Apache-2.0 */
/* What a terminal sends, as keys of a PC keyboard. */
#ifndef NACRE_DISPLAY_TERMINAL_KEYS_H
#define NACRE_DISPLAY_TERMINAL_KEYS_H

#include "display/typist.h"

/* Types what the bytes stand for: characters, Ctrl with a letter, Alt by a leading escape, cursor
 * and function keys. Sequences come in one piece. What no key types is left out. */
void terminal_keys_type(struct typist *typist, const uint8_t *bytes, size_t count);

#endif
