/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file or block device of the host.
 *
 * cache=none opens it a second time with O_DIRECT. The kernel takes direct transfers only at its
 * own alignment (statx, STATX_DIOALIGN), which may be 4096 bytes where the guest was promised
 * sectors of 512: what does not fit goes through the page cache, which the kernel keeps coherent
 * with direct transfers. See docs/decisions/direct-io.md.
 */
#include "base/bits.h"
#include "disk/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECES          64 /* of a vector, in one system call */
#define ALIGNMENT_GUESS 4096

struct host_file {
    struct file file;
    int fd, direct_fd; /* direct_fd -1: everything through the page cache */
    unsigned memory_alignment, offset_alignment; /* bytes, of direct_fd */
};

static int descriptor(struct file *file, uint64_t offset, const struct iovec *pieces,
                      unsigned count)
{
    const struct host_file *host = (const struct host_file *)file;
    if (host->direct_fd < 0)
        return host->fd;
    uint64_t offsets = offset, addresses = 0;
    for (unsigned i = 0; i < count; i++) {
        offsets |= pieces[i].iov_len;
        addresses |= (uintptr_t)pieces[i].iov_base;
    }
    bool aligned =
        !(offsets & (host->offset_alignment - 1)) && !(addresses & (host->memory_alignment - 1));
    return aligned ? host->direct_fd : host->fd;
}

static void note_size(struct file *file, uint64_t end)
{
    uint64_t size = atomic_load(&file->size);
    while (file->grows && size < end && !atomic_compare_exchange_weak(&file->size, &size, end))
        ;
}

static int transfer(struct host_file *host, const struct block_request *request)
{
    struct file *file = &host->file;
    struct iovec pieces[PIECES];
    int flags = file->cache == BLOCK_CACHE_WRITETHROUGH ? RWF_DSYNC : 0;
    uint64_t done = 0;
    while (done < request->length) {
        unsigned count = vector_slice(pieces, PIECES, request->vector, request->vector_count,
                                      request->skip + done, request->length - done);
        uint64_t offset = request->offset + done;
        int fd = descriptor(file, offset, pieces, count);
        ssize_t moved = request->operation == BLOCK_READ
                            ? preadv(fd, pieces, (int)count, (off_t)offset)
                            : pwritev2(fd, pieces, (int)count, (off_t)offset, flags);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return -errno;
        if (moved == 0 && !(file->grows && request->operation == BLOCK_READ))
            return -EIO; /* the file has become shorter, or the vector is too short */
        if (moved == 0) {
            vector_clear(request->vector, request->vector_count, request->skip + done,
                         request->length - done);
            break;
        }
        done += (uint64_t)moved;
    }
    if (request->operation == BLOCK_WRITE)
        note_size(file, request->offset + request->length);
    return 0;
}

static int write_zeroes(struct host_file *host, const struct block_request *request)
{
    static const uint8_t zeroes[65536];
    for (uint64_t done = 0; done < request->length;) {
        uint64_t left = request->length - done;
        uint64_t size = left < sizeof(zeroes) ? left : sizeof(zeroes);
        int result = file_write(&host->file, request->offset + done, zeroes, size);
        if (result < 0)
            return result;
        done += size;
    }
    return 0;
}

/* Discard is a hint; zeroes are a promise. */
static int punch(struct host_file *host, const struct block_request *request)
{
    bool zero = request->operation == BLOCK_WRITE_ZEROES;
    int result;
    if (!request->length)
        return 0;
    if (host->file.is_device) {
        uint64_t range[2] = {request->offset, request->length};
        result = ioctl(host->fd, zero ? BLKZEROOUT : BLKDISCARD, range);
    } else {
        int mode = zero && !request->may_unmap ? FALLOC_FL_ZERO_RANGE : (int)FALLOC_FL_PUNCH_HOLE;
        result = fallocate(host->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)request->offset,
                           (off_t)request->length);
    }
    if (result < 0 && errno != EOPNOTSUPP && errno != ENOTTY)
        return -errno;
    if (result < 0)
        return zero ? write_zeroes(host, request) : 0;
    bool sync = zero && host->file.cache == BLOCK_CACHE_WRITETHROUGH;
    return sync && fdatasync(host->fd) < 0 ? -errno : 0;
}

static int host_execute(struct file *file, const struct block_request *request)
{
    struct host_file *host = (struct host_file *)file;
    switch (request->operation) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return transfer(host, request);
    case BLOCK_FLUSH:
        return file->cache != BLOCK_CACHE_UNSAFE && fdatasync(host->fd) < 0 ? -errno : 0;
    default:
        return punch(host, request);
    }
}

static int host_resize(struct file *file, uint64_t size)
{
    struct host_file *host = (struct host_file *)file;
    if (host->file.is_device)
        return size <= file->size ? 0 : -ENOSPC;
    if (ftruncate(host->fd, (off_t)size) < 0)
        return -errno;
    file->size = size;
    return 0;
}

static int host_extent(struct file *file, uint64_t offset, uint64_t length, struct extent *extent)
{
    const struct host_file *host = (const struct host_file *)file;
    off_t data = lseek(host->fd, (off_t)offset, SEEK_DATA), end = -1;
    if (data == (off_t)offset)
        end = lseek(host->fd, (off_t)offset, SEEK_HOLE);
    /* Who cannot tell has data everywhere; ENXIO: no data from here to the end. */
    bool is_zero = data < 0 ? errno == ENXIO : data > (off_t)offset;
    if (is_zero)
        end = data;
    *extent = (struct extent){.kind = is_zero ? EXTENT_ZERO : EXTENT_DATA, .offset = offset};
    extent->length =
        end > (off_t)offset && (uint64_t)end - offset < length ? (uint64_t)end - offset : length;
    return 0;
}

static void host_close(struct file *file)
{
    struct host_file *host = (struct host_file *)file;
    if (host->fd >= 0)
        close(host->fd);
    if (host->direct_fd >= 0)
        close(host->direct_fd);
    free(file->path);
    free(host);
}

static const struct file_ops host_ops = {
    .execute = host_execute,
    .resize = host_resize,
    .extent = host_extent,
    .close = host_close,
    .descriptor = descriptor,
};

static int measure(struct host_file *host, struct error *error)
{
    struct stat status;
    uint64_t size;
    const char *path = host->file.path;
    if (fstat(host->fd, &status) < 0)
        return error_set(error, errno, "%s: %s", path, strerror(errno));
    host->file.is_device = S_ISBLK(status.st_mode);
    size = (uint64_t)status.st_size;
    if (host->file.is_device && ioctl(host->fd, BLKGETSIZE64, &size) < 0)
        return error_set(error, errno, "%s: %s", path, strerror(errno));
    if (!host->file.is_device && !S_ISREG(status.st_mode))
        return error_set(error, EINVAL, "%s: is neither a file nor a block device", path);
    host->file.size = size;
    return 0;
}

/* The same file again, whatever its name means by now. */
static int open_direct(struct host_file *host, struct error *error)
{
    char link[32];
    struct statx status = {0};
    snprintf(link, sizeof(link), "/proc/self/fd/%d", host->fd);
    host->direct_fd = open(link, (host->file.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_DIRECT);
    if (host->direct_fd < 0)
        return error_set(error, errno,
                         "%s: its file system takes no direct I/O; use "
                         "cache=writeback",
                         host->file.path);
    host->memory_alignment = host->offset_alignment = ALIGNMENT_GUESS;
    if (statx(host->direct_fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
        status.stx_mask & STATX_DIOALIGN && status.stx_dio_offset_align) {
        host->memory_alignment = status.stx_dio_mem_align;
        host->offset_alignment = status.stx_dio_offset_align;
    }
    return 0;
}

static int host_open(struct host_file *host, const struct block_options *options,
                     struct error *error)
{
    host->fd = open(options->path, (options->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (host->fd < 0)
        return error_set(error, errno, "%s: %s%s", options->path, strerror(errno),
                         errno == EACCES && !options->read_only ? "; or use readonly=on" : "");
    if (flock(host->fd, (options->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
        return error_set(error, EBUSY, "%s: is in use by another process", options->path);
    int result = measure(host, error);
    if (result == 0 && options->cache == BLOCK_CACHE_NONE)
        result = open_direct(host, error);
    return result;
}

/* Nothing is open yet. NULL: out of memory. */
static struct host_file *host_create(const struct block_options *options)
{
    struct host_file *host = calloc(1, sizeof(*host));
    char *path = strdup(options->path);
    if (!host || !path) {
        free(host);
        free(path);
        return NULL;
    }
    host->fd = host->direct_fd = -1;
    host->file.ops = &host_ops;
    host->file.path = path;
    host->file.read_only = options->read_only;
    host->file.cache = options->cache;
    host->file.physical_sector_size = ALIGNMENT_GUESS;
    return host;
}

struct file *file_adopt(const struct block_options *options, int fd, uint64_t size)
{
    struct host_file *host = host_create(options);
    if (!host) {
        close(fd);
        return NULL;
    }
    host->fd = fd;
    host->file.size = size;
    return &host->file;
}

void file_freeze(struct file *file, int fd)
{
    struct host_file *host = (struct host_file *)file;
    close(host->fd);
    host->fd = fd;
    file->read_only = true;
}

struct file *file_open(const struct block_options *options, struct error *error)
{
    struct host_file *host = host_create(options);
    if (!host) {
        error_set(error, ENOMEM, "%s: out of memory", options->path);
        return NULL;
    }
    if (host_open(host, options, error) < 0) {
        host_close(&host->file);
        return NULL;
    }
    return &host->file;
}

int file_create(const char *path, uint64_t size, bool replace, struct error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (replace ? 0 : O_EXCL), 0644);
    if (fd < 0)
        return error_set(error, errno, "%s: %s", path, strerror(errno));
    int result = 0;
    struct stat status;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        result = error_set(error, EBUSY, "%s: is in use by another process", path);
    else if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        result = error_set(error, EINVAL, "%s: is not a regular file", path);
    else if ((ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)size) < 0))
        result = error_set(error, errno, "%s: cannot make it %llu bytes long: %s", path,
                           (unsigned long long)size, strerror(errno));
    close(fd);
    return result;
}
