/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DISPLAY_CODEPAGE_H
#define NACRE_DISPLAY_CODEPAGE_H

#include <stdint.h>

#define CODEPAGE_UTF8_MAX 3

/* A character of the PC's font as UTF-8: 1 to 3 bytes, how many is returned. */
unsigned codepage_utf8(uint8_t character, char *text);

#endif
