/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image formats. An image is a disk's content inside a file, perhaps on top of another image. Calls
 * block; any number of threads may make them at once. The asynchronous face for devices is block.c,
 * which lets io_uring do alone what needs no thought.
 */
#ifndef NACRE_DISK_IMAGE_H
#define NACRE_DISK_IMAGE_H

#include "disk/file.h"

struct image;

struct image_ops {
    const char *format;
    /* The range has been checked against the image's size. 0 or -errno. */
    int (*execute)(struct image *image, const struct block_request *request);
    /*
     * True when the request is nothing but the same request at *offset of the file. Never blocks.
     * The range then stays where it is until `release`. Optional, both.
     */
    bool (*locate)(struct image *image, struct block_request *request, uint64_t *offset);
    void (*release)(struct image *image, struct block_request *request);
    /* What lies at offset. -errno. */
    int (*extent)(struct image *image, uint64_t offset, uint64_t length, struct extent *extent);
    int (*resize)(struct image *image, uint64_t size, struct error *error);
    int (*close)(struct image *image); /* -errno: something could not be written */
};

struct image {
    const struct image_ops *ops;
    struct file *file;
    struct image *backing; /* NULL: none */
    uint64_t size;         /* bytes, whole sectors */
    bool read_only;
};

/* Opens the image and what it is based on. Messages begin with the path. NULL with *error. */
struct image *image_open(const struct block_options *options, struct error *error);

/* The same in a file that is open, which is taken over. */
struct image *image_open_file(struct file *file, const struct block_options *options,
                              struct error *error);
#define IMAGE_DEPTH_MAX 32 /* images in a chain */

static inline int image_execute(struct image *image, const struct block_request *request)
{
    return image->ops->execute(image, request);
}

static inline int image_close(struct image *image)
{
    return image->ops->close(image);
}

int image_read(struct image *image, uint64_t offset, void *bytes, uint64_t length);
int image_write(struct image *image, uint64_t offset, const void *bytes, uint64_t length);
int image_flush(struct image *image);

#endif
