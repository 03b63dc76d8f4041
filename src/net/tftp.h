/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_NET_TFTP_H
#define NACRE_NET_TFTP_H

#include "base/error.h"

/*
 * Opens a folder and all files in and below it, symbolic links aside, for as long as the process
 * lives: in its jail it serves what is open (jail/handout.h). Returns the folder's real path, which
 * the caller frees, or NULL with *error.
 */
char *tftp_open_folder(const char *path, struct error *error);

#endif
