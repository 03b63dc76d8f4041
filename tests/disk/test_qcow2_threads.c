/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight threads on one qcow2 image. In its first half they share clusters and write a KiB each; in
 * the second each has clusters of its own, to write, zero, discard and read, while the clusters in
 * the file change hands all the time.
 */
#include "base/bits.h"
#include "disk/peer.h"
#include "disk/qcow2/qcow2.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SIZE    MIB(16)
#define THREADS 8
#define SHARED  KIB(1)

struct variant {
    unsigned cluster;
    bool lazy;
};

static const struct variant variants[] = {{512, false}, {4096, true}, {65536, false}};

struct worker {
    struct image *image;
    uint8_t *expected; /* the whole disk's; each thread touches what is its own */
    uint64_t own;      /* bytes of a region that is this thread's alone */
    uint64_t number, random;
    unsigned operations, failed;
    uint8_t bytes[65536];
};

static int do_write(struct worker *worker, uint64_t offset, uint64_t length)
{
    memset(worker->bytes, (int)(next_random(&worker->random) % 255 + 1), length);
    memcpy(worker->expected + offset, worker->bytes, length);
    return image_write(worker->image, offset, worker->bytes, length);
}

static int do_clear(struct worker *worker, enum block_operation operation, uint64_t offset)
{
    memset(worker->expected + offset, 0, worker->own);
    return image_execute(worker->image,
                         &(struct block_request){.operation = operation,
                                                 .may_unmap = next_random(&worker->random) & 1,
                                                 .offset = offset,
                                                 .length = worker->own});
}

static int do_read(struct worker *worker, uint64_t offset)
{
    int result = image_read(worker->image, offset, worker->bytes, worker->own);
    return result ? result : memcmp(worker->bytes, worker->expected + offset, worker->own);
}

/* The thread's n-th piece, among those of the others. */
static uint64_t place(struct worker *worker, uint64_t start, uint64_t size)
{
    uint64_t index = next_random(&worker->random) % (SIZE / 2 / size / THREADS);
    return start + (index * THREADS + worker->number) * size;
}

static int step(struct worker *worker)
{
    uint64_t own = place(worker, SIZE / 2, worker->own);
    switch (next_random(&worker->random) % 12) {
    case 0:
    case 1:
    case 2:
        return do_write(worker, own, worker->own);
    case 3:
    case 4:
        return do_clear(worker, BLOCK_WRITE_ZEROES, own);
    case 5:
        return do_clear(worker, BLOCK_DISCARD, own);
    case 6:
        return do_read(worker, own);
    case 7:
        return next_random(&worker->random) % 8 ? 0 : image_flush(worker->image);
    default:
        return do_write(worker, place(worker, 0, SHARED), SHARED);
    }
}

static void *run(void *opaque)
{
    struct worker *worker = opaque;
    for (unsigned i = 0; i < worker->operations; i++)
        worker->failed += step(worker) != 0;
    return NULL;
}

static void run_threads(struct image *image, const struct variant *variant, uint8_t *expected)
{
    struct worker *workers = calloc(THREADS, sizeof(*workers));
    pthread_t threads[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){
            .image = image,
            .expected = expected,
            .own = variant->cluster > KIB(8) ? variant->cluster : KIB(8),
            .number = i,
            .random = UINT64_C(88172645463325252) + i * 7919,
            .operations = getenv("NACRE_TEST_CASES") ? 300 : 3000,
        };
        assert_int_equal(pthread_create(&threads[i], NULL, run, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].failed, 0);
    }
    free(workers);
}

static void test_threads(void **state)
{
    const struct variant *variant = *state;
    char folder[64], path[96];
    struct error error = {0};
    uint8_t *expected = calloc(1, SIZE), *found = malloc(SIZE);
    const struct qcow2_create_options options = {
        .size = SIZE, .cluster_size = variant->cluster, .lazy_refcounts = variant->lazy};
    assert_non_null(peer_folder(folder));
    snprintf(path, sizeof(path), "%s/image.qcow2", folder);
    assert_int_equal(file_create(path, 0, false, &error), 0);
    assert_int_equal(qcow2_create(path, &options, &error), 0);
    struct image *image = image_open(&(struct block_options){.path = path}, &error);
    if (!image)
        fail_msg("%s", error.message);
    run_threads(image, variant, expected);
    assert_int_equal(image_read(image, 0, found, SIZE), 0);
    assert_memory_equal(found, expected, SIZE);
    assert_int_equal(image_close(image), 0);
    assert_int_equal(peer_run("qemu-img check -q %s", path), 0);
    peer_run("rm -r %s", folder);
    free(expected);
    free(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"small_clusters", test_threads, NULL, NULL, (void *)&variants[0]},
        {"lazy_refcounts", test_threads, NULL, NULL, (void *)&variants[1]},
        {"usual_clusters", test_threads, NULL, NULL, (void *)&variants[2]},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
