/* SPDX-License-Identifier: Apache-2.0 */
#include "display/typist.h"

#include "base/clock.h"
#include "display/keys.h"

#include <errno.h>
#include <stdlib.h>

#define MOVE_NS UINT64_C(7000000) /* from one to the next */

struct move {
    uint16_t code;
    bool down;
};

struct typist {
    const struct input_sink *input;
    struct loop_timer *timer;
    struct move moves[TYPIST_MOVES_MAX];
    unsigned start, count;
    uint64_t next_ns; /* no move before then */
};

static void turn(void *opaque)
{
    struct typist *typist = opaque;
    if (!typist->count)
        return;
    uint64_t now = clock_monotonic_ns();
    if (now >= typist->next_ns) {
        const struct move *move = &typist->moves[typist->start];
        typist->input->key(typist->input->opaque, move->code, move->down);
        typist->start = (typist->start + 1) % TYPIST_MOVES_MAX;
        typist->count--;
        typist->next_ns = now + MOVE_NS;
    }
    if (typist->count)
        loop_timer_arm(typist->timer, typist->next_ns);
}

static int check_room(const struct typist *typist, size_t more, struct error *error)
{
    if (more <= TYPIST_MOVES_MAX - typist->count)
        return 0;
    return error_set(error, ENOSPC, "keyboard: too many keys wait to be pressed; try again later");
}

static void add(struct typist *typist, uint16_t code, bool down)
{
    unsigned end = (typist->start + typist->count++) % TYPIST_MOVES_MAX;
    typist->moves[end] = (struct move){code, down};
    if (typist->count == 1)
        turn(typist);
}

int typist_move(struct typist *typist, uint16_t code, bool down, struct error *error)
{
    int result = check_room(typist, 1, error);
    if (result == 0)
        add(typist, code, down);
    return result;
}

static void add_chord(struct typist *typist, const uint16_t *codes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        add(typist, codes[i], true);
    while (count--)
        add(typist, codes[count], false);
}

int typist_chord(struct typist *typist, const uint16_t *codes, unsigned count, struct error *error)
{
    int result = check_room(typist, (size_t)count * 2, error);
    if (result == 0)
        add_chord(typist, codes, count);
    return result;
}

int typist_text(struct typist *typist, const char *text, size_t length, struct error *error)
{
    bool shift;
    int result = check_room(typist, length * 4, error);
    if (result < 0)
        return result;
    for (size_t i = 0; i < length; i++)
        if (!key_by_character(text[i], &shift))
            return error_set(
                error, EINVAL,
                "keyboard: no key types character %zu (0x%02x); only ASCII can be typed", i + 1,
                (uint8_t)text[i]);
    for (size_t i = 0; i < length; i++) {
        const struct key *key = key_by_character(text[i], &shift);
        const uint16_t codes[] = {KEY_CODE_SHIFT, key->code};
        add_chord(typist, codes + !shift, 1 + shift);
    }
    return 0;
}

struct typist *typist_create(struct loop *loop, const struct input_sink *input, struct error *error)
{
    struct typist *typist = calloc(1, sizeof(*typist));
    if (!typist) {
        error_set(error, ENOMEM, "keyboard: out of memory");
        return NULL;
    }
    typist->input = input;
    typist->timer = loop_timer_create(loop, turn, typist, error);
    if (typist->timer)
        return typist;
    free(typist);
    return NULL;
}

void typist_destroy(struct typist *typist)
{
    if (!typist)
        return;
    loop_timer_destroy(typist->timer);
    free(typist);
}
