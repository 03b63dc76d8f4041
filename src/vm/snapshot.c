/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and restoring a snapshot, and what a state consists of. */
#include "vm/snapshot_private.h"

#include "base/clock.h"
#include "cpu/apic.h"
#include "cpu/paravirtual.h"
#include "memory/image.h"
#include "vm/vm_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct snapshot {
    struct state_file state;
    struct snapshot_machine machine;
    struct snapshot_memory memory;
    int memory_fd;
};

static const struct state_field machine_fields[] = {
    STATE_FIELD(struct snapshot_machine, memory_size),
    STATE_FIELD(struct snapshot_machine, cpu_count),
    STATE_BLOB(struct snapshot_machine, model),
    STATE_ARRAY(struct snapshot_machine, features.words),
    STATE_FIELD(struct snapshot_machine, clock_ns),
};
const struct state_table snapshot_machine_state = STATE_TABLE("machine", 1, machine_fields);

static const struct state_field memory_fields[] = {
    STATE_FIELD(struct snapshot_memory, size),
    STATE_FIELD(struct snapshot_memory, checksum),
};
const struct state_table snapshot_memory_state = STATE_TABLE("memory", 1, memory_fields);

static int visit_vcpu(struct vcpu *vcpu,
                      int (*visit)(void *opaque, const struct snapshot_part *part,
                                   struct error *error),
                      void *opaque, struct error *error)
{
    const struct {
        const char *name;
        const struct state_table *table;
        void *object;
    } parts[] = {
        {"vcpu", &vcpu_state, vcpu},
        {"apic", &apic_state, vcpu->apic},
        {"paravirtual", &paravirtual_state, vcpu->paravirtual},
    };
    int result = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(parts) && result == 0; i++) {
        struct snapshot_part part = {.table = parts[i].table, .object = parts[i].object};
        snprintf(part.name, sizeof(part.name), "%s%u", parts[i].name, vcpu->index);
        result = visit(opaque, &part, error);
    }
    return result;
}

int snapshot_for_each_cpu_part(struct vm *vm,
                               int (*visit)(void *opaque, const struct snapshot_part *part,
                                            struct error *error),
                               void *opaque, struct error *error)
{
    int result = 0;
    for (unsigned i = 0; i < vm->group.count && result == 0; i++)
        result = visit_vcpu(vm->group.vcpus[i], visit, opaque, error);
    return result;
}

/* --- opening --- */

/* Takes a section of the state that the machine must find in it. */
static struct state_section *take(struct state_file *state, const char *name, struct error *error)
{
    struct state_section *section = state_file_take(state, name);
    if (!section)
        error_set(error, EINVAL, "has no %s: it was made by a machine without", name);
    return section;
}

static int load_part(void *opaque, const struct snapshot_part *part, struct error *error)
{
    struct state_file *state = opaque;
    const struct state_section *section = take(state, part->name, error);
    if (!section)
        return -EINVAL;
    return state_load(part->table, section->version, part->object, state->bytes + section->offset,
                      section->length, error);
}

static int load_records(struct snapshot *snapshot, struct error *error)
{
    const struct snapshot_part parts[] = {
        {SECTION_MACHINE, &snapshot_machine_state, &snapshot->machine},
        {SECTION_MEMORY, &snapshot_memory_state, &snapshot->memory},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        int result = load_part(&snapshot->state, &parts[i], error);
        if (result < 0)
            return result;
    }
    const struct snapshot_machine *machine = &snapshot->machine;
    bool sound = memchr(machine->model, 0, sizeof(machine->model)) && machine->cpu_count &&
                 machine->cpu_count <= VCPU_COUNT_MAX &&
                 machine->memory_size == snapshot->memory.size;
    return sound ? 0 : error_set(error, EINVAL, "is damaged: there is no such machine");
}

static int read_state(struct snapshot *snapshot, int fd, struct error *error)
{
    int result = state_file_read(&snapshot->state, fd, error);
    if (result == 0)
        result = load_records(snapshot, error);
    return result == 0 ? 0 : error_prefix(error, SNAPSHOT_STATE);
}

static int check_memory(const struct snapshot *snapshot, struct error *error)
{
    struct stat status;
    if (fstat(snapshot->memory_fd, &status) < 0)
        return error_set(error, errno, "%s: %s", SNAPSHOT_MEMORY, strerror(errno));
    if ((uint64_t)status.st_size == snapshot->memory.size)
        return 0;
    return error_set(error, EINVAL, "%s: has %lld bytes instead of %llu: not this state's",
                     SNAPSHOT_MEMORY, (long long)status.st_size,
                     (unsigned long long)snapshot->memory.size);
}

struct snapshot *snapshot_open_files(const struct snapshot_files *files, struct error *error)
{
    struct snapshot_files own = *files;
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (!snapshot) {
        snapshot_close_files(&own);
        error_set(error, ENOMEM, "out of memory");
        return NULL;
    }
    snapshot->memory_fd = files->memory;
    int result = read_state(snapshot, files->state, error);
    close(files->state);
    if (result == 0)
        result = check_memory(snapshot, error);
    if (result == 0)
        return snapshot;
    snapshot_close(snapshot);
    return NULL;
}

struct snapshot *snapshot_open(const char *folder, struct error *error)
{
    struct snapshot_files files;
    if (snapshot_open_folder(folder, O_RDONLY, &files, error) < 0)
        return NULL;
    struct snapshot *snapshot = snapshot_open_files(&files, error);
    if (!snapshot)
        error_prefix(error, "%s", folder);
    return snapshot;
}

const struct snapshot_machine *snapshot_machine(const struct snapshot *snapshot)
{
    return &snapshot->machine;
}

struct memory *snapshot_open_memory(const struct snapshot *snapshot, struct error *error)
{
    return memory_open_image(snapshot->memory_fd, snapshot->memory.size, error);
}

int snapshot_verify(const struct snapshot *snapshot, struct error *error)
{
    struct memory *memory = snapshot_open_memory(snapshot, error);
    if (!memory)
        return -ENOMEM;
    bool same = memory_checksum(memory) == snapshot->memory.checksum;
    memory_destroy(memory);
    return same ? 0
                : error_set(error, EINVAL, "%s is damaged: its checksum is another",
                            SNAPSHOT_MEMORY);
}

void snapshot_close(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    state_file_free(&snapshot->state);
    if (snapshot->memory_fd >= 0)
        close(snapshot->memory_fd);
    free(snapshot);
}

/* --- restoring --- */

static int load_vcpus(struct state_file *state, struct vm *vm, struct error *error)
{
    int result = snapshot_for_each_cpu_part(vm, load_part, state, error);
    for (unsigned i = 0; i < vm->group.count && result == 0; i++)
        result = vcpu_after_load(vm->group.vcpus[i], error);
    return result;
}

static int load_devices(struct state_file *state, struct vm *vm, struct error *error)
{
    int result = 0;
    for (struct device *device = vm->bus.devices; device && result == 0; device = device->next) {
        const struct state_section *section = take(state, device->name, error);
        if (!section)
            return -EINVAL;
        result = device_load(device, section->version, state->bytes + section->offset,
                             section->length, error);
    }
    return result;
}

/* The guest's clocks go on from where they stood: it sees no gap. */
static void load_clock(const struct snapshot *snapshot, struct vm *vm)
{
    vm->group.tsc_origin_ns = clock_monotonic_ns() - snapshot->machine.clock_ns;
}

int snapshot_load(struct snapshot *snapshot, struct vm *vm, struct error *error)
{
    load_clock(snapshot, vm);
    int result = load_vcpus(&snapshot->state, vm, error);
    if (result == 0)
        result = load_devices(&snapshot->state, vm, error);
    if (result < 0)
        return error_prefix(error, "the snapshot");
    const char *extra = state_file_left_over(&snapshot->state);
    if (extra)
        return error_set(error, EINVAL,
                         "the snapshot has %s, which this machine has not: give the options that "
                         "it was made with",
                         extra);
    generation_renew(&vm->bus);
    return 0;
}
