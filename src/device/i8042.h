/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller, with a keyboard and a mouse or as the reset line alone. */
#ifndef NACRE_DEVICE_I8042_H
#define NACRE_DEVICE_I8042_H

#include "bus/bus.h"
#include "display/input.h"

/* With a keyboard and a mouse when `input` is given: that is filled in with what they are moved
 * by, from any thread. Else the ports read as empty and only the guest's pulse of the reset line
 * does something. -errno with *error. */
int i8042_create(struct bus *bus, struct input_sink *input, struct error *error);

#endif
