/* SPDX-License-Identifier: Apache-2.0 */
/* What is the same for every file: plain buffers, and what a short read means. */
#include "disk/file.h"

int file_read(struct file *file, uint64_t offset, void *bytes, uint64_t length)
{
    const struct iovec vector = {.iov_base = bytes, .iov_len = length};
    return file_execute(file, &(struct block_request){.operation = BLOCK_READ,
                                                      .offset = offset,
                                                      .length = length,
                                                      .vector = &vector,
                                                      .vector_count = 1});
}

int file_write(struct file *file, uint64_t offset, const void *bytes, uint64_t length)
{
    const struct iovec vector = {.iov_base = (void *)bytes, .iov_len = length};
    return file_execute(file, &(struct block_request){.operation = BLOCK_WRITE,
                                                      .offset = offset,
                                                      .length = length,
                                                      .vector = &vector,
                                                      .vector_count = 1});
}

int file_flush(struct file *file)
{
    return file_execute(file, &(struct block_request){.operation = BLOCK_FLUSH});
}

void file_discard(struct file *file, uint64_t offset, uint64_t length)
{
    file_execute(file, &(struct block_request){
                           .operation = BLOCK_DISCARD, .offset = offset, .length = length});
}
