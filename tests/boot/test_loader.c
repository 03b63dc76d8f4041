/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel loaders: a good file is placed where it says; every shorter or wrong one is refused. */
#include "boot/boot.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMORY_SIZE MIB(16)
#define LOAD        MIB(2)
#define CODE_SIZE   64

/* An ELF kernel: one segment, and a note that names its first byte as the PVH entry. */
struct __attribute__((packed)) image {
    Elf64_Ehdr header;
    Elf64_Phdr note_segment, load_segment;
    Elf64_Nhdr note;
    char name[4];
    uint32_t entry;
    uint8_t code[CODE_SIZE];
};

static struct image image_make(void)
{
    struct image image = {
        .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                   .e_type = ET_EXEC,
                   .e_machine = EM_X86_64,
                   .e_version = EV_CURRENT,
                   .e_phoff = offsetof(struct image, note_segment),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 2},
        .note_segment = {.p_type = PT_NOTE,
                         .p_offset = offsetof(struct image, note),
                         .p_filesz = offsetof(struct image, code) - offsetof(struct image, note)},
        .load_segment = {.p_type = PT_LOAD,
                         .p_offset = offsetof(struct image, code),
                         .p_paddr = LOAD,
                         .p_filesz = CODE_SIZE,
                         .p_memsz = CODE_SIZE * 2},
        .note = {.n_namesz = 4, .n_descsz = 4, .n_type = 18},
        .name = "Xen",
        .entry = LOAD,
    };
    memset(image.code, 0x5a, sizeof(image.code));
    return image;
}

/* Loads `length` bytes as a kernel; what boot_load() said. */
static int load(const void *bytes, size_t length, struct memory *memory, struct boot_entry *entry,
                struct error *error)
{
    char path[64];
    int fd = memfd_create("kernel", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), length);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const struct boot_options options = {.kernel = path, .command_line = "", .cpu_count = 1};
    struct boot_files files;
    int result = boot_files_open(&files, &options, error);
    if (result == 0)
        result = boot_load(&options, &files, memory, entry, error);
    boot_files_close(&files);
    close(fd);
    return result;
}

static int memory_setup(void **state)
{
    struct error error = {0};
    *state = memory_create(MEMORY_SIZE, &error);
    return *state ? 0 : -1;
}

static int memory_teardown(void **state)
{
    memory_destroy(*state);
    return 0;
}

static void assert_refused(const void *bytes, size_t length, struct memory *memory)
{
    struct boot_entry entry;
    struct error error = {0};
    assert_true(load(bytes, length, memory, &entry, &error) < 0);
    assert_true(error.message[0] != 0);
    assert_null(strchr(error.message, '\n'));
}

static void test_good_elf_is_placed(void **state)
{
    struct image image = image_make();
    struct boot_entry entry;
    struct error error = {0};
    uint8_t *loaded = memory_hva(*state, LOAD, CODE_SIZE * 2);
    loaded[CODE_SIZE] = 1; /* what lies behind the file's bytes is cleared */
    assert_int_equal(load(&image, sizeof(image), *state, &entry, &error), 0);
    assert_int_equal(entry.protocol, BOOT_PVH);
    assert_int_equal(entry.rip, LOAD);
    assert_memory_equal(loaded, image.code, CODE_SIZE);
    assert_int_equal(loaded[CODE_SIZE], 0);
    uint32_t magic = (uint32_t)load_le(memory_hva(*state, entry.rbx, 4), 4);
    assert_int_equal(magic, 0x336ec578);
}

static void test_every_shorter_elf_is_refused(void **state)
{
    struct image image = image_make();
    for (size_t length = 0; length < sizeof(image); length++)
        assert_refused(&image, length, *state);
}

static void test_hostile_elf_fields_are_refused(void **state)
{
    static const uint64_t extremes[] = {MIB(15) + 4096 * 255, MEMORY_SIZE, GIB(3), ~UINT64_C(0),
                                        ~UINT64_C(0) - CODE_SIZE + 1};
    for (unsigned i = 0; i < ARRAY_SIZE(extremes); i++) {
        struct image image = image_make();
        image.header.e_phoff = extremes[i];
        assert_refused(&image, sizeof(image), *state);
        image = image_make();
        image.load_segment.p_offset = extremes[i];
        assert_refused(&image, sizeof(image), *state);
        image = image_make();
        image.load_segment.p_filesz = extremes[i];
        assert_refused(&image, sizeof(image), *state);
        image = image_make();
        image.load_segment.p_memsz = extremes[i];
        assert_refused(&image, sizeof(image), *state);
        image = image_make();
        image.note_segment.p_filesz = extremes[i];
        assert_refused(&image, sizeof(image), *state);
    }
    struct image image = image_make();
    image.note.n_namesz = ~0u;
    assert_refused(&image, sizeof(image), *state);
}

/* By the entry point that the header names. */
static void test_good_bzimages_are_placed(void **state)
{
    uint8_t bytes[KIB(8)] = {0};
    memset(bytes + 2 * 512, 0x5a, sizeof(bytes) - 2 * 512);
    store_le(bytes + 0x1fe, 0xaa55, 2);
    memcpy(bytes + 0x202, "HdrS", 4);
    store_le(bytes + 0x206, 0x20f, 2);
    bytes[0x1f1] = 1;
    store_le(bytes + 0x258, LOAD, 8);
    for (unsigned wide = 0; wide < 2; wide++) {
        struct boot_entry entry;
        struct error error = {0};
        store_le(bytes + 0x236, wide, 2);
        assert_int_equal(load(bytes, sizeof(bytes), *state, &entry, &error), 0);
        assert_int_equal(entry.protocol, wide ? BOOT_LINUX64 : BOOT_LINUX32);
        assert_int_equal(entry.rip, LOAD + (wide ? 0x200 : 0));
        assert_memory_equal(memory_hva(*state, LOAD, KIB(7)), bytes + 2 * 512, KIB(7));
        uint64_t code = load_le(memory_hva(*state, entry.gdt_base + 0x10, 8), 8);
        assert_int_equal(code >> 53 & 3, wide ? 1 : 2); /* L, D */
    }
}

/* A bzImage's header with nothing behind it, and with fields that lead out of memory. */
static void test_hostile_bzimages_are_refused(void **state)
{
    uint8_t bytes[KIB(8)] = {0};
    store_le(bytes + 0x1fe, 0xaa55, 2);
    memcpy(bytes + 0x202, "HdrS", 4);
    for (size_t length = 0x1f0; length < 0x2a0; length++)
        assert_refused(bytes, length, *state);
    assert_refused(bytes, sizeof(bytes), *state); /* boot protocol 0.00 */
    store_le(bytes + 0x206, 0x20f, 2);
    assert_refused(bytes, sizeof(bytes), *state); /* loads below 1 MiB */
    store_le(bytes + 0x236, 1, 2);
    bytes[0x1f1] = 200;
    assert_refused(bytes, sizeof(bytes), *state); /* setup longer than the file */
    bytes[0x1f1] = 1;
    store_le(bytes + 0x258, ~UINT64_C(0) - 4096, 8);
    assert_refused(bytes, sizeof(bytes), *state); /* loads beyond all memory */
    store_le(bytes + 0x258, LOAD, 8);
    store_le(bytes + 0x260, UINT32_MAX, 4);
    assert_refused(bytes, sizeof(bytes), *state); /* needs more memory than there is */
}

static void test_other_files_are_refused(void **state)
{
    static const char text[] = "#!/bin/sh\necho not a kernel\n";
    assert_refused(text, sizeof(text), *state);
    assert_refused("", 0, *state);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, memory_setup, memory_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_good_elf_is_placed),
        CASE(test_every_shorter_elf_is_refused),
        CASE(test_hostile_elf_fields_are_refused),
        CASE(test_good_bzimages_are_placed),
        CASE(test_hostile_bzimages_are_refused),
        CASE(test_other_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
