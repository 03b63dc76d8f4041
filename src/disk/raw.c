/* SPDX-License-Identifier: Apache-2.0 */
/* Raw images: a file or a block device, byte for byte. A few threads do the I/O; completions go to
 * the event loop. */
#include "disk/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREAD_COUNT 4

struct raw {
    struct block block;
    struct loop *loop;
    const struct thread_guard *guard;
    int fd;
    bool is_device;
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct block_request *first, **last; /* waiting */
    unsigned running;
    bool closing;
    pthread_t threads[THREAD_COUNT];
    unsigned thread_count;
};

struct completion {
    struct block_request *request;
    int result;
};

static void complete(void *opaque)
{
    struct completion *completion = opaque;
    completion->request->done(completion->request, completion->result);
    free(completion);
}

/* preadv or pwritev until the request's length is done; the vector may be longer than that. */
static int transfer(struct raw *raw, struct block_request *request)
{
    struct iovec pieces[64];
    uint64_t done = 0;
    while (done < request->length) {
        int count = 0;
        uint64_t skip = done, room = request->length - done;
        for (int i = 0; i < request->vector_count && count < 64 && room; i++) {
            const struct iovec *vector = &request->vector[i];
            if (skip >= vector->iov_len) {
                skip -= vector->iov_len;
                continue;
            }
            uint64_t size = vector->iov_len - skip < room ? vector->iov_len - skip : room;
            pieces[count++] =
                (struct iovec){.iov_base = (char *)vector->iov_base + skip, .iov_len = size};
            room -= size;
            skip = 0;
        }
        off_t offset = (off_t)(request->offset + done);
        ssize_t moved = request->operation == BLOCK_READ ? preadv(raw->fd, pieces, count, offset)
                                                         : pwritev(raw->fd, pieces, count, offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return -errno;
        if (moved == 0)
            return -EIO; /* the file has become shorter */
        done += (uint64_t)moved;
    }
    return 0;
}

static int punch(struct raw *raw, const struct block_request *request, bool zero)
{
    off_t offset = (off_t)request->offset, length = (off_t)request->length;
    if (!request->length)
        return 0;
    if (raw->is_device) {
        uint64_t range[2] = {request->offset, request->length};
        if (ioctl(raw->fd, zero ? BLKZEROOUT : BLKDISCARD, range) == 0)
            return 0;
        return !zero && errno == EOPNOTSUPP ? 0 : -errno;
    }
    if (fallocate(raw->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0)
        return 0;
    /* Discard is a hint; zeroes are a promise. */
    if (!zero)
        return errno == EOPNOTSUPP ? 0 : -errno;
    static const char zeroes[65536];
    for (uint64_t done = 0; done < request->length;) {
        uint64_t left = request->length - done;
        ssize_t wrote = pwrite(raw->fd, zeroes, left < sizeof(zeroes) ? left : sizeof(zeroes),
                               (off_t)(request->offset + done));
        if (wrote < 0)
            return -errno;
        done += (uint64_t)wrote;
    }
    return 0;
}

static int execute(struct raw *raw, struct block_request *request)
{
    switch (request->operation) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return transfer(raw, request);
    case BLOCK_FLUSH:
        return fdatasync(raw->fd) < 0 ? -errno : 0;
    case BLOCK_DISCARD:
        return punch(raw, request, false);
    default:
        return punch(raw, request, true);
    }
}

static void *worker(void *opaque)
{
    struct raw *raw = opaque;
    thread_enter(raw->guard, THREAD_DISK);
    pthread_mutex_lock(&raw->lock);
    for (;;) {
        while (!raw->first && !raw->closing)
            pthread_cond_wait(&raw->work, &raw->lock);
        struct block_request *request = raw->first;
        if (!request)
            break;
        raw->first = request->next;
        if (!raw->first)
            raw->last = &raw->first;
        raw->running++;
        pthread_mutex_unlock(&raw->lock);
        struct completion *completion = malloc(sizeof(*completion));
        if (completion) {
            *completion = (struct completion){request, execute(raw, request)};
            if (loop_post(raw->loop, complete, completion) < 0)
                free(completion);
        }
        pthread_mutex_lock(&raw->lock);
        raw->running--;
        pthread_cond_broadcast(&raw->idle);
    }
    pthread_mutex_unlock(&raw->lock);
    return NULL;
}

static void raw_submit(struct block *block, struct block_request *request)
{
    struct raw *raw = (struct raw *)block;
    pthread_mutex_lock(&raw->lock);
    request->next = NULL;
    *raw->last = request;
    raw->last = &request->next;
    pthread_cond_signal(&raw->work);
    pthread_mutex_unlock(&raw->lock);
}

static void raw_close(struct block *block)
{
    struct raw *raw = (struct raw *)block;
    pthread_mutex_lock(&raw->lock);
    raw->closing = true;
    pthread_cond_broadcast(&raw->work);
    pthread_mutex_unlock(&raw->lock);
    for (unsigned i = 0; i < raw->thread_count; i++)
        pthread_join(raw->threads[i], NULL);
    close(raw->fd);
    pthread_mutex_destroy(&raw->lock);
    pthread_cond_destroy(&raw->work);
    pthread_cond_destroy(&raw->idle);
    free(raw);
}

static const struct block_ops raw_ops = {.format = "raw", .submit = raw_submit, .close = raw_close};

/* Opens, locks and measures the image. */
static int open_image(struct raw *raw, const struct block_options *options, struct error *error)
{
    struct stat status;
    int flags =
        (options->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | (options->direct ? O_DIRECT : 0);
    raw->fd = open(options->path, flags);
    if (raw->fd < 0)
        return error_set(error, errno, "--disk %s: %s%s", options->path, strerror(errno),
                         errno == EACCES && !options->read_only ? "; or use readonly=on" : "");
    if (flock(raw->fd, (options->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
        return error_set(error, EBUSY, "--disk %s: is in use by another process", options->path);
    if (fstat(raw->fd, &status) < 0)
        return error_set(error, errno, "--disk %s: %s", options->path, strerror(errno));
    raw->is_device = S_ISBLK(status.st_mode);
    raw->block.size = (uint64_t)status.st_size;
    if (raw->is_device && ioctl(raw->fd, BLKGETSIZE64, &raw->block.size) < 0)
        return error_set(error, errno, "--disk %s: %s", options->path, strerror(errno));
    if (!raw->is_device && !S_ISREG(status.st_mode))
        return error_set(error, EINVAL, "--disk %s: is neither a file nor a block device",
                         options->path);
    /* A tail that fills no sector cannot be reached. */
    raw->block.size -= raw->block.size % 512;
    if (!raw->block.size)
        return error_set(error, EINVAL, "--disk %s: is empty; make it with truncate -s SIZE",
                         options->path);
    return 0;
}

static void raw_discard(struct raw *raw)
{
    if (raw->fd >= 0)
        close(raw->fd);
    free(raw);
}

struct block *raw_open(const struct block_options *options, struct loop *loop, struct error *error)
{
    struct raw *raw = calloc(1, sizeof(*raw));
    if (!raw) {
        error_set(error, ENOMEM, "--disk %s: out of memory", options->path);
        return NULL;
    }
    raw->fd = -1;
    if (open_image(raw, options, error) < 0) {
        raw_discard(raw);
        return NULL;
    }
    raw->loop = loop;
    raw->guard = options->guard;
    raw->last = &raw->first;
    raw->block.ops = &raw_ops;
    raw->block.read_only = options->read_only;
    raw->block.can_discard = true;
    raw->block.sector_size = 512;
    pthread_mutex_init(&raw->lock, NULL);
    pthread_cond_init(&raw->work, NULL);
    pthread_cond_init(&raw->idle, NULL);
    while (raw->thread_count < THREAD_COUNT &&
           pthread_create(&raw->threads[raw->thread_count], NULL, worker, raw) == 0)
        raw->thread_count++;
    if (!raw->thread_count) {
        error_set(error, EAGAIN, "--disk %s: cannot start its I/O threads", options->path);
        raw_close(&raw->block);
        return NULL;
    }
    return &raw->block;
}
