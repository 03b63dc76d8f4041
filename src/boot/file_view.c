/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/file_view.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int file_view_open(struct file_view *view, const char *option, const char *path,
                   struct error *error)
{
    struct stat status;
    *view = (struct file_view){0};
    if (!path)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, errno, "%s %s: %s", option, path, strerror(errno));
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size == 0) {
        close(fd);
        return error_set(error, EINVAL, "%s %s: %s", option, path,
                         S_ISREG(status.st_mode) ? "is empty" : "is not a regular file");
    }
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return error_set(error, errno, "%s %s: cannot map it: %s", option, path, strerror(errno));
    *view = (struct file_view){.bytes = bytes, .size = (uint64_t)status.st_size};
    return 0;
}

void file_view_release(const struct file_view *view)
{
    if (view->bytes)
        madvise((void *)view->bytes, view->size, MADV_DONTNEED);
}

void file_view_close(struct file_view *view)
{
    if (view->bytes)
        munmap((void *)view->bytes, view->size);
    *view = (struct file_view){0};
}
