/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel loaders: the input is a kernel file, an initrd and a command line. Loading may fail, with
 * an error that says why; it must not crash, nor write outside guest memory.
 */
#include "fuzz/fuzz.h"

#include "base/bits.h"
#include "boot/boot.h"
#include "memory/memory.h"

#include <sys/mman.h>
#include <unistd.h>

/* A file in memory; *path then names it. */
static int file_make(const uint8_t *bytes, size_t length, char *path, size_t path_size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        abort();
    snprintf(path, path_size, "/proc/self/fd/%d", fd);
    return fd;
}

/* What chance would not find: a multiboot header whose sum is right, in front of the input's own
 * bytes. */
static void header_make(struct fuzz_input *input, uint32_t words[4])
{
    uint8_t kind = (uint8_t)fuzz_take_integer(input, 1) % 4;
    memset(words, 0, 4 * sizeof(words[0]));
    if (kind == 1) {
        words[0] = 0x1badb002;
        words[1] = (uint32_t)fuzz_take_integer(input, 3);
        words[2] = -(words[0] + words[1]);
    } else if (kind == 2) {
        words[0] = 0xe85250d6;
        words[2] = (uint32_t)fuzz_take_integer(input, 1);
        words[3] = -(words[0] + words[2]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    struct error error = {0};
    struct boot_entry entry = {0};
    char kernel[64], initrd[64], command_line[300];
    unsigned cpu_count = 1 + fuzz_take_integer(&input, 1) % 16;
    uint64_t memory_size = MIB(1) + fuzz_take_integer(&input, 1) % 64 * MIB(1);
    size_t line_length = fuzz_take_integer(&input, 1);
    size_t initrd_length = fuzz_take_integer(&input, 1) * 64;
    fuzz_take(&input, command_line, line_length);
    uint32_t header[4];
    header_make(&input, header);
    command_line[line_length] = 0;
    initrd_length = initrd_length < input.length ? initrd_length : input.length;

    int initrd_fd = file_make(input.bytes, initrd_length, initrd, sizeof(initrd));
    int kernel_fd = file_make(input.bytes + initrd_length, input.length - initrd_length, kernel,
                              sizeof(kernel));
    /* After a multiboot1 header its other words follow at once. */
    size_t header_size = header[0] == 0x1badb002 ? 12 : sizeof(header);
    if (header[0] && pwrite(kernel_fd, header, header_size, 0) != (ssize_t)header_size)
        abort();
    struct memory *memory = memory_create(memory_size, &error);
    fuzz_require(memory != NULL, &error);
    const struct boot_options options = {
        .kernel = kernel,
        .initrd = initrd_length ? initrd : NULL,
        .command_line = command_line,
        .cpu_count = cpu_count,
        .modules = {initrd},
        .module_count = header[0] && initrd_length ? 1 : 0,
    };
    struct boot_files files;
    int result = boot_files_open(&files, &options, &error);
    if (result == 0)
        result = boot_load(&options, &files, memory, &entry, &error);
    boot_files_close(&files);
    if (result < 0 && !error.message[0])
        abort(); /* a failure that tells the user nothing */
    memory_destroy(memory);
    close(kernel_fd);
    close(initrd_fd);
    return 0;
}
