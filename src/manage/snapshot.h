/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of a VM: a folder with what a machine writes (vm/snapshot.h) and with machine.json,
 * which says what the machine was made of and which images its disks were, written by nobody since:
 *
 *   {"name": "web", "config": {...},
 *    "disks": [{"disk": 0, "path": "...", "format": "raw", "size": 1073741824}]}
 *
 * Images in the VM's own directory are named relative to the folder: a VM may be renamed.
 */
#ifndef NACRE_MANAGE_SNAPSHOT_H
#define NACRE_MANAGE_SNAPSHOT_H

#include "manage/supervisor.h"

#define SNAPSHOT_MACHINE "machine.json"

/* Saves the running machine in a new folder; lasting: so that a crash of the host cannot lose it.
 * done is called later with "pause_us" and "total_us", unless this returns -errno with *error. */
int snapshot_take(struct supervisor *supervisor, const char *folder, bool lasting, const char *by,
                  supervisor_done *done, void *opaque, struct error *error);

/*
 * Makes a VM from a snapshot and boots it; in every state without a machine. copy: 0 for what the
 * snapshot was made of; 1 and up: the number of a clone beside it, with network cards, a generation
 * and forwarded ports of its own (as many higher).
 */
int snapshot_restore(struct supervisor *supervisor, const char *folder, unsigned copy,
                     const char *by, supervisor_done *done, void *opaque, struct error *error);

#endif
