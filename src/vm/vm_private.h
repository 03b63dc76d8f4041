/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of vm/ know of a machine, and nobody else. */
#ifndef NACRE_VM_VM_PRIVATE_H
#define NACRE_VM_VM_PRIVATE_H

#include "vm/attach.h"
#include "vm/snapshot.h"
#include "vm/threads.h"
#include "vm/vm.h"
#include "vm/vm_devices.h"

struct saver;
struct attacher;

struct vm {
    struct vm_config config;
    struct loop *loop;
    struct log *log;
    struct boot_files files;
    struct firmware_variables variables;
    struct memory *memory;
    struct bus bus;
    bool bus_ready;
    struct vcpu_group group;
    struct vm_devices devices;
    struct vcpu_threads threads;
    atomic_int power_request;     /* enum bus_power + 1, 0: none */
    _Atomic uint32_t test_number; /* what the guest wrote to the test device */
    enum vm_end end;
    bool paused;               /* by vm_pause(); loop's thread */
    unsigned full_disks;       /* that wait for room on the host; loop's thread */
    bool paused_for_room;      /* until none does */
    struct attacher *attacher; /* NULL: it was made without config.can_attach */
    struct saver *saver;       /* NULL: it was made without config.can_save */
    char report[1600];
    pthread_mutex_t report_lock;
    void (*ended)(void *opaque);
    void *ended_opaque;
};

/* BARs, kernel, tables, registers: what a power-on or reset with a direct kernel boot amounts to.
 * Firmware does all that itself. -errno with *error. */
int vm_load_guest(struct vm *vm, struct error *error);
/* Makes vm->saver, before the jail. -ENOMEM with *error. */
int saver_create(struct vm *vm, struct error *error);
/* A snapshot on its way is finished by its child process. NULL is allowed. */
void saver_destroy(struct saver *saver);
/* The test device's `ended`. */
void vm_test_ended(void *opaque, uint32_t number);
/* Makes vm->attacher, before the jail. -ENOMEM with *error. */
int attacher_create(struct vm *vm, struct error *error);
/* NULL is allowed in both. Drain: before the bus goes; destroy: after. */
void attacher_drain(struct attacher *attacher);
void attacher_destroy(struct attacher *attacher);
bool attacher_is_empty(const struct attacher *attacher);
/* NULL: there is no such disk. */
const struct block_counters *attacher_counters(const struct attacher *attacher, unsigned index);
/* A disk's watcher; opaque: the VM. */
void vm_disk_full(void *opaque, bool full);

/* No vcpu runs in between; nothing changes for a VM that is paused. Loop's thread. */
void vm_hold(struct vm *vm);
void vm_let_go(struct vm *vm);
/* The bus's power_sink. */
void vm_power_sink(void *opaque, enum bus_power request);

#endif
