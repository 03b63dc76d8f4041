/* SPDX-License-Identifier: Apache-2.0 */
/* All VMs of this user, for the commands about more than one. */
#ifndef NACRE_CLI_VM_TABLE_H
#define NACRE_CLI_VM_TABLE_H

#include "manage/state_directory.h"

#include <jansson.h>
#include <stdint.h>
#include <time.h>

struct vm_summary {
    const char *name;
    const char *state;   /* "Stopped", "Damaged", or as the API says */
    json_t *info;        /* as of vm_command_info(); NULL when damaged */
    const char *parent;  /* "" when it has none */
    uint64_t disk_bytes; /* that its directory takes on the host */
    time_t last_used;    /* or made, or changed; now for a VM that runs */
    const struct state_directory *directory;
};

/* Calls `each` for every VM, sorted by name. The summary lives as long as the call. Stops at what
 * is not 0, and returns it; -errno with *error. */
int vm_table_each(int (*each)(void *opaque, const struct vm_summary *vm, struct error *error),
                  void *opaque, struct error *error);

/* Locks the VM and deletes it; -EBUSY with *error when it runs, or another is based on it. */
int vm_delete(struct state_directory *directory, struct error *error);

/* "12.3G". */
void size_print(uint64_t bytes, char text[16]);
/* "3d 4h", "5m 6s". */
void duration_print(uint64_t seconds, char text[16]);

#endif
