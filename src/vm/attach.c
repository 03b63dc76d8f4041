/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/attach.h"

#include "bus/pci.h"
#include "virtio/blk.h"
#include "vm/vm_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum bay_state { BAY_EMPTY, BAY_BUSY, BAY_FILLED };

struct bay {
    struct attacher *attacher;
    struct block *block;
    enum bay_state state;
    char id[VM_ATTACH_ID_MAX + 1];
    struct pci_device *device; /* of BAY_FILLED; its slot is known until it is destroyed */
    block_bay_done *done;
    void *opaque;
};

struct attacher {
    struct vm *vm;
    atomic_uint released; /* slots that the guest has given up, not yet looked at */
    void (*detached)(void *opaque, const char *id);
    void *opaque;
    struct bay bays[VM_ATTACH_MAX];
};

/* --- going --- */

static void emptied(void *opaque, int result, const char *why)
{
    struct bay *bay = opaque;
    if (result < 0)
        log_message(bay->attacher->vm->log, LOG_ERROR, "disk %s: %s", bay->id, why);
    bay->state = BAY_EMPTY;
    if (bay->attacher->detached)
        bay->attacher->detached(bay->attacher->opaque, bay->id);
}

/* What was posted to the loop for the device before it was unplugged has been done. */
static void destroy_device(void *opaque)
{
    struct bay *bay = opaque;
    struct device *device = &bay->device->device;
    block_drain(bay->block);
    device->ops->destroy(device);
    bay->device = NULL;
    block_bay_empty(bay->block, emptied, bay);
}

static void unplug(struct bay *bay)
{
    struct vm *vm = bay->attacher->vm;
    bay->state = BAY_BUSY;
    vm_hold(vm);
    pci_remove_device(bay->device);
    vm_let_go(vm);
    if (loop_post(vm->loop, destroy_device, bay) < 0)
        log_message(vm->log, LOG_ERROR, "disk %s: out of memory", bay->id);
}

static void look_at_released(void *opaque)
{
    struct attacher *attacher = opaque;
    unsigned slots = atomic_exchange(&attacher->released, 0);
    for (unsigned i = 0; i < VM_ATTACH_MAX; i++) {
        struct bay *bay = &attacher->bays[i];
        if (bay->state == BAY_FILLED && slots & 1u << bay->device->slot)
            unplug(bay);
    }
}

/* On a vcpu's thread. */
static void released(void *opaque, uint32_t slots)
{
    struct attacher *attacher = opaque;
    atomic_fetch_or(&attacher->released, slots);
    loop_post(attacher->vm->loop, look_at_released, attacher);
}

static struct bay *find(struct attacher *attacher, const char *id)
{
    for (unsigned i = 0; i < VM_ATTACH_MAX; i++)
        if (attacher->bays[i].state != BAY_EMPTY && !strcmp(attacher->bays[i].id, id))
            return &attacher->bays[i];
    return NULL;
}

int vm_detach(struct vm *vm, const char *id, struct error *error)
{
    const struct bay *bay = find(vm->attacher, id);
    if (!bay || bay->state != BAY_FILLED)
        return error_set(error, ENOENT, "%s: no disk of that name was attached", id);
    pci_slots_announce(vm->devices.slots, bay->device->slot, false);
    return 0;
}

void vm_on_detached(struct vm *vm, void (*detached)(void *opaque, const char *id), void *opaque)
{
    vm->attacher->detached = detached;
    vm->attacher->opaque = opaque;
}

/* --- coming --- */

static int plug_in(struct bay *bay, struct error *error)
{
    struct vm *vm = bay->attacher->vm;
    unsigned index = VM_DISKS_MAX + (unsigned)(bay - bay->attacher->bays);
    int slot = pci_free_slot(vm->devices.pci);
    vm_hold(vm);
    int result = virtio_blk_create(vm->devices.pci, bay->block, index, error);
    vm_let_go(vm);
    if (result < 0)
        return result;
    bay->device = pci_device_at(vm->devices.pci, (unsigned)slot);
    bay->state = BAY_FILLED;
    pci_slots_announce(vm->devices.slots, (unsigned)slot, true);
    return slot;
}

static void given_back(void *opaque, int result, const char *why)
{
    ((struct bay *)opaque)->state = BAY_EMPTY;
}

static void inserted(void *opaque, int result, const char *why)
{
    struct bay *bay = opaque;
    struct error error = {0};
    if (result < 0) {
        bay->state = BAY_EMPTY;
    } else {
        result = plug_in(bay, &error);
        why = error.message;
        if (result < 0)
            block_bay_empty(bay->block, given_back, bay);
    }
    bay->done(bay->opaque, result, why);
}

int vm_attach_disk(struct vm *vm, const char *id, const struct block_medium *medium,
                   block_bay_done *done, void *opaque, struct error *error)
{
    struct bay *bay = vm->attacher->bays, *end = bay + VM_ATTACH_MAX;
    if (strlen(id) > VM_ATTACH_ID_MAX || find(vm->attacher, id))
        return error_set(error, EEXIST, "%s: is too long a name, or there is one already", id);
    while (bay < end && bay->state != BAY_EMPTY)
        bay++;
    if (bay == end || pci_free_slot(vm->devices.pci) < 0)
        return error_set(error, ENOSPC, "%s: at most %d disks can be attached", id, VM_ATTACH_MAX);
    snprintf(bay->id, sizeof(bay->id), "%s", id);
    bay->state = BAY_BUSY;
    bay->done = done;
    bay->opaque = opaque;
    block_bay_insert(bay->block, medium, inserted, bay);
    return 0;
}

/* --- from start to end --- */

int attacher_create(struct vm *vm, struct error *error)
{
    struct attacher *attacher = calloc(1, sizeof(*attacher));
    if (!attacher)
        return error_set(error, ENOMEM, "out of memory");
    vm->attacher = attacher;
    attacher->vm = vm;
    for (unsigned i = 0; i < VM_ATTACH_MAX; i++) {
        attacher->bays[i].attacher = attacher;
        attacher->bays[i].block = block_bay_create(vm->config.guard, vm->loop, error);
        if (!attacher->bays[i].block)
            return -ENOMEM;
    }
    pci_slots_bind(vm->devices.slots, released, attacher);
    return 0;
}

void attacher_drain(struct attacher *attacher)
{
    for (unsigned i = 0; attacher && i < VM_ATTACH_MAX; i++)
        if (attacher->bays[i].block)
            block_drain(attacher->bays[i].block);
}

void attacher_destroy(struct attacher *attacher)
{
    for (unsigned i = 0; attacher && i < VM_ATTACH_MAX; i++)
        if (attacher->bays[i].block)
            block_close(attacher->bays[i].block);
    free(attacher);
}

bool attacher_is_empty(const struct attacher *attacher)
{
    for (unsigned i = 0; i < VM_ATTACH_MAX; i++)
        if (attacher->bays[i].state != BAY_EMPTY)
            return false;
    return true;
}

const struct block_counters *attacher_counters(const struct attacher *attacher, unsigned index)
{
    const struct bay *bay = &attacher->bays[index % VM_ATTACH_MAX];
    return index < VM_ATTACH_MAX && bay->state == BAY_FILLED ? &bay->block->counters : NULL;
}
