/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file in memory that remembers every write, so that a test can make the file that a crash would
 * have left: everything up to a flush is there, and of what came later any part.
 */
#ifndef TESTS_DISK_MEMORY_FILE_H
#define TESTS_DISK_MEMORY_FILE_H

#include "disk/file.h"

struct write_log {
    struct log_entry {
        enum block_operation operation;
        uint64_t offset, length;
        uint8_t *bytes;
    } * entries;
    size_t count, room;
    size_t fail_at; /* the write that would become this entry fails, once; 0: none */
};

/* log NULL: nothing is remembered. The log stays the caller's. */
struct file *memory_file_create(const void *bytes, uint64_t size, struct write_log *log);
void write_log_free(struct write_log *log);

/* What a power cut after `count` entries leaves: random picks among the sectors not yet flushed. */
struct file *write_log_cut(const struct write_log *log, size_t count, uint64_t *random);

#endif
