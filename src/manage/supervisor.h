/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor of one VM: a process that no guest's data passes through but for short messages.
 * It starts the machine's process, opens for it what its jail keeps it from, and does what the API
 * asks for. All on its loop's thread.
 */
#ifndef NACRE_MANAGE_SUPERVISOR_H
#define NACRE_MANAGE_SUPERVISOR_H

#include "base/log.h"
#include "base/loop.h"
#include "manage/state_directory.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* As in Cloud Hypervisor's API; the first is that of a VMM without a VM. */
enum vm_state { VM_NONE, VM_CREATED, VM_RUNNING, VM_PAUSED, VM_SHUTDOWN };

struct supervisor;

/* An operation is over: why is NULL when all went well; body may be NULL, and is the callee's to
 * look at only. */
typedef void supervisor_done(void *opaque, const json_t *body, const char *why);

/* directory: of the VM, locked; NULL: it has none, and lives as long as this process does. NULL
 * with *error. */
struct supervisor *supervisor_create(const struct state_directory *directory, struct loop *loop,
                                     struct log *log, struct error *error);
void supervisor_destroy(struct supervisor *supervisor);

enum vm_state supervisor_state(const struct supervisor *supervisor);
/* "Running"; "None" for VM_NONE. */
const char *vm_state_name(enum vm_state state);
/* Of the VM; NULL in VM_NONE. The supervisor's. */
const json_t *supervisor_config(const struct supervisor *supervisor);
/* Of the machine; 0: it has none. */
pid_t supervisor_machine_pid(const struct supervisor *supervisor);
/* Seconds since the boot. 0: it is not running. */
uint64_t supervisor_uptime(const struct supervisor *supervisor);

/* NULL: it has none. */
const struct state_directory *supervisor_directory(const struct supervisor *supervisor);
/* Replaces the config, also on disk, whatever the state. Takes it over in any case. -errno with
 * *error. */
int supervisor_set_config(struct supervisor *supervisor, json_t *config, struct error *error);

/* In VM_NONE. Takes the config over if it is right. -EINVAL with *error. */
int supervisor_define(struct supervisor *supervisor, json_t *config, struct error *error);
/* Not while a machine runs. */
void supervisor_undefine(struct supervisor *supervisor);

/* Starts the machine; in VM_CREATED and VM_SHUTDOWN. by: who asked, for the log of events. done is
 * called later, unless this returns -errno with *error. */
int supervisor_boot(struct supervisor *supervisor, const char *by, supervisor_done *done,
                    void *opaque, struct error *error);
/* As supervisor_boot(), but the machine goes on from a snapshot's folder (vm/snapshot.h). clone:
 * the guest is told that it is another machine now. */
int supervisor_boot_from(struct supervisor *supervisor, const char *folder, bool clone,
                         const char *by, supervisor_done *done, void *opaque, struct error *error);
/* Ends the machine, by force where it must. The same of done. */
int supervisor_shut_down(struct supervisor *supervisor, const char *by, supervisor_done *done,
                         void *opaque, struct error *error);
/* Ends the machine, then the supervisor's loop. */
void supervisor_end(struct supervisor *supervisor, const char *by);
/* Why the loop was ended: an exit code of nacre run. */
int supervisor_exit_code(const struct supervisor *supervisor);

/* Asks the machine, in VM_RUNNING and VM_PAUSED: manage/machine.h. */
int supervisor_ask(struct supervisor *supervisor, const char *operation, json_t *body,
                   const int *fds, unsigned fd_count, supervisor_done *done, void *opaque,
                   struct error *error);
/* A disk has come to the machine; it goes with the event "device-removed". The entry stays the
 * caller's. */
void supervisor_add_disk(struct supervisor *supervisor, json_t *disk);
/* What an operation has led to. */
void supervisor_set_state(struct supervisor *supervisor, enum vm_state state);
/* Each event is told from now on: a JSON object and a line feed. One can listen; NULL: nobody. */
void supervisor_listen(struct supervisor *supervisor,
                       void (*listener)(void *opaque, const char *line), void *opaque);
/* Writes an event down and tells who listens. properties may be NULL, and stay the caller's; by:
 * who asked; NULL: nobody. */
void supervisor_event(struct supervisor *supervisor, const char *event, json_t *properties,
                      const char *by);

#endif
