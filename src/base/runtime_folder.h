/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where this user's sockets and notes lie that end with the host's own run: $NACRE_RUNTIME; else
 * /run/nacre for root, $XDG_RUNTIME_DIR/nacre or /tmp/nacre-UID for others.
 */
#ifndef NACRE_BASE_RUNTIME_FOLDER_H
#define NACRE_BASE_RUNTIME_FOLDER_H

#include "base/error.h"

#define RUNTIME_FOLDER_MAX 64 /* bytes of its path: a socket's must fit in 108 */

/* Makes the folder `part` below it if it is missing, and sees to it that nobody else can get into
 * either. -errno with *error. */
int runtime_folder(char path[RUNTIME_FOLDER_MAX], const char *part, struct error *error);

#endif
