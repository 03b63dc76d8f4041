/* SPDX-License-Identifier: Apache-2.0 */
/* What a user does at a screen, on its way to the machine's keyboard and mouse. */
#ifndef NACRE_DISPLAY_INPUT_H
#define NACRE_DISPLAY_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#define INPUT_BUTTON_LEFT   (1u << 0)
#define INPUT_BUTTON_RIGHT  (1u << 1)
#define INPUT_BUTTON_MIDDLE (1u << 2)

struct input_sink {
    /* code: the key's place on a PC's keyboard, as its make code in scan code set 1; 0xe000 more
     * for keys with the prefix E0. Codes that no key has are ignored. */
    void (*key)(void *opaque, uint16_t code, bool down);
    /* Movement since the last call: right and down are positive; wheel: towards the user. */
    void (*pointer)(void *opaque, int right, int down, int wheel, unsigned buttons);
    void *opaque;
};

#endif
