/* SPDX-License-Identifier: Apache-2.0 */
/* Putting the machine together. Its life is in lifecycle.c. */
#include "vm/vm.h"

#include "base/clock.h"
#include "bus/pci.h"
#include "cpu/apic.h"
#include "cpu/mmu.h"
#include "device/test_device.h"
#include "vm/vm_firmware.h"
#include "vm/vm_private.h"
#include "vm/vm_tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void message_sink(void *opaque, uint64_t address, uint32_t data)
{
    apic_deliver_message(opaque, address, data);
}

static void mapping_sink(void *opaque)
{
    struct vcpu_group *group = opaque;
    for (unsigned i = 0; i < group->count; i++)
        vcpu_request(group->vcpus[i], VCPU_REQUEST_TLB_FLUSH);
}

static void trace_access(void *opaque, const struct bus_region *region, enum bus_space space,
                         uint64_t address, uint64_t value, unsigned size, bool write)
{
    struct vm *vm = opaque;
    enum trace_kind wanted = space == BUS_PORT ? TRACE_PORT : TRACE_MMIO;
    if (trace_wants(vm->config.trace, wanted))
        trace_print(vm->config.trace, wanted, "%s 0x%llx %s 0x%llx (%u bytes, %s)",
                    write ? "write" : "read", (unsigned long long)address, write ? "<-" : "->",
                    (unsigned long long)value, size, region ? region->name : "nothing there");
}

static int create_vcpus(struct vm *vm, struct error *error)
{
    vm->group.tsc_origin_ns = clock_monotonic_ns();
    vm->group.engine_options = &vm->config.engine_options;
    pthread_mutex_init(&vm->group.split_lock, NULL);
    for (unsigned i = 0; i < vm->config.cpu_count; i++) {
        struct vcpu *vcpu = vcpu_create(&vm->group, &vm->bus, vm->config.model, error);
        if (!vcpu)
            return -ENOMEM;
        vcpu->trace = vm->config.trace;
        int result = engine_attach_configured(vcpu, vm->config.engine, error);
        if (result < 0)
            return result;
    }
    vm->bus.intr = (struct irq_line){.set = apic_set_lint0, .opaque = vm->group.vcpus[0]->apic};
    vm->bus.message_sink = message_sink;
    vm->bus.message_opaque = &vm->group;
    vm->bus.mapping_sink = mapping_sink;
    vm->bus.mapping_opaque = &vm->group;
    return 0;
}

static struct segment flat(uint16_t selector, uint16_t more)
{
    return (struct segment){.limit = 0xffffffff,
                            .selector = selector,
                            .attributes = SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_WRITABLE |
                                          SEGMENT_ACCESSED | SEGMENT_GRANULARITY | more};
}

/* The state in which the boot protocol hands over. */
static void enter_kernel(struct vcpu *vcpu, const struct boot_entry *entry)
{
    bool long_mode = entry->protocol == BOOT_LINUX64, is_linux = entry->protocol != BOOT_PVH;
    vcpu->segments[SEG_CS] =
        flat(is_linux ? 0x10 : 0x08, SEGMENT_CODE | (long_mode ? SEGMENT_LONG : SEGMENT_BIG));
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (i != SEG_CS)
            vcpu->segments[i] = flat(is_linux ? 0x18 : 0x10, SEGMENT_BIG);
    vcpu->cr0 = CR0_PE | CR0_ET | (long_mode ? CR0_PG : 0);
    if (long_mode) {
        vcpu->cr3 = entry->cr3;
        vcpu->cr4 = CR4_PAE;
        vcpu->efer = EFER_LME | EFER_LMA;
    }
    if (is_linux)
        vcpu->gdtr = (struct descriptor_table){entry->gdt_base, entry->gdt_limit};
    vcpu->idtr = (struct descriptor_table){0};
    vcpu->rip = entry->rip;
    vcpu->registers[GPR_RAX] = entry->rax;
    vcpu->registers[GPR_RBX] = entry->rbx;
    vcpu->registers[GPR_RSI] = entry->rsi;
    mmu_flush_all(vcpu);
    vcpu_update_mode(vcpu);
}

int vm_load_guest(struct vm *vm, struct error *error)
{
    struct boot_entry entry;
    if (vm->config.firmware.image)
        return 0;
    pci_assign_resources(vm->devices.pci);
    int result = vm_tables_place(&vm->config, vm->memory, error);
    if (result == 0)
        result = boot_load(&vm->config.boot, &vm->files, vm->memory, &entry, error);
    if (result < 0)
        return result;
    enter_kernel(vm->group.vcpus[0], &entry);
    return 0;
}

/* Its suites ask fw_cfg how many processors there are, also without firmware. */
static int create_test_device(struct vm *vm, struct error *error)
{
    const struct test_device_config config = {.ended = vm_test_ended, .opaque = vm};
    int result = test_device_create(&vm->bus, &config, error);
    if (result < 0 || vm->config.firmware.image)
        return result;
    return vm_fw_cfg_create(&vm->config, &vm->bus, error) ? 0 : -error->code;
}

static int build(struct vm *vm, struct error *error)
{
    int result = vm_devices_open_nets(&vm->devices, &vm->config, vm->loop, vm->log, error);
    if (result == 0)
        result = boot_files_open(&vm->files, &vm->config.boot, error);
    if (result < 0)
        return result;
    vm->memory = vm->config.restore ? snapshot_open_memory(vm->config.restore, error)
                                    : memory_create(vm->config.memory_size, error);
    if (!vm->memory)
        return -ENOMEM;
    result = bus_init(&vm->bus, vm->memory, vm->loop, vm->log, error);
    if (result < 0)
        return result;
    vm->bus_ready = true;
    vm->bus.power_sink = vm_power_sink;
    vm->bus.power_opaque = vm;
    if (trace_wants(vm->config.trace, TRACE_PORT | TRACE_MMIO)) {
        vm->bus.trace = trace_access;
        vm->bus.trace_opaque = vm;
    }
    log_message(vm->log, LOG_DEBUG, "%u vcpus (%s), %llu MiB of memory, %u disks, %u networks",
                vm->config.cpu_count, vm->config.model->name,
                (unsigned long long)vm->config.memory_size >> 20, vm->config.disk_count,
                vm->config.net_count);
    result = vm->config.can_save ? saver_create(vm, error) : 0;
    if (result == 0)
        result = create_vcpus(vm, error);
    if (result == 0)
        vm->devices.disk_watcher = (struct block_watcher){vm_disk_full, vm};
    if (result == 0)
        result = vm_devices_create(&vm->devices, &vm->config, &vm->bus, error);
    if (result == 0 && vm->config.test_device)
        result = create_test_device(vm, error);
    if (result == 0 && vm->config.can_attach)
        result = attacher_create(vm, error);
    if (result == 0 && vm->config.firmware.image)
        result = vm_firmware_create(&vm->config, &vm->variables, &vm->bus, vm->devices.pci, error);
    if (result < 0)
        return result;
    if (vm->config.restore) /* no reset: it would change RAM */
        return snapshot_load(vm->config.restore, vm, error);
    bus_reset_devices(&vm->bus);
    return vm_load_guest(vm, error);
}

struct vm *vm_create(const struct vm_config *config, struct loop *loop, struct log *log,
                     struct error *error)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    if (!vm) {
        error_set(error, ENOMEM, "out of memory");
        return NULL;
    }
    vm->config = *config;
    vm->variables.fd = -1;
    vm->config.boot.text_screen = config->display != NULL;
    vm->loop = loop;
    vm->log = log;
    pthread_mutex_init(&vm->report_lock, NULL);
    if (build(vm, error) < 0) {
        vm_destroy(vm);
        return NULL;
    }
    return vm;
}

void vm_destroy(struct vm *vm)
{
    if (!vm)
        return;
    if (vm->end == VM_END_NONE)
        vm->end = VM_END_STOPPED;
    vcpu_threads_destroy(&vm->threads);
    /* What is in flight comes back to the devices while they are there. */
    vm_devices_drain(&vm->devices);
    attacher_drain(vm->attacher);
    saver_destroy(vm->saver);
    if (vm->bus_ready)
        bus_destroy(&vm->bus);
    for (unsigned i = 0; i < vm->group.count; i++)
        vcpu_destroy(vm->group.vcpus[i]);
    vm_devices_close(&vm->devices);
    attacher_destroy(vm->attacher);
    memory_destroy(vm->memory);
    boot_files_close(&vm->files);
    firmware_variables_close(&vm->variables);
    pthread_mutex_destroy(&vm->report_lock);
    free(vm);
}

const struct block *vm_disk(const struct vm *vm, unsigned index)
{
    return index < vm->config.disk_count ? vm->devices.blocks[index] : NULL;
}

void vm_press_power(struct vm *vm)
{
    acpi_power_button(&vm->bus);
}

const struct block_counters *vm_disk_counters(const struct vm *vm, unsigned index)
{
    if (index >= VM_DISKS_MAX)
        return vm->attacher ? attacher_counters(vm->attacher, index - VM_DISKS_MAX) : NULL;
    return vm->devices.blocks[index] ? &vm->devices.blocks[index]->counters : NULL;
}

void vm_print_stats(struct vm *vm, FILE *stream)
{
    for (unsigned i = 0; i < vm->group.count; i++)
        engine_print_stats(vm->group.vcpus[i], stream);
}
