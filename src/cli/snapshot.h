/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands about snapshots have in common. */
#ifndef NACRE_CLI_SNAPSHOT_H
#define NACRE_CLI_SNAPSHOT_H

#include "manage/state_directory.h"

/* Where the VM's snapshot of that name is. -errno with *error when there is none. */
int snapshot_find(const struct state_directory *directory, const char *tag,
                  char folder[STATE_PATH_MAX], struct error *error);
/* Saves the running VM there, and says how long it took; lasting: so that a crash of the host
 * cannot lose it. -errno with *error. */
int snapshot_make(const struct state_directory *directory, const char *tag, bool lasting,
                  struct error *error);

#endif
