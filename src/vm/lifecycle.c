/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a machine: its vcpus run, pause, reset, power off. */
#include "cpu/engine.h"
#include "vm/vm_private.h"

#include <stdio.h>

static void report(struct vm *vm, struct vcpu *vcpu, const char *what)
{
    char registers[1200];
    vcpu_describe(vcpu, registers, sizeof(registers));
    pthread_mutex_lock(&vm->report_lock);
    snprintf(vm->report, sizeof(vm->report), "vcpu %u: %s\n%s", vcpu->index, what, registers);
    pthread_mutex_unlock(&vm->report_lock);
}

static void vm_finish(struct vm *vm, enum vm_end end)
{
    if (vm->end == VM_END_NONE)
        vm->end = end;
    if (vm->ended)
        vm->ended(vm->ended_opaque);
}

static void vm_triple_fault(void *opaque)
{
    vm_finish(opaque, VM_END_TRIPLE_FAULT);
}

static void vm_engine_failed(void *opaque)
{
    vm_finish(opaque, VM_END_ERROR);
}

static const char *exit_name(enum vcpu_exit exit)
{
    static const char *const names[] = {
        [VCPU_EXIT_NONE] = "none",         [VCPU_EXIT_HALT] = "halt",
        [VCPU_EXIT_SHUTDOWN] = "shutdown", [VCPU_EXIT_SWITCH] = "switch",
        [VCPU_EXIT_DEBUG] = "debug",       [VCPU_EXIT_ERROR] = "error",
    };
    return names[exit];
}

/* A PC's board resets when its processor shuts down. Kernels booted directly rather want to be seen
 * dying. */
static void shut_down(struct vm *vm, struct vcpu *vcpu)
{
    if (atomic_load(&vm->power_request))
        return; /* it went on a bit after it had asked for a reset */
    if (vm->config.firmware.image && !vm->config.no_reboot) {
        bus_power(&vm->bus, BUS_POWER_RESET);
        return;
    }
    report(vm, vcpu, "triple fault");
    loop_post(vm->loop, vm_triple_fault, vm);
}

/* True while the thread shall go on. */
static bool handle_exit(struct vm *vm, struct vcpu *vcpu, enum vcpu_exit exit)
{
    if (trace_wants(vm->config.trace, TRACE_EXITS))
        trace_print(vm->config.trace, TRACE_EXITS, "vcpu %u %s at 0x%llx", vcpu->index,
                    exit_name(exit), (unsigned long long)vcpu->rip);
    switch (exit) {
    case VCPU_EXIT_HALT:
        vcpu_wait(vcpu);
        return true;
    case VCPU_EXIT_SWITCH:
        engine_switch(vcpu);
        return true;
    case VCPU_EXIT_SHUTDOWN:
        shut_down(vm, vcpu);
        return false;
    case VCPU_EXIT_ERROR:
        report(vm, vcpu, vcpu->error.message);
        loop_post(vm->loop, vm_engine_failed, vm);
        return false;
    default:
        return true;
    }
}

static bool vm_step(void *opaque, struct vcpu *vcpu)
{
    struct vm *vm = opaque;
    return handle_exit(vm, vcpu, vcpu->engine->run(vcpu));
}

int vm_start(struct vm *vm, void (*ended)(void *opaque), void *opaque, struct error *error)
{
    vm->ended = ended;
    vm->ended_opaque = opaque;
    vm->threads = (struct vcpu_threads){
        .group = &vm->group, .guard = vm->config.guard, .step = vm_step, .opaque = vm};
    int result = vcpu_threads_create(&vm->threads, error);
    if (result == 0)
        vcpu_threads_resume(&vm->threads);
    return result;
}

static int reset(struct vm *vm, struct error *error)
{
    bus_reset_devices(&vm->bus);
    for (unsigned i = 0; i < vm->group.count; i++) {
        vcpu_reset(vm->group.vcpus[i], false);
        engine_invalidate(vm->group.vcpus[i], ~UINT64_C(0));
    }
    int result = vm_load_guest(vm, error);
    if (result == 0 && !vm->paused)
        vcpu_threads_resume(&vm->threads);
    return result;
}

void vm_pause(struct vm *vm)
{
    vcpu_threads_pause(&vm->threads);
    vm->paused = true;
}

void vm_resume(struct vm *vm)
{
    if (vm->paused && vm->end == VM_END_NONE)
        vcpu_threads_resume(&vm->threads);
    vm->paused = false;
}

/* Posted: the block that told us may be in the middle of something. */
static void room_changed(void *opaque)
{
    struct vm *vm = opaque;
    if (vm->full_disks && !vm->paused && vm->end == VM_END_NONE) {
        log_message(vm->log, LOG_WARNING,
                    "the host is full: the guest is paused until its disks have room again");
        vm_pause(vm);
        vm->paused_for_room = true;
    } else if (!vm->full_disks && vm->paused_for_room) {
        log_message(vm->log, LOG_WARNING, "the host has room again: the guest goes on");
        vm->paused_for_room = false;
        vm_resume(vm);
    }
}

void vm_disk_full(void *opaque, bool full)
{
    struct vm *vm = opaque;
    vm->full_disks += full ? 1 : -1u;
    loop_post(vm->loop, room_changed, vm);
}

void vm_hold(struct vm *vm)
{
    vcpu_threads_pause(&vm->threads);
}

void vm_let_go(struct vm *vm)
{
    if (!vm->paused && vm->end == VM_END_NONE)
        vcpu_threads_resume(&vm->threads);
}

int vm_reset(struct vm *vm, struct error *error)
{
    vcpu_threads_pause(&vm->threads);
    return reset(vm, error);
}

static const char *const power_names[] = {[BUS_POWER_OFF] = "power-off",
                                          [BUS_POWER_RESET] = "a reset",
                                          [BUS_POWER_PANIC] = "an end after its panic",
                                          [BUS_POWER_TEST] = "an end after its tests"};

/* On the loop's thread. */
static void vm_power_posted(void *opaque)
{
    struct vm *vm = opaque;
    struct error error = {0};
    int request = atomic_load(&vm->power_request) - 1;
    log_message(vm->log, LOG_DEBUG, "the guest asks for %s", power_names[request]);
    vcpu_threads_pause(&vm->threads);
    atomic_store(&vm->power_request, 0);
    if (request == BUS_POWER_PANIC) {
        snprintf(vm->report, sizeof(vm->report), "the guest's kernel has panicked");
        vm_finish(vm, VM_END_PANIC);
    } else if (request == BUS_POWER_TEST) {
        vm_finish(vm, VM_END_TEST);
    } else if (request == BUS_POWER_OFF || vm->config.no_reboot) {
        vm_finish(vm, VM_END_POWER_OFF);
    } else if (reset(vm, &error) < 0) {
        snprintf(vm->report, sizeof(vm->report), "reboot: %s", error.message);
        vm_finish(vm, VM_END_ERROR);
    }
}

void vm_test_ended(void *opaque, uint32_t number)
{
    struct vm *vm = opaque;
    atomic_store(&vm->test_number, number);
    bus_power(&vm->bus, BUS_POWER_TEST);
}

int vm_test_code(const struct vm *vm)
{
    return (int)(atomic_load(&vm->test_number) << 1 & 0xff) | 1;
}

/* Any thread: the request is carried out on the loop's thread, with the vcpus stopped. */
void vm_power_sink(void *opaque, enum bus_power request)
{
    struct vm *vm = opaque;
    int none = 0;
    if (!atomic_compare_exchange_strong(&vm->power_request, &none, (int)request + 1))
        return;
    loop_post(vm->loop, vm_power_posted, vm);
    /* Nothing more of the guest is wanted: the thread that asked leaves at its next look. */
    for (unsigned i = 0; i < vm->group.count; i++)
        vcpu_request(vm->group.vcpus[i], VCPU_REQUEST_STOP);
}

void vm_stop(struct vm *vm)
{
    vcpu_threads_pause(&vm->threads);
    vm_finish(vm, VM_END_STOPPED);
}

enum vm_end vm_end(const struct vm *vm)
{
    return vm->end;
}

const char *vm_report(const struct vm *vm)
{
    return vm->report;
}
