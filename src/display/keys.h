/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a PC keyboard by name, character and key symbol. */
#ifndef NACRE_DISPLAY_KEYS_H
#define NACRE_DISPLAY_KEYS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_CHORD_MAX 8

struct key {
    const char *name;
    uint16_t code;       /* as in display/input.h */
    char plain, shifted; /* what it types in the US layout; 0: nothing */
    uint32_t keysym;     /* 0: that of its character */
};

#define KEY_CODE_CTRL        0x1d
#define KEY_CODE_SHIFT       0x2a
#define KEY_CODE_SHIFT_RIGHT 0x36
#define KEY_CODE_ALT         0x38

/* NULL: there is none. *shift: the key types it with Shift held. */
const struct key *key_by_name(const char *name, size_t length);
const struct key *key_by_character(char character, bool *shift);
const struct key *key_by_keysym(uint32_t keysym, bool *shift);

/* "ctrl-alt-del": up to KEY_CHORD_MAX codes in the order named. -EINVAL with *error. */
int key_parse_chord(const char *text, uint16_t *codes, unsigned *count, struct error *error);

/* For lists; NULL past the last. */
const char *key_name(unsigned index);

#endif
