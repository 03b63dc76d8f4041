/* SPDX-License-Identifier: Apache-2.0 */
/* Saving a machine that runs. */
#include "base/clock.h"
#include "memory/image.h"
#include "vm/snapshot_private.h"
#include "vm/vm_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_EVERY_NS (NANOSECONDS_PER_SECOND / 100) /* at the child that writes */

struct saver {
    struct vm *vm;
    struct loop_timer *timer;
    bool busy; /* what follows is of a snapshot on its way */
    struct snapshot_files files;
    bool lasting;
    unsigned preparing; /* overlays that are being opened, and one more while they are asked for */
    int prepared;       /* 0 or -errno of one of them */
    bool overlaid[VM_DISKS_MAX];
    struct state_file state;
    uint8_t *memory_section; /* in state; its checksum comes last */
    pid_t child;
    uint64_t started_ns;
    struct snapshot_outcome outcome;
    void (*done)(void *opaque, const struct snapshot_outcome *outcome);
    void *opaque;
};

/* --- gathering the state --- */

static int no_room(struct error *error)
{
    return error_set(error, ENOMEM, "snapshot: out of memory");
}

static int add_part(void *opaque, const struct snapshot_part *part, struct error *error)
{
    uint8_t *bytes = state_file_add(opaque, part->name, part->table);
    if (!bytes)
        return no_room(error);
    state_save(part->table, part->object, bytes);
    return 0;
}

static int add_machine(struct saver *saver, struct error *error)
{
    const struct vm_config *config = &saver->vm->config;
    struct snapshot_machine machine = {
        .memory_size = config->memory_size,
        .cpu_count = config->cpu_count,
        .clock_ns = clock_monotonic_ns() - saver->vm->group.tsc_origin_ns,
    };
    snprintf(machine.model, sizeof(machine.model), "%s", config->model->name);
    cpu_model_host_features(config->model, &machine.features);
    const struct snapshot_part part = {SECTION_MACHINE, &snapshot_machine_state, &machine};
    return add_part(&saver->state, &part, error);
}

static int add_vcpus(struct saver *saver, struct error *error)
{
    for (unsigned i = 0; i < saver->vm->group.count; i++)
        vcpu_before_save(saver->vm->group.vcpus[i]);
    return snapshot_for_each_cpu_part(saver->vm, add_part, &saver->state, error);
}

static int add_devices(struct saver *saver, struct error *error)
{
    for (struct device *device = saver->vm->bus.devices; device; device = device->next) {
        uint8_t *bytes = state_file_add(&saver->state, device->name, device->state);
        if (!bytes)
            return no_room(error);
        device_save(device, bytes);
    }
    return 0;
}

static int count_part(void *opaque, const struct snapshot_part *part, struct error *error)
{
    *(size_t *)opaque += state_size(part->table);
    return 0;
}

/* A screen's memory alone is as large as all the rest many times over: not during the pause. */
static int reserve(struct saver *saver, struct error *error)
{
    size_t bytes = state_size(&snapshot_machine_state) + state_size(&snapshot_memory_state);
    snapshot_for_each_cpu_part(saver->vm, count_part, &bytes, error);
    for (struct device *device = saver->vm->bus.devices; device; device = device->next)
        bytes += state_size(device->state);
    return state_file_reserve(&saver->state, bytes, STATE_SECTIONS_MAX) < 0 ? no_room(error) : 0;
}

/* The last one added, so that its bytes stay where they are. */
static int add_memory(struct saver *saver, struct error *error)
{
    saver->memory_section = state_file_add(&saver->state, SECTION_MEMORY, &snapshot_memory_state);
    return saver->memory_section ? 0 : no_room(error);
}

static int gather(struct saver *saver, struct error *error)
{
    int result = add_machine(saver, error);
    if (result == 0)
        result = add_vcpus(saver, error);
    if (result == 0)
        result = add_devices(saver, error);
    return result == 0 ? add_memory(saver, error) : result;
}

/* --- the child --- */

static int write_state(struct saver *saver)
{
    for (size_t done = 0; done < saver->state.length;) {
        ssize_t written =
            write(saver->files.state, saver->state.bytes + done, saver->state.length - done);
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        done += (size_t)written;
    }
    return 0;
}

/* A state is never on the disk before its memory. */
static int make_lasting(const struct saver *saver, int fd)
{
    return saver->lasting && fdatasync(fd) < 0 ? -errno : 0;
}

/* Its memory is the machine's of the moment of the fork. Other threads may have held locks then:
 * none is taken here, and no memory. */
static _Noreturn void child_run(struct saver *saver)
{
    struct snapshot_memory memory = {.size = saver->vm->config.memory_size};
    int result = memory_write_image(saver->vm->memory, saver->files.memory, &memory.checksum);
    if (result == 0)
        result = make_lasting(saver, saver->files.memory);
    if (result == 0) {
        state_save(&snapshot_memory_state, &memory, saver->memory_section);
        state_file_seal(&saver->state);
        result = write_state(saver);
    }
    if (result == 0)
        result = make_lasting(saver, saver->files.state);
    _exit(-result);
}

/* --- the machine --- */

static void finish(struct saver *saver, int result)
{
    state_file_free(&saver->state);
    saver->busy = false;
    saver->outcome.result = result;
    saver->outcome.total_ns = clock_monotonic_ns() - saver->started_ns;
    saver->done(saver->opaque, &saver->outcome);
}

static void look_at_child(void *opaque)
{
    struct saver *saver = opaque;
    int status = 0;
    pid_t ended = wait4(saver->child, &status, WNOHANG, NULL);
    if (ended == 0) {
        loop_timer_arm(saver->timer, clock_monotonic_ns() + LOOK_EVERY_NS);
        return;
    }
    bool exited = ended == saver->child && WIFEXITED(status);
    finish(saver, exited ? -WEXITSTATUS(status) : -ECHILD);
}

/* What the disks hold now is the snapshot's, and is not written any more. */
static int switch_disks(struct saver *saver)
{
    struct vm_devices *devices = &saver->vm->devices;
    for (unsigned i = 0; i < VM_DISKS_MAX; i++) {
        if (!saver->overlaid[i])
            continue;
        int result = devices->blocks[i]->ops->switch_overlay(devices->blocks[i]);
        if (result < 0)
            return result;
        saver->outcome.switched = true;
        saver->overlaid[i] = false;
    }
    return 0;
}

static void forget_overlays(struct saver *saver)
{
    struct vm_devices *devices = &saver->vm->devices;
    for (unsigned i = 0; i < VM_DISKS_MAX; i++)
        if (saver->overlaid[i])
            devices->blocks[i]->ops->forget_overlay(devices->blocks[i]);
}

/* Requests in flight write to guest memory, and are in no state. */
static int save_paused(struct saver *saver, struct error *error)
{
    vm_devices_drain(&saver->vm->devices);
    int result = gather(saver, error);
    if (result == 0)
        result = switch_disks(saver);
    if (result < 0)
        return result;
    /* Not fork(): the C library's part of it takes locks and makes calls that the jail forbids. */
    long child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (child < 0)
        return -errno;
    if (child == 0)
        child_run(saver);
    saver->child = (pid_t)child;
    return 0;
}

static void save(struct saver *saver)
{
    struct vm *vm = saver->vm;
    struct error error = {0};
    uint64_t start = clock_monotonic_ns();
    if (!vm->paused)
        vcpu_threads_pause(&vm->threads);
    int result = save_paused(saver, &error);
    if (!vm->paused)
        vcpu_threads_resume(&vm->threads);
    uint64_t now = clock_monotonic_ns();
    saver->outcome.pause_ns = now - start;
    if (result == 0) {
        loop_timer_arm(saver->timer, now + LOOK_EVERY_NS);
        return;
    }
    forget_overlays(saver);
    finish(saver, result);
}

/* --- before the pause --- */

static bool about_to_end(const struct vm *vm)
{
    return atomic_load(&vm->power_request) || vm->end != VM_END_NONE;
}

static void overlay_prepared(void *opaque, int result)
{
    struct saver *saver = opaque;
    if (result < 0)
        saver->prepared = result;
    if (--saver->preparing)
        return;
    if (saver->prepared == 0 && about_to_end(saver->vm))
        saver->prepared = -EBUSY;
    if (saver->prepared == 0)
        save(saver);
    else
        forget_overlays(saver);
    if (saver->prepared < 0)
        finish(saver, saver->prepared);
}

static void prepare_overlays(struct saver *saver, const struct block_overlay *overlays)
{
    saver->preparing = 1;
    for (unsigned i = 0; i < VM_DISKS_MAX; i++) {
        saver->overlaid[i] = overlays[i].fd >= 0;
        if (!saver->overlaid[i])
            continue;
        struct block *block = saver->vm->devices.blocks[i];
        saver->preparing++;
        block->ops->prepare_overlay(block, &overlays[i], overlay_prepared, saver);
    }
    overlay_prepared(saver, 0);
}

/* A disk that goes on being written would be no part of the snapshot. */
static int check_disks(const struct vm *vm, const struct block_overlay *overlays,
                       struct error *error)
{
    for (unsigned i = 0; i < VM_DISKS_MAX; i++) {
        const struct block *block = vm->devices.blocks[i];
        bool overlay = overlays[i].fd >= 0;
        if (overlay && (!block || !block->ops->prepare_overlay))
            return error_set(error, EINVAL, "snapshot: disk %u takes no overlay", i);
        if (!overlay && block && !block->read_only)
            return error_set(error, EINVAL,
                             "snapshot: disk %u may be written and has no overlay: use nacre "
                             "snapshot, which makes one",
                             i);
    }
    return 0;
}

int vm_save(struct vm *vm, const struct snapshot_request *request,
            void (*done)(void *opaque, const struct snapshot_outcome *outcome), void *opaque,
            struct error *error)
{
    struct saver *saver = vm->saver;
    if (saver->busy)
        return error_set(error, EBUSY, "snapshot: the one before is still being written");
    if (about_to_end(vm))
        return error_set(error, EBUSY, "snapshot: the machine is about to end or to reset");
    if (vm->attacher && !attacher_is_empty(vm->attacher))
        return error_set(error, EBUSY, "snapshot: a disk was attached; nacre detach comes first");
    int result = check_disks(vm, request->overlays, error);
    if (result < 0)
        return result;
    saver->state = (struct state_file){0};
    result = reserve(saver, error);
    if (result < 0)
        return result;
    saver->busy = true;
    saver->files = request->files;
    saver->lasting = request->lasting;
    saver->done = done;
    saver->opaque = opaque;
    saver->outcome = (struct snapshot_outcome){0};
    saver->prepared = 0;
    saver->started_ns = clock_monotonic_ns();
    prepare_overlays(saver, request->overlays);
    return 0;
}

int saver_create(struct vm *vm, struct error *error)
{
    vm->saver = calloc(1, sizeof(*vm->saver));
    if (!vm->saver)
        return no_room(error);
    vm->saver->vm = vm;
    vm->saver->timer = loop_timer_create(vm->loop, look_at_child, vm->saver, error);
    return vm->saver->timer ? 0 : -ENOMEM;
}

void saver_destroy(struct saver *saver)
{
    if (!saver)
        return;
    if (saver->timer)
        loop_timer_destroy(saver->timer);
    state_file_free(&saver->state);
    free(saver);
}
