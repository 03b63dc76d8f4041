/* SPDX-License-Identifier: Apache-2.0 */
/* The process that supervises a VM and serves its API, from its start to its end. */
#ifndef NACRE_CLI_SUPERVISE_H
#define NACRE_CLI_SUPERVISE_H

#include "base/log.h"
#include "manage/state_directory.h"

struct supervise_config {
    struct state_directory *directory; /* of the VM to boot; NULL: the API's clients bring one */
    const char *socket;                /* where the API is */
    const char *restore; /* folder of the snapshot that the VM goes on from; NULL: it boots */
    unsigned copy;       /* as of snapshot_restore(): manage/snapshot.h */
    /* The VM has booted, or without one the API can be used. */
    void (*ready)(void *opaque);
    void *opaque;
};

/* Returns the exit code. Errors have been told in the log. */
int supervise(const struct supervise_config *config, struct log *log);

#endif
