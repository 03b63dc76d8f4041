/* SPDX-License-Identifier: Apache-2.0 */
/* Presses keys at the pace of a quick hand, so that no guest's keyboard buffer runs over. All on
 * the event loop's thread. */
#ifndef NACRE_DISPLAY_TYPIST_H
#define NACRE_DISPLAY_TYPIST_H

#include "base/loop.h"
#include "display/input.h"

#include <stdbool.h>
#include <stddef.h>

#define TYPIST_MOVES_MAX 16384 /* keys going down or up that may wait */

struct typist;

/* NULL with *error. input outlives it. */
struct typist *typist_create(struct loop *loop, const struct input_sink *input,
                             struct error *error);
void typist_destroy(struct typist *typist);

/* A key goes down or up: at once when nothing waits. -ENOSPC with *error when too much does. */
int typist_move(struct typist *typist, uint16_t code, bool down, struct error *error);

/* Presses keys in order and releases them in reverse. All or nothing, here and below. */
int typist_chord(struct typist *typist, const uint16_t *codes, unsigned count, struct error *error);

/* Types ASCII text in the US layout. -EINVAL with *error as well. */
int typist_text(struct typist *typist, const char *text, size_t length, struct error *error);

#endif
