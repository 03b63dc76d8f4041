/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual machine: memory, bus, devices and vcpus put together from a configuration, and its
 * life. */
#ifndef NACRE_VM_VM_H
#define NACRE_VM_VM_H

#include "base/thread.h"
#include "boot/boot.h"
#include "boot/firmware.h"
#include "bus/bus.h"
#include "console/console.h"
#include "cpu/control.h"
#include "cpu/engine.h"
#include "device/devices.h"
#include "disk/block.h"
#include "display/display.h"
#include "vm/boot_order.h"

#define VM_DISKS_MAX 8
#define VM_NETS_MAX  8

struct snapshot;

struct vm_config {
    struct boot_options boot;         /* of a kernel, when there is no firmware */
    struct firmware_options firmware; /* what runs first; no image: boot's kernel */
    struct boot_order boot_order;     /* of the firmware */
    uint64_t memory_size;             /* bytes */
    unsigned cpu_count;
    const struct cpu_model *model;
    const struct engine_ops
        *engine; /* runs first; all others too with engine_options.switch_every */
    struct engine_options engine_options;
    struct block_options disks[VM_DISKS_MAX];
    unsigned disk_count;
    struct block_options cdrom, floppy; /* path NULL: no drive */
    const char *nets[VM_NETS_MAX];      /* as after --net */
    unsigned net_count;
    bool test_device;                 /* for test suites of kernels */
    bool no_reboot;                   /* a guest reboot ends the VM */
    struct snapshot *restore;         /* goes on from there instead of booting; NULL: boots */
    bool clone;                       /* of what is restored: a machine beside it */
    bool can_attach;                  /* disks may come: attach.h */
    bool can_save;                    /* vm_save() may be called: the jail allows it */
    bool no_hpet;                     /* leave out the HPET and its ACPI table */
    struct console *serial;           /* COM1's other end; NULL: nobody there. Outlives the VM */
    struct console *console;          /* virtio-console; NULL: none. Outlives the VM */
    struct console *debug_console;    /* the firmware's messages; NULL: none. Outlives the VM */
    struct display *display;          /* NULL: no screen, no keyboard. Outlives the VM */
    const struct trace *trace;        /* NULL: nothing is traced. Outlives the VM */
    const struct thread_guard *guard; /* what each thread enters; NULL: none */
};

/* How a VM ended. */
enum vm_end {
    VM_END_NONE,
    VM_END_POWER_OFF,
    VM_END_PANIC,
    VM_END_TEST, /* by the test device: vm_test_code() */
    VM_END_TRIPLE_FAULT,
    VM_END_STOPPED,
    VM_END_ERROR
};

struct vm;

/* Checks and builds everything, runs nothing. NULL with *error. */
struct vm *vm_create(const struct vm_config *config, struct loop *loop, struct log *log,
                     struct error *error);
void vm_destroy(struct vm *vm);

/* Makes the vcpu threads and lets them run; `ended` is called on the loop's thread when the VM is
 * over. */
int vm_start(struct vm *vm, void (*ended)(void *opaque), void *opaque, struct error *error);

/* No vcpu runs from here on, until vm_resume(). Time goes on. On the loop's thread; twice is as
 * once. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
/* As the reset button does; a paused VM stays paused. On the loop's thread. -errno with *error: the
 * VM cannot go on. */
int vm_reset(struct vm *vm, struct error *error);
/* Ends the VM from outside. On the loop's thread. */
void vm_stop(struct vm *vm);
enum vm_end vm_end(const struct vm *vm);
/* The code by which test suites want the process to end: odd, so never that of success. */
int vm_test_code(const struct vm *vm);
/* One line about why a VM ended badly; empty otherwise. */
const char *vm_report(const struct vm *vm);
void vm_press_power(struct vm *vm);
/* What a disk's guest has asked for; NULL: there is no such disk. Loop's thread. */
const struct block_counters *vm_disk_counters(const struct vm *vm, unsigned index);

/* What the screen shows, as a PNG file to fd; a text screen's characters, as UTF-8 with a newline
 * after each row, to be freed. Types ASCII text; presses keys, as "ctrl-alt-del". On the loop's
 * thread. -errno or NULL with *error: -ENODEV without a screen. */
int vm_screenshot(struct vm *vm, int fd, struct error *error);
char *vm_screen_text(struct vm *vm, struct error *error);
int vm_type(struct vm *vm, const char *text, size_t length, struct error *error);
int vm_press(struct vm *vm, const char *chord, struct error *error);

/* NULL when there is none of that number. */
const struct block *vm_disk(const struct vm *vm, unsigned index);
/* What vcpus and engines have counted, a line each; also while they run. */
void vm_print_stats(struct vm *vm, FILE *stream);

#endif
