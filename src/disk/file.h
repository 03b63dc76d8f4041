/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file or block device that holds an image: below every format. All calls block and may come
 * from any thread. Tests put a file in memory behind the same struct, to fail and to remember.
 */
#ifndef NACRE_DISK_FILE_H
#define NACRE_DISK_FILE_H

#include "disk/block.h"

#include <stdatomic.h>

struct file;

enum extent_kind {
    EXTENT_BACKING,    /* nothing here: the backing image shines through, or zeroes */
    EXTENT_ZERO,       /* zeroes that take no reading */
    EXTENT_DATA,       /* in the file, byte for byte */
    EXTENT_COMPRESSED, /* in the file, packed */
};

struct extent {
    enum extent_kind kind;
    uint64_t length; /* bytes from the offset asked for; at least 1 */
    uint64_t offset; /* in the file; DATA only */
};

struct file_ops {
    /* 0 or -errno. */
    int (*execute)(struct file *file, const struct block_request *request);
    int (*resize)(struct file *file, uint64_t size);
    /* Zeroes or data at offset. */
    int (*extent)(struct file *file, uint64_t offset, uint64_t length, struct extent *extent);
    void (*close)(struct file *file);
    /* For io_uring: the descriptor for this transfer. NULL: there is none. */
    int (*descriptor)(struct file *file, uint64_t offset, const struct iovec *pieces,
                      unsigned count);
};

struct file {
    const struct file_ops *ops;
    char *path;
    _Atomic uint64_t size; /* bytes */
    bool read_only;
    bool is_device; /* a block device */
    bool grows;     /* the format appends; what lies beyond the end reads as zeroes */
    enum block_cache cache;
    unsigned physical_sector_size; /* bytes */
};

/* Opens, locks and measures. NULL with *error. */
struct file *file_open(const struct block_options *options, struct error *error);
/* As file_open(), of a file that somebody else has opened, locked and measured: size, in bytes.
 * Takes fd over. NULL: out of memory. */
struct file *file_adopt(const struct block_options *options, int fd, uint64_t size);
/* A file of the host's is only read from now on, by this descriptor; the one it had is closed, and
 * with it the lock goes. */
void file_freeze(struct file *file, int fd);
/* Makes an empty file, or empties one; -EEXIST when it exists and `replace` is false. */
int file_create(const char *path, uint64_t size, bool replace, struct error *error);

static inline int file_execute(struct file *file, const struct block_request *request)
{
    return file->ops->execute(file, request);
}

static inline int file_resize(struct file *file, uint64_t size)
{
    return file->ops->resize(file, size);
}

static inline void file_close(struct file *file)
{
    file->ops->close(file);
}

int file_read(struct file *file, uint64_t offset, void *bytes, uint64_t length);
int file_write(struct file *file, uint64_t offset, const void *bytes, uint64_t length);
/* What was written before lasts from here on. */
int file_flush(struct file *file);
/* Gives the range's space back to the host if it can; a hint. */
void file_discard(struct file *file, uint64_t offset, uint64_t length);

#endif
