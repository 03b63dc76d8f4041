/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DISPLAY_PNG_H
#define NACRE_DISPLAY_PNG_H

#include "display/screen.h"

/* Writes the picture shown as a PNG file (RGB, 8 bits) to fd, which stays the caller's. -errno with
 * *error. */
int png_write_screen(const struct screen *screen, int fd, struct error *error);

#endif
