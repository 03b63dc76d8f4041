/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where what is known of a VM lies, a directory each, for its user only:
 *
 *   config.json   what the machine is made of
 *   api.sock      the API of the running VM
 *   events.log    who did what when; a JSON object a line
 *   disk.qcow2    the disk that it owns, if any
 *   seed.img      what cloud-init is to do, if anything
 *   nacre.log     messages of its processes
 *   console.sock  the serial port of the running VM
 *   console.log   what the guest said there; the older half is console.log.old
 *   lock          held by the process that runs it: a dead process holds none, so what a crash left
 *                 behind is told from what is alive
 *
 * They are below $NACRE_STATE; else /var/lib/nacre for root, $XDG_STATE_HOME/nacre or
 * ~/.local/state/nacre for others.
 */
#ifndef NACRE_MANAGE_STATE_DIRECTORY_H
#define NACRE_MANAGE_STATE_DIRECTORY_H

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>

#define VM_NAME_MAX 32

#define STATE_CONFIG "config.json"
#define STATE_SOCKET "api.sock"
#define STATE_EVENTS "events.log"
#define STATE_LOG    "nacre.log"
#define STATE_SERIAL "console.sock"
#define STATE_DISK   "disk.qcow2"
#define STATE_SEED   "seed.img"
#define STATE_SAID   "console.log"

/* Room for the path of a file in one. */
#define STATE_PATH_MAX (PATH_MAX + 32)

struct state_directory {
    char name[VM_NAME_MAX + 1];
    char path[PATH_MAX];
    int fd;
    int lock_fd; /* -1: not held */
};

/* A name: 1 to VM_NAME_MAX letters, digits, dots, dashes and underscores, the first a letter or
 * digit. what: what to name in the error, as "--name". -EINVAL with *error. */
int vm_name_check(const char *what, const char *name, struct error *error);

/* Makes an empty one. -EEXIST, or another -errno with *error. */
int state_directory_create(struct state_directory *directory, const char *name,
                           struct error *error);
/* -ENOENT when there is no such VM, or another -errno with *error. */
int state_directory_open(struct state_directory *directory, const char *name, struct error *error);
void state_directory_close(struct state_directory *directory);

/* For the process that runs, changes or deletes the VM. -EBUSY when another has it. */
int state_directory_lock(struct state_directory *directory, struct error *error);
/* The process that holds the lock; 0: nobody. */
int state_directory_owner(const struct state_directory *directory);

/* The path of a file in it. */
void state_directory_file(const struct state_directory *directory, const char *file,
                          char path[STATE_PATH_MAX]);
/* Replaces a file at once and for good: a crash leaves the old one or the new one. */
int state_directory_write(const struct state_directory *directory, const char *file,
                          const char *text, struct error *error);
/* Gives it another name. The lock must be held. -EEXIST, or another -errno with *error. */
int state_directory_rename(struct state_directory *directory, const char *name,
                           struct error *error);
/* Removes all files, then the directory. The lock must be held. */
int state_directory_delete(struct state_directory *directory, struct error *error);

/* The names of all VMs, sorted; *count of them. free_names() is due. -errno with *error. */
int state_directory_names(char ***names, unsigned *count, struct error *error);
void state_directory_free_names(char **names, unsigned count);

#endif
