/* SPDX-License-Identifier: Apache-2.0 */
/* Types at the pace of a quick hand, so that no guest's keyboard buffer runs over. All on the event
 * loop's thread. */
#ifndef NACRE_DISPLAY_TYPIST_H
#define NACRE_DISPLAY_TYPIST_H

#include "base/loop.h"
#include "display/input.h"

#include <stddef.h>

#define TYPIST_STROKES_MAX 4096 /* waiting to be typed */

struct typist;

/* NULL with *error. input outlives it. */
struct typist *typist_create(struct loop *loop, const struct input_sink *input,
                             struct error *error);
void typist_destroy(struct typist *typist);

/* Presses up to KEY_CHORD_MAX keys in order and releases them in reverse. -ENOSPC with *error when
 * too much waits. */
int typist_chord(struct typist *typist, const uint16_t *codes, unsigned count, struct error *error);

/* Types ASCII text in the US layout: all of it or nothing. -EINVAL with *error. */
int typist_text(struct typist *typist, const char *text, size_t length, struct error *error);

#endif
