/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: what a machine is at one moment, in two files of one folder.
 *
 *   state    processors and devices: vm/state_file.h
 *   memory   guest RAM: memory/image.h; finished before the other is begun, so a state without a
 *            fault means a snapshot without one
 *
 * Why a snapshot forks: docs/decisions/snapshots.md.
 */
#ifndef NACRE_VM_SNAPSHOT_H
#define NACRE_VM_SNAPSHOT_H

#include "base/state.h"
#include "cpu/control.h"
#include "disk/block.h"
#include "memory/memory.h"
#include "vm/vm.h"

#define SNAPSHOT_STATE  "state"
#define SNAPSHOT_MEMORY "memory"

/* What a machine must be made with to take a snapshot in. */
struct snapshot_machine {
    uint64_t memory_size; /* bytes */
    uint32_t cpu_count;
    char model[32]; /* of the processors */
    struct cpu_host_features features;
    uint64_t clock_ns; /* that the guest's clocks have run */
};

/* A snapshot that was opened to be restored. */
struct snapshot;

/* Its two files, or the empty ones of a new snapshot. */
struct snapshot_files {
    int state, memory; /* descriptors; -1: none */
};

/* NULL with *error. */
struct snapshot *snapshot_open(const char *folder, struct error *error);
/* As snapshot_open(); takes the files over, also when it fails. */
struct snapshot *snapshot_open_files(const struct snapshot_files *files, struct error *error);
const struct snapshot_machine *snapshot_machine(const struct snapshot *snapshot);
/* All of RAM is read: for who wants to know before it is too late. -EINVAL with *error. */
int snapshot_verify(const struct snapshot *snapshot, struct error *error);
/* What memory_create() is for other machines. */
struct memory *snapshot_open_memory(const struct snapshot *snapshot, struct error *error);
/* Fills a machine just built. -EINVAL with *error: the snapshot is of another machine. */
int snapshot_load(struct snapshot *snapshot, struct vm *vm, struct error *error);
void snapshot_close(struct snapshot *snapshot);

/* Makes the folder if it is not there. The files must not be. -errno with *error. */
int snapshot_create_files(const char *folder, struct snapshot_files *files, struct error *error);
void snapshot_close_files(struct snapshot_files *files);

/* What a snapshot is written to. */
struct snapshot_request {
    struct snapshot_files files; /* the caller's */
    bool lasting;                /* done means that a crash of the host cannot lose it */
    /* What takes the place of each disk that may be written, whose image is the snapshot's from
     * then on; fd -1: none. Taken over. */
    struct block_overlay overlays[VM_DISKS_MAX];
};

/* How it went. */
struct snapshot_outcome {
    int result;        /* 0 or -errno */
    bool switched;     /* the disks are on their overlays, also when something failed later */
    uint64_t pause_ns; /* that the machine stood still */
    uint64_t total_ns; /* until the files were written */
};

/*
 * Saves the machine, which goes on after a short pause while a child process writes the files. done
 * is called later unless this fails: -EBUSY while another one is on its way or the guest powers
 * off, or another -errno with *error. On the loop's thread; the machine must have been made with
 * config.can_save.
 */
int vm_save(struct vm *vm, const struct snapshot_request *request,
            void (*done)(void *opaque, const struct snapshot_outcome *outcome), void *opaque,
            struct error *error);

#endif
