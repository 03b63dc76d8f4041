/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM is made of, as JSON: the fields of Cloud Hypervisor's VmConfig where it has one for an
 * option of `nacre run`, and an object "options" for the others:
 *
 *   {"cpus": {"boot_vcpus": 2}, "memory": {"size": 1073741824},
 *    "payload": {"kernel": "/boot/vmlinuz", "initramfs": "...", "cmdline": "..."},
 *    "disks": [{"path": "/srv/root.qcow2", "readonly": false, "settings": "cache=none"}],
 *    "net": [{"settings": "user"}], "options": {"engine": "interpret", "no-hpet": true}}
 */
#ifndef NACRE_MANAGE_CONFIG_H
#define NACRE_MANAGE_CONFIG_H

#include "base/error.h"
#include "manage/state_directory.h"

#include <jansson.h>
#include <stdint.h>

/* Words of a command line, NULL-terminated. */
#define CONFIG_PARENT "parent" /* what its disk began as: a file, or the VM it is a clone of */

#define CONFIG_MEMORY_DEFAULT (UINT64_C(512) << 20) /* bytes */

struct arguments {
    char **words;
    unsigned count;
};

void arguments_add(struct arguments *arguments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* False when memory was short at some time; arguments_free() is due in either case. */
bool arguments_complete(const struct arguments *arguments);
void arguments_free(struct arguments *arguments);

/* Sets or adds what `--option text` says (sizes in bytes); text NULL: the option takes none.
 * -errno with *error. */
int config_set(json_t *config, const char *option, const char *text, struct error *error);

/* Takes out what config_set() has put in. -ENOENT with *error. */
int config_drop(json_t *config, const char *option, struct error *error);
/* The disk that the VM owns becomes its first, and its origin is noted; without a kernel or
 * firmware it is booted from. -ENOMEM with *error. */
int config_add_own_disk(json_t *config, const char *path, const char *origin, struct error *error);

/* Disks below one folder are below another now. */
void config_move_disks(json_t *config, const char *from, const char *to);

/* The disk of this id is no part of it any more. */
void config_remove_disk(json_t *config, const char *id);

/* Adds the options of `nacre run` that make this machine. -EINVAL with *error: which field is
 * wrong. */
int config_arguments(const json_t *config, struct arguments *arguments, struct error *error);

/* Puts in what has a default and is not there. */
void config_complete(json_t *config);

/* NULL with *error. */
json_t *config_load(const struct state_directory *directory, struct error *error);
int config_save(const struct state_directory *directory, const json_t *config, struct error *error);

#endif
