/* SPDX-License-Identifier: Apache-2.0 */
/* The file that holds UEFI's variables: the contents of a flash chip. */
#include "boot/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VARIABLES_MAX MIB(8)

static int failed(const char *path, const char *what, struct error *error)
{
    return error_set(error, errno, "--firmware ...,vars=%s: %s: %s", path, what, strerror(errno));
}

static int check_size(const char *path, uint64_t size, struct error *error)
{
    if (size && size % PAGE_SIZE == 0 && size <= VARIABLES_MAX)
        return 0;
    return error_set(error, EINVAL,
                     "--firmware ...,vars=%s: %llu bytes cannot be a flash chip: must be whole "
                     "blocks of 4096 bytes, at most 8 MiB; remove it to start with none set",
                     path, (unsigned long long)size);
}

/* Fills a file that is still empty. A half-written one would look damaged later: it is emptied. */
static int fill(int fd, const struct firmware_options *options, struct error *error)
{
    struct file_view view;
    if (!options->template)
        return error_set(error, ENOENT,
                         "--firmware ...,vars=%s: is not there; copy it from what came with the "
                         "firmware",
                         options->variables);
    int result = file_view_open(&view, "--firmware", options->template, error);
    if (result < 0)
        return result;
    if (write(fd, view.bytes, view.size) != (ssize_t)view.size) {
        result = failed(options->variables, "cannot write", error);
        if (ftruncate(fd, 0) < 0)
            unlink(options->variables);
    }
    file_view_close(&view);
    return result;
}

/* The lock goes with the mapping's descriptor, which is therefore left open. */
static int map_file(const struct firmware_options *options, int fd,
                    struct firmware_variables *variables, struct error *error)
{
    struct stat status;
    const char *path = options->variables;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(error, EBUSY, "--firmware ...,vars=%s: another machine uses it", path);
    if (fstat(fd, &status) < 0)
        return failed(path, "cannot look at it", error);
    if (status.st_size == 0) {
        int result = fill(fd, options, error);
        if (result < 0 || fstat(fd, &status) < 0)
            return result;
    }
    int result = check_size(path, (uint64_t)status.st_size, error);
    if (result < 0)
        return result;
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        return failed(path, "cannot map it", error);
    *variables =
        (struct firmware_variables){.bytes = bytes, .size = (uint64_t)status.st_size, .fd = fd};
    return 0;
}

/* Nobody keeps them: the template, on pages of our own. */
static int map_template(const struct firmware_options *options,
                        struct firmware_variables *variables, struct error *error)
{
    struct file_view view;
    int result = file_view_open(&view, "--firmware", options->template, error);
    if (result < 0)
        return result;
    *variables =
        (struct firmware_variables){.bytes = (uint8_t *)view.bytes, .size = view.size, .fd = -1};
    return check_size(options->template, view.size, error);
}

int firmware_variables_open(const struct firmware_options *options,
                            struct firmware_variables *variables, struct error *error)
{
    *variables = (struct firmware_variables){.fd = -1};
    if (!options->variables)
        return options->template ? map_template(options, variables, error) : 0;
    int fd = open(options->variables, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(options->variables, "cannot open", error);
    int result = map_file(options, fd, variables, error);
    if (result < 0)
        close(fd);
    return result;
}

void firmware_variables_close(struct firmware_variables *variables)
{
    if (variables->bytes)
        munmap(variables->bytes, variables->size);
    if (variables->fd >= 0)
        close(variables->fd);
}
