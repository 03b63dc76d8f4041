/* SPDX-License-Identifier: Apache-2.0 */
/* What saving and restoring share: which sections a machine's state has. */
#ifndef NACRE_VM_SNAPSHOT_PRIVATE_H
#define NACRE_VM_SNAPSHOT_PRIVATE_H

#include "vm/snapshot.h"
#include "vm/state_file.h"

#define SECTION_MACHINE "machine"
#define SECTION_MEMORY  "memory"

/* What must fit together beside the sizes. */
struct snapshot_memory {
    uint64_t size;     /* bytes */
    uint32_t checksum; /* memory_checksum() */
};

extern const struct state_table snapshot_machine_state, snapshot_memory_state;

/* flags: of open(). -errno with *error, and then none is open. */
int snapshot_open_folder(const char *folder, int flags, struct snapshot_files *files,
                         struct error *error);

/* An object that has a section of its own. */
struct snapshot_part {
    char name[STATE_SECTION_NAME];
    const struct state_table *table;
    void *object;
};

/* Calls visit for each part of every vcpu, until one fails. */
int snapshot_for_each_cpu_part(struct vm *vm,
                               int (*visit)(void *opaque, const struct snapshot_part *part,
                                            struct error *error),
                               void *opaque, struct error *error);

#endif
