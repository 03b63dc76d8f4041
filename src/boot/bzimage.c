/* SPDX-License-Identifier: Apache-2.0 */
/* Linux bzImage by its 64-bit or 32-bit entry point: Linux Documentation/arch/x86/boot.rst and
 * zero-page.rst.
 */
#include "boot/bzimage.h"

#include "boot/layout.h"
#include "boot/memory_map.h"

#include <errno.h>

/* Offsets in the setup header, from the start of the image and of boot_params alike. */
enum {
    SETUP_SECTS = 0x1f1,
    SYSTEM_SIZE = 0x1f4, /* of what follows the setup code, in units of 16 bytes */
    BOOT_FLAG = 0x1fe,
    HEADER_MAGIC = 0x202,
    PROTOCOL = 0x206,
    LOADER_TYPE = 0x210,
    LOAD_FLAGS = 0x211,
    RAMDISK_IMAGE = 0x218,
    RAMDISK_SIZE = 0x21c,
    HEAP_END = 0x224,
    COMMAND_LINE = 0x228,
    INITRD_MAX = 0x22c,
    KERNEL_ALIGNMENT = 0x230,
    XLOAD_FLAGS = 0x236,
    COMMAND_LINE_SIZE = 0x238,
    PREFERRED_ADDRESS = 0x258,
    INIT_SIZE = 0x260,
    HEADER_START = 0x1f1,
    HEADER_END = 0x290,
};
/* Offsets in boot_params proper. */
enum {
    PARAMS_VIDEO_MODE = 0x006, /* struct screen_info starts the page */
    PARAMS_VIDEO_COLUMNS = 0x007,
    PARAMS_VIDEO_LINES = 0x00e,
    PARAMS_VIDEO_IS_VGA = 0x00f,
    PARAMS_VIDEO_POINTS = 0x010, /* lines of a character */
    PARAMS_ACPI_RSDP = 0x070,
    PARAMS_E820_COUNT = 0x1e8,
    PARAMS_E820 = 0x2d0,
    PARAMS_SIZE = 4096
};

#define MAGIC           0x53726448u /* "HdrS" */
#define PROTOCOL_OLDEST 0x20c
#define ENTRY_64BIT     0x200 /* from where the kernel is loaded; the 32-bit entry is there */
#define XLOAD_KERNEL_64 BIT(0)
#define LOADED_HIGH     BIT(0)
#define LOADER_UNKNOWN  0xff
#define E820_ENTRY_SIZE 20

bool bzimage_matches(const struct file_view *kernel)
{
    return kernel->size > HEADER_END && load_le(kernel->bytes + BOOT_FLAG, 2) == 0xaa55 &&
           load_le(kernel->bytes + HEADER_MAGIC, 4) == MAGIC;
}

static void fill_e820(uint8_t *params, const struct memory *memory)
{
    struct memory_range ranges[MEMORY_RANGES_MAX];
    unsigned count = memory_map(memory, ranges);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = params + PARAMS_E820 + i * E820_ENTRY_SIZE;
        store_le(entry, ranges[i].start, 8);
        store_le(entry + 8, ranges[i].size, 8);
        store_le(entry + 16, ranges[i].type, 4);
    }
    params[PARAMS_E820_COUNT] = (uint8_t)count;
}

/* What the kernel's setup code would have asked the VGA BIOS. */
static void fill_screen_info(uint8_t *params)
{
    params[PARAMS_VIDEO_MODE] = 3;
    params[PARAMS_VIDEO_COLUMNS] = 80;
    params[PARAMS_VIDEO_LINES] = 25;
    params[PARAMS_VIDEO_IS_VGA] = 1;
    params[PARAMS_VIDEO_POINTS] = 16;
}

static int too_little_memory(struct error *error)
{
    return error_set(error, EINVAL, "--memory: too little to boot a kernel");
}

/* The flat GDT of the boot protocol, and for 64-bit code page tables that map the first 4 GiB one
 * to one with 2M pages. */
static int write_entry_state(struct memory *memory, bool wide, struct error *error)
{
    const uint64_t code = wide ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff);
    const uint64_t gdt[] = {0, 0, code, UINT64_C(0x00cf93000000ffff)};
    uint64_t table[512];
    int result = memory_write(memory, BOOT_GDT, gdt, sizeof(gdt));
    if (!wide)
        return result ? too_little_memory(error) : 0;
    memset(table, 0, sizeof(table));
    table[0] = (BOOT_PAGE_TABLES + PAGE_SIZE) | 3;
    result |= memory_write(memory, BOOT_PAGE_TABLES, table, sizeof(table));
    for (unsigned i = 0; i < 4; i++)
        table[i] = (BOOT_PAGE_TABLES + (2 + i) * PAGE_SIZE) | 3;
    result |= memory_write(memory, BOOT_PAGE_TABLES + PAGE_SIZE, table, sizeof(table));
    for (unsigned directory = 0; directory < 4; directory++) {
        for (unsigned i = 0; i < 512; i++)
            table[i] = (GIB(directory) + MIB(2) * i) | 0x83;
        result |= memory_write(memory, BOOT_PAGE_TABLES + (2 + directory) * PAGE_SIZE, table,
                               sizeof(table));
    }
    return result ? too_little_memory(error) : 0;
}

static bool has_64bit_entry(const struct file_view *kernel)
{
    return load_le(kernel->bytes + XLOAD_FLAGS, 2) & XLOAD_KERNEL_64;
}

static int check_header(const struct boot_options *options, const struct file_view *kernel,
                        uint64_t *setup_size, struct error *error)
{
    const uint8_t *header = kernel->bytes;
    if (load_le(header + PROTOCOL, 2) < PROTOCOL_OLDEST)
        return error_set(error, ENOEXEC,
                         "--kernel %s: is too old for direct boot (boot protocol %x.%02x); use "
                         "Linux 3.8 or later, or --firmware bios",
                         options->kernel, header[PROTOCOL + 1], header[PROTOCOL]);
    unsigned sectors = header[SETUP_SECTS] ? header[SETUP_SECTS] : 4;
    *setup_size = (sectors + 1) * 512u;
    uint64_t system_size = load_le(header + SYSTEM_SIZE, 4) * 16;
    if (*setup_size + system_size > align_up(kernel->size, 16) ||
        *setup_size + 0x200 >= kernel->size)
        return error_set(error, ENOEXEC, "--kernel %s: file is truncated (%llu bytes)",
                         options->kernel, (unsigned long long)kernel->size);
    size_t limit = load_le(header + COMMAND_LINE_SIZE, 4);
    if (strlen(options->command_line) > limit ||
        strlen(options->command_line) >= BOOT_COMMAND_LINE_MAX)
        return error_set(error, E2BIG, "--append: command line of %zu bytes, this kernel takes %zu",
                         strlen(options->command_line), limit);
    return 0;
}

/* The initrd goes as high as the kernel allows, below the hole. */
static int place_initrd(const struct boot_options *options, const struct file_view *initrd,
                        struct memory *memory, uint64_t kernel_end, uint8_t *params,
                        struct error *error)
{
    uint64_t top = load_le(params + INITRD_MAX, 4) + 1;
    if (!initrd->size)
        return 0;
    if (top > memory->low_size)
        top = memory->low_size;
    uint64_t address = initrd->size < top ? align_down(top - initrd->size, PAGE_SIZE) : 0;
    if (address < kernel_end)
        return error_set(error, ENOMEM,
                         "--initrd %s: %llu MiB do not fit beside the kernel; give more --memory",
                         options->initrd, (unsigned long long)(initrd->size >> 20) + 1);
    memory_write(memory, address, initrd->bytes, initrd->size);
    store_le(params + RAMDISK_IMAGE, address, 4);
    store_le(params + RAMDISK_SIZE, initrd->size, 4);
    return 0;
}

int bzimage_load(const struct boot_options *options, const struct file_view *kernel,
                 const struct file_view *initrd, struct memory *memory, struct boot_entry *entry,
                 struct error *error)
{
    uint8_t params[PARAMS_SIZE] = {0};
    uint64_t setup_size = 0;
    bool wide = has_64bit_entry(kernel);
    int result = check_header(options, kernel, &setup_size, error);
    if (result < 0)
        return result;
    memcpy(params + HEADER_START, kernel->bytes + HEADER_START, HEADER_END - HEADER_START);
    uint64_t address = load_le(params + PREFERRED_ADDRESS, 8);
    uint64_t code_size = kernel->size - setup_size, init_size = load_le(params + INIT_SIZE, 4);
    uint64_t needed = init_size > code_size ? init_size : code_size;
    if (address < MIB(1) || !range_within(address, needed, memory->low_size))
        return error_set(error, ENOMEM, "--memory: the kernel %s needs %llu MiB at %llu MiB",
                         options->kernel, (unsigned long long)(needed >> 20) + 1,
                         (unsigned long long)(address >> 20));
    result = place_initrd(options, initrd, memory, address + needed, params, error);
    if (result < 0)
        return result;
    memory_write(memory, address, kernel->bytes + setup_size, code_size);
    params[LOADER_TYPE] = LOADER_UNKNOWN;
    params[LOAD_FLAGS] |= LOADED_HIGH;
    store_le(params + COMMAND_LINE, BOOT_COMMAND_LINE, 4);
    store_le(params + PARAMS_ACPI_RSDP, BOOT_RSDP, 8);
    fill_e820(params, memory);
    if (options->text_screen)
        fill_screen_info(params);
    result = write_entry_state(memory, wide, error);
    if (result < 0)
        return result;
    memory_write(memory, BOOT_COMMAND_LINE, options->command_line,
                 strlen(options->command_line) + 1);
    memory_write(memory, BOOT_PARAMS, params, sizeof(params));
    *entry = (struct boot_entry){.protocol = wide ? BOOT_LINUX64 : BOOT_LINUX32,
                                 .rip = address + (wide ? ENTRY_64BIT : 0),
                                 .rsi = BOOT_PARAMS,
                                 .cr3 = wide ? BOOT_PAGE_TABLES : 0,
                                 .gdt_base = BOOT_GDT,
                                 .gdt_limit = 4 * 8 - 1};
    return 0;
}
