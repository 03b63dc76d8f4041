/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast disks are, without a guest: the block layer alone, raw and qcow2, against plain pread
 * and pwrite of the host on the same file system in the same run.
 *
 *   ninja -C build bench/bench-disk && build/bench/bench-disk FOLDER
 */
#include "base/bits.h"
#include "base/clock.h"
#include "disk/block.h"
#include "disk/qcow2/qcow2.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DISK_SIZE MIB(512)
#define DEPTH_MAX 32
#define ROUNDS    3 /* the best counts: the first ones meet files that are still new */

struct work {
    const char *name;
    enum block_operation operation;
    bool random;
    uint64_t size; /* bytes of a request */
    unsigned depth, count;
};

static const struct work works[] = {
    {"sequential write 1M", BLOCK_WRITE, false, MIB(1), 4, 512},
    {"sequential read 1M", BLOCK_READ, false, MIB(1), 4, 1024},
    {"random read 4K, 32 deep", BLOCK_READ, true, KIB(4), 32, 40000},
    {"random write 4K, 32 deep", BLOCK_WRITE, true, KIB(4), 32, 20000},
};

struct run {
    const struct work *work;
    struct block *block;
    struct loop *loop;
    uint64_t random;
    unsigned issued, done;
    struct slot {
        struct block_request request;
        struct iovec vector;
        struct run *run;
    } slots[DEPTH_MAX];
};

static void die(const char *what)
{
    fprintf(stderr, "bench-disk: %s\n", what);
    exit(1);
}

static uint64_t next_offset(struct run *run)
{
    const struct work *work = run->work;
    if (!work->random)
        return run->issued * work->size % DISK_SIZE;
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return run->random % (DISK_SIZE / work->size) * work->size;
}

static void done(struct block_request *request, int result);

static void issue(struct slot *slot)
{
    struct run *run = slot->run;
    slot->request = (struct block_request){.operation = run->work->operation,
                                           .offset = next_offset(run),
                                           .length = run->work->size,
                                           .vector = &slot->vector,
                                           .vector_count = 1,
                                           .done = done};
    run->issued++;
    block_submit(run->block, &slot->request);
}

static void done(struct block_request *request, int result)
{
    struct slot *slot = container_of(request, struct slot, request);
    struct run *run = slot->run;
    if (result < 0)
        die(strerror(-result));
    if (++run->done == run->work->count)
        loop_stop(run->loop);
    if (run->issued < run->work->count)
        issue(slot);
    block_kick(run->block);
}

/* Megabytes a second through the block layer. */
static double measure(struct block *block, struct loop *loop, const struct work *work)
{
    struct run run = {.work = work, .block = block, .loop = loop, .random = 88172645463325252};
    uint64_t start = clock_monotonic_ns();
    for (unsigned i = 0; i < work->depth; i++) {
        struct slot *slot = &run.slots[i];
        slot->run = &run;
        slot->vector = (struct iovec){aligned_alloc(4096, work->size), work->size};
        memset(slot->vector.iov_base, (int)i + 1, work->size);
        issue(slot);
    }
    block_kick(block);
    loop_run(loop);
    double seconds = (double)(clock_monotonic_ns() - start) / NANOSECONDS_PER_SECOND;
    for (unsigned i = 0; i < work->depth; i++)
        free(run.slots[i].vector.iov_base);
    return (double)work->count * (double)work->size / seconds / 1e6;
}

/* The same by plain system calls, one after another, as dd does it. */
static double measure_host(const char *path, const struct work *work)
{
    struct run run = {.work = work, .random = 88172645463325252};
    int fd = open(path, O_RDWR | O_DIRECT);
    uint8_t *bytes = aligned_alloc(4096, work->size);
    memset(bytes, 7, work->size);
    uint64_t start = clock_monotonic_ns();
    for (; run.issued < work->count; run.issued++) {
        off_t offset = (off_t)next_offset(&run);
        ssize_t moved = work->operation == BLOCK_READ ? pread(fd, bytes, work->size, offset)
                                                      : pwrite(fd, bytes, work->size, offset);
        if (moved != (ssize_t)work->size)
            die("the host's own read or write failed");
    }
    double seconds = (double)(clock_monotonic_ns() - start) / NANOSECONDS_PER_SECOND;
    close(fd);
    free(bytes);
    return (double)work->count * (double)work->size / seconds / 1e6;
}

/* Opens the image, fills it, and measures all; results begin at zero. */
static void run_image(const char *path, enum block_aio aio, double *results)
{
    struct error error = {0};
    struct loop *loop = loop_create(&error);
    const struct block_options options = {.path = path, .cache = BLOCK_CACHE_NONE, .aio = aio};
    struct block *block = loop ? block_open(&options, loop, &error) : NULL;
    if (!block)
        die(error.message);
    measure(block, loop, &works[0]);
    for (unsigned i = 0; i < ARRAY_SIZE(works) * ROUNDS; i++) {
        double result = measure(block, loop, &works[i % ARRAY_SIZE(works)]);
        double *best = &results[i % ARRAY_SIZE(works)];
        if (result > *best)
            *best = result;
    }
    block_close(block);
    loop_destroy(loop);
}

int main(int argc, char **argv)
{
    enum { HOST, RAW, RAW_THREADS, QCOW2, COLUMNS };
    double results[COLUMNS][ARRAY_SIZE(works)] = {0};
    char raw[512], qcow2[512];
    struct error error = {0};
    const struct qcow2_create_options options = {.size = DISK_SIZE};
    if (argc != 2)
        die("say in which folder: bench-disk FOLDER");
    snprintf(raw, sizeof(raw), "%s/bench-disk.img", argv[1]);
    snprintf(qcow2, sizeof(qcow2), "%s/bench-disk.qcow2", argv[1]);
    if (file_create(raw, DISK_SIZE, true, &error) < 0 || file_create(qcow2, 0, true, &error) < 0 ||
        qcow2_create(qcow2, &options, &error) < 0)
        die(error.message);
    run_image(raw, BLOCK_AIO_AUTO, results[RAW]);
    run_image(raw, BLOCK_AIO_THREADS, results[RAW_THREADS]);
    run_image(qcow2, BLOCK_AIO_AUTO, results[QCOW2]);
    for (unsigned i = 0; i < ARRAY_SIZE(works); i++)
        results[HOST][i] = measure_host(raw, &works[i]);
    printf("MB/s, past the host's page cache\n%-26s %10s %10s %10s %10s %12s\n", "", "host, 1 deep",
           "raw", "threads", "qcow2", "qcow2 to raw");
    for (unsigned i = 0; i < ARRAY_SIZE(works); i++)
        printf("%-26s %12.0f %10.0f %10.0f %10.0f %12.2f\n", works[i].name, results[HOST][i],
               results[RAW][i], results[RAW_THREADS][i], results[QCOW2][i],
               results[QCOW2][i] / results[RAW][i]);
    unlink(raw);
    unlink(qcow2);
    return 0;
}
