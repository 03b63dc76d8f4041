/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands about one named VM have in common. */
#ifndef NACRE_CLI_VM_COMMAND_H
#define NACRE_CLI_VM_COMMAND_H

#include "cli/cli.h"
#include "manage/state_directory.h"

#include <jansson.h>

/* The options of such a command begin with this. */
struct vm_command {
    const char *name; /* the word on the command line */
    struct state_directory directory;
};

/* A command's `argument` that takes the name. */
int vm_command_argument(void *target, const char *text, struct error *error);
/* Parses and opens the VM's directory; vm_command_close() is due in any case. 0, 1 after --help, or
 * -errno with *error. */
int vm_command_open(const struct command *command, struct vm_command *vm, int argc, char **argv,
                    struct error *error);
void vm_command_close(struct vm_command *vm);

/* The exit code of a command that ended so; a failure is told on stderr. */
int command_end(int result, const struct error *error);

/* What a command does with its options once its VM is open. 0, or -errno with *error. */
typedef int vm_command_work(struct vm_command *vm, struct error *error);

/* From parsing to the exit code. vm: the start of the command's options. */
int vm_command_run(const struct command *command, struct vm_command *vm, int argc, char **argv,
                   vm_command_work *work);

/* Asks the running VM: api/client.h. -ESRCH with *error when it is not running. */
int vm_command_ask(const struct state_directory *directory, const char *method,
                   const char *endpoint, const json_t *body, json_t **reply, struct error *error);

/* What vm.info says, or the same about a VM that is not running. json_decref() is due. -errno with
 * *error. */
int vm_command_info(const struct state_directory *directory, json_t **info, struct error *error);
/* Ends the VM as if its power failed, and waits for the end of its process. -errno with *error. */
int vm_stop_by_force(const struct state_directory *directory, struct error *error);

#endif
