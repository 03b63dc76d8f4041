/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals' key sequences: ECMA-48 §8, and xterm's "PC-Style Function Keys" (ctlseqs). */
#include "display/terminal_keys.h"

#include "base/bits.h"
#include "display/keys.h"

#include <string.h>

#define ESCAPE 0x1b

static const struct {
    const char *sequence; /* behind the escape */
    const char *key;
} sequences[] = {
    {"[A", "up"},      {"[B", "down"},     {"[C", "right"},      {"[D", "left"},  {"OA", "up"},
    {"OB", "down"},    {"OC", "right"},    {"OD", "left"},       {"[H", "home"},  {"[F", "end"},
    {"OH", "home"},    {"OF", "end"},      {"[1~", "home"},      {"[4~", "end"},  {"[2~", "insert"},
    {"[3~", "delete"}, {"[5~", "page_up"}, {"[6~", "page_down"}, {"OP", "f1"},    {"OQ", "f2"},
    {"OR", "f3"},      {"OS", "f4"},       {"[15~", "f5"},       {"[17~", "f6"},  {"[18~", "f7"},
    {"[19~", "f8"},    {"[20~", "f9"},     {"[21~", "f10"},      {"[23~", "f11"}, {"[24~", "f12"},
};

static void press(struct typist *typist, uint16_t modifier, const struct key *key, bool shift)
{
    uint16_t codes[3];
    unsigned count = 0;
    if (modifier)
        codes[count++] = modifier;
    if (shift)
        codes[count++] = KEY_CODE_SHIFT;
    codes[count++] = key->code;
    typist_chord(typist, codes, count, NULL); /* too quick: lost, as on a real keyboard */
}

static void press_byte(struct typist *typist, uint16_t modifier, uint8_t byte)
{
    bool shift;
    char character = byte == '\r' ? '\n' : byte == '\b' ? '\x7f' : (char)byte;
    const struct key *key = byte < 0x80 ? key_by_character(character, &shift) : NULL;
    if (!key && byte < 0x20) { /* Ctrl-A to Ctrl-_ */
        modifier = KEY_CODE_CTRL;
        key = key_by_character((char)(byte + (byte && byte < 27 ? 0x60 : 0x40)), &shift);
    }
    if (key)
        press(typist, modifier, key, shift);
}

/* Bytes used, the escape included; 1: an escape alone. */
static size_t press_sequence(struct typist *typist, const uint8_t *bytes, size_t count)
{
    for (unsigned i = 0; i < ARRAY_SIZE(sequences); i++) {
        size_t length = strlen(sequences[i].sequence);
        if (count <= length || memcmp(bytes + 1, sequences[i].sequence, length))
            continue;
        press(typist, 0, key_by_name(sequences[i].key, strlen(sequences[i].key)), false);
        return 1 + length;
    }
    if (count == 1 || bytes[1] == ESCAPE) {
        press_byte(typist, 0, ESCAPE);
        return 1;
    }
    press_byte(typist, KEY_CODE_ALT, bytes[1]);
    return 2;
}

void terminal_keys_type(struct typist *typist, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count;) {
        if (bytes[i] == ESCAPE) {
            i += press_sequence(typist, bytes + i, count - i);
            continue;
        }
        press_byte(typist, 0, bytes[i++]);
    }
}
