/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the process that supervises a VM, in the background as a rule. */
#ifndef NACRE_CLI_LAUNCH_H
#define NACRE_CLI_LAUNCH_H

#include "manage/state_directory.h"

struct vm_launch {
    struct state_directory *directory;
    bool foreground;     /* stays until the VM is off */
    const char *restore; /* folder of the snapshot to go on from; NULL: boots */
    unsigned copy;       /* as of snapshot_restore(): manage/snapshot.h */
    char log_path[STATE_PATH_MAX];
};

/* Returns an exit code when the VM has booted, or why it has not was told on stderr. */
int vm_launch(struct vm_launch *start, struct error *error);

#endif
