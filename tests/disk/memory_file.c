/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/memory_file.h"

#include "disk/peer.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>

#define SECTOR         512
#define SIZE_MAX_BYTES (UINT64_C(1) << 26)

struct memory_file {
    struct file file;
    pthread_mutex_t lock;
    uint8_t *bytes;
    uint64_t room;
    struct write_log *log;
};

static void log_append(struct write_log *log, const struct block_request *request,
                       const uint8_t *bytes)
{
    if (log->count == log->room) {
        log->room = log->room ? log->room * 2 : 256;
        log->entries = realloc(log->entries, log->room * sizeof(*log->entries));
    }
    struct log_entry *entry = &log->entries[log->count++];
    *entry = (struct log_entry){
        .operation = request->operation, .offset = request->offset, .length = request->length};
    if (request->operation == BLOCK_WRITE) {
        entry->bytes = malloc(request->length + 1);
        memcpy(entry->bytes, bytes, request->length);
    }
}

static int grow(struct memory_file *memory, uint64_t end)
{
    if (end > SIZE_MAX_BYTES)
        return -EFBIG;
    if (end > memory->room) {
        uint64_t room = end * 2;
        memory->bytes = realloc(memory->bytes, room);
        memset(memory->bytes + memory->room, 0, room - memory->room);
        memory->room = room;
    }
    if (end > memory->file.size)
        memory->file.size = end;
    return 0;
}

static int apply(struct memory_file *memory, const struct block_request *request)
{
    uint64_t end = request->offset + request->length;
    uint64_t inside = request->offset >= memory->file.size ? 0
                      : end > memory->file.size            ? memory->file.size - request->offset
                                                           : request->length;
    switch (request->operation) {
    case BLOCK_READ:
        if (inside < request->length && !memory->file.grows)
            return -EIO;
        vector_write(request->vector, request->vector_count, request->skip,
                     memory->bytes + (inside ? request->offset : 0), inside);
        vector_clear(request->vector, request->vector_count, request->skip + inside,
                     request->length - inside);
        return 0;
    case BLOCK_WRITE:
        if (grow(memory, end) < 0)
            return -EFBIG;
        vector_read(request->vector, request->vector_count, request->skip,
                    memory->bytes + request->offset, request->length);
        return 0;
    case BLOCK_FLUSH:
        return 0;
    default:
        if (inside)
            memset(memory->bytes + request->offset, 0, inside);
        return 0;
    }
}

static bool fails(struct write_log *log, const struct block_request *request)
{
    bool now = log && log->fail_at && request->operation != BLOCK_READ &&
               request->operation != BLOCK_DISCARD && log->count + 1 == log->fail_at;
    if (now)
        log->fail_at = SIZE_MAX; /* past: but errors are to be expected */
    return now;
}

static int execute(struct file *file, const struct block_request *request)
{
    struct memory_file *memory = (struct memory_file *)file;
    pthread_mutex_lock(&memory->lock);
    int result = fails(memory->log, request) ? -EIO : apply(memory, request);
    if (result == 0 && memory->log && request->operation != BLOCK_READ)
        log_append(memory->log, request, memory->bytes + request->offset);
    pthread_mutex_unlock(&memory->lock);
    return result;
}

static int resize(struct file *file, uint64_t size)
{
    return -ENOTSUP;
}

static int extent(struct file *file, uint64_t offset, uint64_t length, struct extent *extent)
{
    *extent = (struct extent){.kind = EXTENT_DATA, .length = length, .offset = offset};
    return 0;
}

static void close_file(struct file *file)
{
    struct memory_file *memory = (struct memory_file *)file;
    pthread_mutex_destroy(&memory->lock);
    free(memory->bytes);
    free(memory->file.path);
    free(memory);
}

static const struct file_ops memory_ops = {
    .execute = execute, .resize = resize, .extent = extent, .close = close_file};

struct file *memory_file_create(const void *bytes, uint64_t size, struct write_log *log)
{
    struct memory_file *memory = calloc(1, sizeof(*memory));
    memory->file.ops = &memory_ops;
    memory->file.path = strdup("memory.qcow2");
    memory->log = log;
    memory->room = SECTOR;
    memory->bytes = calloc(1, SECTOR);
    pthread_mutex_init(&memory->lock, NULL);
    grow(memory, size);
    if (size)
        memcpy(memory->bytes, bytes, size);
    return &memory->file;
}

void write_log_free(struct write_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        free(log->entries[i].bytes);
    free(log->entries);
    *log = (struct write_log){0};
}

/* Part of an entry, from `at` on. */
static void replay(struct memory_file *memory, const struct log_entry *entry, uint64_t at,
                   uint64_t length)
{
    const struct iovec vector = {entry->bytes ? entry->bytes + at : NULL, length};
    const struct block_request request = {.operation = entry->operation,
                                          .offset = entry->offset + at,
                                          .length = length,
                                          .vector = &vector,
                                          .vector_count = 1};
    apply(memory, &request);
}

struct file *write_log_cut(const struct write_log *log, size_t count, uint64_t *random)
{
    struct file *file = memory_file_create(NULL, 0, NULL);
    size_t flushed = 0;
    for (size_t i = 0; i < count; i++)
        if (log->entries[i].operation == BLOCK_FLUSH)
            flushed = i;
    for (size_t i = 0; i < count; i++) {
        const struct log_entry *entry = &log->entries[i];
        uint64_t chance = i < flushed ? 0 : next_random(random) % 4; /* 0: all of it */
        for (uint64_t at = 0; at < entry->length;) {
            uint64_t size = SECTOR - (entry->offset + at) % SECTOR;
            if (size > entry->length - at)
                size = entry->length - at;
            if (chance == 0)
                size = entry->length - at;
            if (chance == 0 || (chance > 1 && next_random(random) % 2))
                replay((struct memory_file *)file, entry, at, size);
            at += size;
        }
    }
    return file;
}
