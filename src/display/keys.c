/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of a PC keyboard with 102 keys in the US layout: names for commands, scan codes (set 1,
 * IBM PS/2 Hardware Interface Technical Reference), characters, and X11 key symbols
 * (X11/keysymdef.h), by which VNC clients name keys.
 */
#include "display/keys.h"

#include "base/bits.h"

#include <errno.h>

static const struct key keys[] = {
    {"esc", 0x01, '\x1b', 0, 0xff1b},
    {"1", 0x02, '1', '!', 0},
    {"2", 0x03, '2', '@', 0},
    {"3", 0x04, '3', '#', 0},
    {"4", 0x05, '4', '$', 0},
    {"5", 0x06, '5', '%', 0},
    {"6", 0x07, '6', '^', 0},
    {"7", 0x08, '7', '&', 0},
    {"8", 0x09, '8', '*', 0},
    {"9", 0x0a, '9', '(', 0},
    {"0", 0x0b, '0', ')', 0},
    {"minus", 0x0c, '-', '_', 0},
    {"equal", 0x0d, '=', '+', 0},
    {"backspace", 0x0e, '\x7f', 0, 0xff08},
    {"tab", 0x0f, '\t', 0, 0xff09},
    {"q", 0x10, 'q', 'Q', 0},
    {"w", 0x11, 'w', 'W', 0},
    {"e", 0x12, 'e', 'E', 0},
    {"r", 0x13, 'r', 'R', 0},
    {"t", 0x14, 't', 'T', 0},
    {"y", 0x15, 'y', 'Y', 0},
    {"u", 0x16, 'u', 'U', 0},
    {"i", 0x17, 'i', 'I', 0},
    {"o", 0x18, 'o', 'O', 0},
    {"p", 0x19, 'p', 'P', 0},
    {"bracketleft", 0x1a, '[', '{', 0},
    {"bracketright", 0x1b, ']', '}', 0},
    {"enter", 0x1c, '\n', 0, 0xff0d},
    {"ctrl", 0x1d, 0, 0, 0xffe3},
    {"a", 0x1e, 'a', 'A', 0},
    {"s", 0x1f, 's', 'S', 0},
    {"d", 0x20, 'd', 'D', 0},
    {"f", 0x21, 'f', 'F', 0},
    {"g", 0x22, 'g', 'G', 0},
    {"h", 0x23, 'h', 'H', 0},
    {"j", 0x24, 'j', 'J', 0},
    {"k", 0x25, 'k', 'K', 0},
    {"l", 0x26, 'l', 'L', 0},
    {"semicolon", 0x27, ';', ':', 0},
    {"apostrophe", 0x28, '\'', '"', 0},
    {"grave", 0x29, '`', '~', 0},
    {"shift", 0x2a, 0, 0, 0xffe1},
    {"backslash", 0x2b, '\\', '|', 0},
    {"z", 0x2c, 'z', 'Z', 0},
    {"x", 0x2d, 'x', 'X', 0},
    {"c", 0x2e, 'c', 'C', 0},
    {"v", 0x2f, 'v', 'V', 0},
    {"b", 0x30, 'b', 'B', 0},
    {"n", 0x31, 'n', 'N', 0},
    {"m", 0x32, 'm', 'M', 0},
    {"comma", 0x33, ',', '<', 0},
    {"dot", 0x34, '.', '>', 0},
    {"slash", 0x35, '/', '?', 0},
    {"shift_right", 0x36, 0, 0, 0xffe2},
    {"kp_multiply", 0x37, 0, 0, 0xffaa},
    {"alt", 0x38, 0, 0, 0xffe9},
    {"space", 0x39, ' ', 0, 0},
    {"caps_lock", 0x3a, 0, 0, 0xffe5},
    {"f1", 0x3b, 0, 0, 0xffbe},
    {"f2", 0x3c, 0, 0, 0xffbf},
    {"f3", 0x3d, 0, 0, 0xffc0},
    {"f4", 0x3e, 0, 0, 0xffc1},
    {"f5", 0x3f, 0, 0, 0xffc2},
    {"f6", 0x40, 0, 0, 0xffc3},
    {"f7", 0x41, 0, 0, 0xffc4},
    {"f8", 0x42, 0, 0, 0xffc5},
    {"f9", 0x43, 0, 0, 0xffc6},
    {"f10", 0x44, 0, 0, 0xffc7},
    {"num_lock", 0x45, 0, 0, 0xff7f},
    {"scroll_lock", 0x46, 0, 0, 0xff14},
    {"kp_7", 0x47, 0, 0, 0xffb7},
    {"kp_8", 0x48, 0, 0, 0xffb8},
    {"kp_9", 0x49, 0, 0, 0xffb9},
    {"kp_subtract", 0x4a, 0, 0, 0xffad},
    {"kp_4", 0x4b, 0, 0, 0xffb4},
    {"kp_5", 0x4c, 0, 0, 0xffb5},
    {"kp_6", 0x4d, 0, 0, 0xffb6},
    {"kp_add", 0x4e, 0, 0, 0xffab},
    {"kp_1", 0x4f, 0, 0, 0xffb1},
    {"kp_2", 0x50, 0, 0, 0xffb2},
    {"kp_3", 0x51, 0, 0, 0xffb3},
    {"kp_0", 0x52, 0, 0, 0xffb0},
    {"kp_decimal", 0x53, 0, 0, 0xffae},
    {"less", 0x56, 0, 0, 0},
    {"f11", 0x57, 0, 0, 0xffc8},
    {"f12", 0x58, 0, 0, 0xffc9},
    {"kp_enter", 0xe01c, 0, 0, 0xff8d},
    {"ctrl_right", 0xe01d, 0, 0, 0xffe4},
    {"kp_divide", 0xe035, 0, 0, 0xffaf},
    {"print", 0xe037, 0, 0, 0xff61},
    {"alt_right", 0xe038, 0, 0, 0xffea},
    {"home", 0xe047, 0, 0, 0xff50},
    {"up", 0xe048, 0, 0, 0xff52},
    {"page_up", 0xe049, 0, 0, 0xff55},
    {"left", 0xe04b, 0, 0, 0xff51},
    {"right", 0xe04d, 0, 0, 0xff53},
    {"end", 0xe04f, 0, 0, 0xff57},
    {"down", 0xe050, 0, 0, 0xff54},
    {"page_down", 0xe051, 0, 0, 0xff56},
    {"insert", 0xe052, 0, 0, 0xff63},
    {"delete", 0xe053, 0, 0, 0xffff},
    {"super", 0xe05b, 0, 0, 0xffeb},
    {"super_right", 0xe05c, 0, 0, 0xffec},
    {"menu", 0xe05d, 0, 0, 0xff67},
};

/* Other names that people use. */
static const struct {
    const char *name, *meant;
} aliases[] = {
    {"escape", "esc"},  {"return", "enter"},    {"ret", "enter"},    {"del", "delete"},
    {"ins", "insert"},  {"spc", "space"},       {"pgup", "page_up"}, {"pgdn", "page_down"},
    {"sysrq", "print"}, {"altgr", "alt_right"},
};

/* Key symbols besides those of the table. */
static const struct {
    uint32_t keysym;
    const char *meant;
} keysyms[] = {
    {0xff95, "kp_7"},      {0xff96, "kp_4"}, {0xff97, "kp_8"},       {0xff98, "kp_6"},
    {0xff99, "kp_2"},      {0xff9a, "kp_9"}, {0xff9b, "kp_3"},       {0xff9c, "kp_1"},
    {0xff9d, "kp_5"},      {0xff9e, "kp_0"}, {0xff9f, "kp_decimal"}, {0xffe7, "super"},
    {0xfe03, "alt_right"}, {0xfe20, "tab"},
};

const struct key *key_by_name(const char *name, size_t length)
{
    for (unsigned i = 0; i < ARRAY_SIZE(aliases); i++)
        if (strlen(aliases[i].name) == length && !memcmp(aliases[i].name, name, length))
            return key_by_name(aliases[i].meant, strlen(aliases[i].meant));
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
        if (strlen(keys[i].name) == length && !memcmp(keys[i].name, name, length))
            return &keys[i];
    return NULL;
}

const struct key *key_by_character(char character, bool *shift)
{
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
        *shift = character && keys[i].shifted == character;
        if (*shift || (character && keys[i].plain == character))
            return &keys[i];
    }
    return NULL;
}

const struct key *key_by_keysym(uint32_t keysym, bool *shift)
{
    *shift = false;
    if (keysym >= 0x20 && keysym < 0x7f) /* Latin-1 stands for itself */
        return key_by_character((char)keysym, shift);
    for (unsigned i = 0; i < ARRAY_SIZE(keysyms); i++)
        if (keysyms[i].keysym == keysym)
            return key_by_name(keysyms[i].meant, strlen(keysyms[i].meant));
    for (unsigned i = 0; keysym && i < ARRAY_SIZE(keys); i++)
        if (keys[i].keysym == keysym)
            return &keys[i];
    return NULL;
}

int key_parse_chord(const char *text, uint16_t *codes, unsigned *count, struct error *error)
{
    *count = 0;
    for (const char *start = text;;) {
        size_t length = strcspn(start, "-");
        const struct key *key = key_by_name(start, length);
        if (!key)
            return error_set(error, EINVAL, "key '%.*s': no such key; see nacre key --help",
                             (int)(length < 40 ? length : 40), start);
        if (*count == KEY_CHORD_MAX)
            return error_set(error, EINVAL, "key '%.80s': at most %d keys at once", text,
                             KEY_CHORD_MAX);
        codes[(*count)++] = key->code;
        if (!start[length])
            return 0;
        start += length + 1;
    }
}

const char *key_name(unsigned index)
{
    return index < ARRAY_SIZE(keys) ? keys[index].name : NULL;
}
