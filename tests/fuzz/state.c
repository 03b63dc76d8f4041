/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: the state file of a small machine is changed as the input says, with or without the
 * right checksum, and restored into a new machine. What is refused is refused; what is not has to
 * run: some instructions on each vcpu, some accesses to each device.
 */
#include "fuzz/fuzz.h"

#include "bus/pci.h"
#include "device/devices.h"
#include "device/hpet.h"
#include "vm/state_file.h"
#include "vm/vm_private.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_SIZE  MIB(2)
#define HEADER       32 /* bytes of a state file before its sections */
#define CHANGES_MAX  64
#define INSTRUCTIONS 500

/* Of the one snapshot that all inputs change. */
struct base {
    uint8_t *state;
    size_t length;
    unsigned sections;
    int memory;
};

/* --- the machine --- */

/* hlt, for ever. PVH: Xen docs/misc/pvh.pandoc. */
static int make_kernel(char path[32])
{
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr programs[2];
        Elf64_Nhdr note;
        char name[4];
        uint32_t entry;
        uint8_t code[4];
    } kernel = {
        .header = {.e_ident = ELFMAG,
                   .e_machine = EM_X86_64,
                   .e_phoff = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 2},
        .note = {.n_namesz = 4, .n_descsz = 4, .n_type = 18},
        .name = "Xen",
        .entry = 0x100000,
        .code = {0xf4, 0xeb, 0xfd},
    };
    kernel.header.e_ident[EI_CLASS] = ELFCLASS64;
    const uint64_t note = offsetof(typeof(kernel), note), code = offsetof(typeof(kernel), code);
    kernel.programs[0] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = note, .p_filesz = code - note};
    kernel.programs[1] = (Elf64_Phdr){
        .p_type = PT_LOAD, .p_offset = code, .p_paddr = 0x100000, .p_filesz = 4, .p_memsz = 4};
    int fd = memfd_create("fuzz-kernel", 0);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return write(fd, &kernel, sizeof(kernel)) == sizeof(kernel) ? fd : -1;
}

static const struct vm_config config = {
    .memory_size = MEMORY_SIZE,
    .cpu_count = 2,
    .engine = &engine_interpret,
    .engine_options = {.code_cache_bytes = CODE_CACHE_MIN},
};

static struct vm *create(struct vm_config *own, struct loop *loop, struct error *error)
{
    static struct log silent;
    own->model = cpu_model_find(CPU_MODEL_DEFAULT);
    log_init(&silent, fopen("/dev/null", "we"), LOG_ERROR);
    struct vm *vm = vm_create(own, loop, &silent, error);
    fclose(silent.stream);
    silent.stream = stderr;
    return vm;
}

static void saved(void *opaque, const struct snapshot_outcome *outcome)
{
    loop_stop(opaque);
}

static void base_create(struct base *base)
{
    char path[32];
    struct error error = {0};
    struct state_file file;
    struct snapshot_request request = {
        .files = {memfd_create("fuzz-state", 0), memfd_create("fuzz-memory", 0)}};
    for (unsigned i = 0; i < VM_DISKS_MAX; i++)
        request.overlays[i] = (struct block_overlay){.fd = -1, .below_fd = -1};
    struct vm_config own = config;
    int kernel = make_kernel(path);
    own.boot = (struct boot_options){.kernel = path, .command_line = "", .cpu_count = 2};
    own.can_save = true;
    struct loop *loop = loop_create(&error);
    struct vm *vm = create(&own, loop, &error);
    fuzz_require(vm != NULL, &error);
    fuzz_require(vm_save(vm, &request, saved, loop, &error) == 0, &error);
    loop_run(loop);
    fuzz_require(state_file_read(&file, request.files.state, &error) == 0, &error);
    *base = (struct base){file.bytes, file.length, file.section_count, request.files.memory};
    close(request.files.state);
    close(kernel);
    vm_destroy(vm);
    loop_destroy(loop);
}

/* --- one input --- */

/* A file with the state as the input changes it. */
static int make_state(const struct base *base, struct fuzz_input *input)
{
    struct state_file file = {.length = base->length, .section_count = base->sections};
    file.bytes = malloc(base->length);
    memcpy(file.bytes, base->state, base->length);
    bool sealed = fuzz_take_integer(input, 1) & 7; /* most: or the checksum ends it all */
    size_t from = sealed ? HEADER : 0;
    for (unsigned i = 0; i < CHANGES_MAX && input->length; i++) {
        size_t offset = from + fuzz_take_integer(input, 3) % (base->length - from);
        file.bytes[offset] = (uint8_t)fuzz_take_integer(input, 1);
    }
    if (sealed)
        state_file_seal(&file);
    int fd = memfd_create("fuzz-state", 0);
    if (write(fd, file.bytes, file.length) != (ssize_t)file.length)
        abort();
    state_file_free(&file);
    return fd;
}

static void touch_devices(struct bus *bus)
{
    static const uint16_t ports[] = {0x20,  0x21,  0x40,  0x61,  0x70,  0x71,         0xa1,
                                     0x3f8, 0x3fa, 0x4d0, 0xcf8, 0xcfc, ACPI_PM_BASE, 0x64};
    static const uint64_t places[] = {HPET_ADDRESS + 0xf0, IOAPIC_ADDRESS + 0x10,
                                      GENERATION_ADDRESS, PCI_MMIO_BASE};
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        uint64_t value = bus_read(bus, BUS_PORT, ports[i], 1);
        bus_write(bus, BUS_PORT, ports[i], value, 1);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        uint64_t value = bus_read(bus, BUS_MMIO, places[i], 4);
        bus_write(bus, BUS_MMIO, places[i], value, 4);
    }
}

static void run(struct vm *vm)
{
    touch_devices(&vm->bus);
    for (unsigned i = 0; i < vm->group.count; i++) {
        struct vcpu *vcpu = vm->group.vcpus[i];
        vcpu->instruction_budget = vcpu->instruction_count + INSTRUCTIONS;
        vcpu->engine->run(vcpu);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static struct base base;
    struct fuzz_input input = {bytes, length};
    struct error error = {0};
    if (!base.state)
        base_create(&base);
    struct snapshot_files files = {make_state(&base, &input), dup(base.memory)};
    struct snapshot *snapshot = snapshot_open_files(&files, &error);
    if (!snapshot)
        return 0;
    struct vm_config own = config;
    const struct snapshot_machine *machine = snapshot_machine(snapshot);
    own.memory_size = machine->memory_size;
    own.cpu_count = machine->cpu_count;
    own.restore = snapshot;
    struct loop *loop = loop_create(&error);
    fuzz_require(loop != NULL, &error);
    struct vm *vm = create(&own, loop, &error);
    if (vm)
        run(vm);
    vm_destroy(vm);
    loop_destroy(loop);
    snapshot_close(snapshot);
    return 0;
}
