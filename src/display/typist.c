/* SPDX-License-Identifier: Apache-2.0 */
#include "display/typist.h"

#include "base/clock.h"
#include "display/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STROKE_NS UINT64_C(15000000) /* from one to the next */

/* Keys that are held together for a moment. */
struct stroke {
    uint16_t codes[KEY_CHORD_MAX];
    unsigned count;
};

struct typist {
    const struct input_sink *input;
    struct loop_timer *timer;
    struct stroke strokes[TYPIST_STROKES_MAX];
    unsigned start, count;
    bool held; /* the first stroke's keys are down */
};

/* One timer's turn presses, the next one releases: a driver that polls sees both. */
static void turn(void *opaque)
{
    struct typist *typist = opaque;
    const struct input_sink *input = typist->input;
    const struct stroke *stroke = &typist->strokes[typist->start];
    for (unsigned i = 0; i < stroke->count; i++)
        input->key(input->opaque, stroke->codes[typist->held ? stroke->count - 1 - i : i],
                   !typist->held);
    if (typist->held) {
        typist->start = (typist->start + 1) % TYPIST_STROKES_MAX;
        typist->count--;
    }
    typist->held = !typist->held;
    if (typist->count)
        loop_timer_arm(typist->timer, clock_monotonic_ns() + STROKE_NS / 2);
}

static int check_room(const struct typist *typist, size_t more, struct error *error)
{
    if (more <= TYPIST_STROKES_MAX - typist->count)
        return 0;
    return error_set(error, ENOSPC, "keyboard: %zu more keys to press than the %d that may wait",
                     more - (TYPIST_STROKES_MAX - typist->count), TYPIST_STROKES_MAX);
}

static void add(struct typist *typist, const struct stroke *stroke)
{
    typist->strokes[(typist->start + typist->count) % TYPIST_STROKES_MAX] = *stroke;
    if (!typist->count++)
        turn(typist);
}

int typist_chord(struct typist *typist, const uint16_t *codes, unsigned count, struct error *error)
{
    struct stroke stroke = {.count = count};
    int result = check_room(typist, 1, error);
    if (result < 0)
        return result;
    memcpy(stroke.codes, codes, count * sizeof(codes[0]));
    add(typist, &stroke);
    return 0;
}

int typist_text(struct typist *typist, const char *text, size_t length, struct error *error)
{
    bool shift;
    int result = check_room(typist, length, error);
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
        const struct stroke shifted = {{KEY_CODE_SHIFT, key->code}, 2}, plain = {{key->code}, 1};
        add(typist, shift ? &shifted : &plain);
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
