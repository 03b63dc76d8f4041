/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: from the file, from a packed cluster, from the backing image, or nothing but zeroes. */
#include "disk/qcow2/private.h"

#include <errno.h>

/* The backing image may be shorter: behind its end there are zeroes. */
static int read_backing(struct qcow2 *qcow2, struct block_request part)
{
    struct image *backing = qcow2->image.backing;
    uint64_t size = backing ? backing->size : 0;
    uint64_t inside = part.offset >= size                ? 0
                      : part.length > size - part.offset ? size - part.offset
                                                         : part.length;
    vector_clear(part.vector, part.vector_count, part.skip + inside, part.length - inside);
    part.length = inside;
    return inside ? image_execute(backing, &part) : 0;
}

static int read_run(struct qcow2 *qcow2, const struct run *run, struct block_request part)
{
    switch (run->kind) {
    case EXTENT_DATA:
        part.offset = run->offset;
        return file_execute(qcow2->image.file, &part);
    case EXTENT_COMPRESSED:
        return compressed_read(qcow2, run->entry, &part);
    case EXTENT_BACKING:
        return read_backing(qcow2, part);
    default:
        vector_clear(part.vector, part.vector_count, part.skip, part.length);
        return 0;
    }
}

int qcow2_read(struct qcow2 *qcow2, const struct block_request *request)
{
    int result = 0;
    for (uint64_t done = 0; done < request->length && result == 0;) {
        struct run run;
        struct block_request part = *request;
        part.operation = BLOCK_READ;
        part.offset += done;
        part.skip += done;
        pthread_mutex_lock(&qcow2->lock);
        result = run_find(qcow2, part.offset, request->length - done, &run);
        unsigned epoch = users_enter(qcow2);
        pthread_mutex_unlock(&qcow2->lock);
        part.length = run.length;
        if (result == 0)
            result = read_run(qcow2, &run, part);
        users_leave(qcow2, epoch);
        done += run.length;
    }
    return result;
}
