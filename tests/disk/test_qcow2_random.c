/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on qcow2 images, compared with what memory says should be there, then with what
 * qemu-img finds in the file. NACRE_TEST_OPERATIONS: how many each; NACRE_TEST_SEED: which.
 */
#include "disk/peer.h"
#include "disk/qcow2/qcow2.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE       (6 * 1024 * 1024 + 512 * 3)
#define LENGTH_MAX 300000

struct variant {
    unsigned version, cluster, refcount_bits, chain;
    bool lazy;
};

static const struct variant variants[] = {
    {3, 65536, 16, 0, false}, {3, 512, 1, 0, false},    {3, 4096, 64, 0, true},
    {2, 512, 16, 0, false},   {3, 65536, 16, 3, false}, {2, 4096, 16, 3, false},
    {3, 2097152, 8, 0, true}, {3, 1024, 2, 3, false},
};

struct fixture {
    const struct variant *variant;
    char folder[64], path[128];
    uint8_t *expected, *scratch;
    struct image *image;
    uint64_t random;
};

static uint64_t pick(struct fixture *fixture, uint64_t limit)
{
    return next_random(&fixture->random) % limit;
}

static void open_it(struct fixture *fixture)
{
    struct error error = {0};
    const struct block_options options = {
        .path = fixture->path, .format = "qcow2", .cache = BLOCK_CACHE_UNSAFE};
    fixture->image = image_open(&options, &error);
    if (!fixture->image)
        fail_msg("%s", error.message);
    assert_int_equal(fixture->image->size, SIZE);
}

static void close_it(struct fixture *fixture)
{
    assert_int_equal(image_close(fixture->image), 0);
    fixture->image = NULL;
}

static int do_range(struct fixture *fixture, enum block_operation operation, bool may_unmap,
                    uint64_t offset, uint64_t length)
{
    return image_execute(fixture->image, &(struct block_request){.operation = operation,
                                                                 .may_unmap = may_unmap,
                                                                 .offset = offset,
                                                                 .length = length});
}

static void read_and_compare(struct fixture *fixture, uint64_t offset, uint64_t length)
{
    assert_int_equal(image_read(fixture->image, offset, fixture->scratch, length), 0);
    assert_memory_equal(fixture->scratch, fixture->expected + offset, length);
}

/* Discarded bytes are as before, or zero. */
static void discard(struct fixture *fixture, uint64_t offset, uint64_t length)
{
    assert_int_equal(do_range(fixture, BLOCK_DISCARD, true, offset, length), 0);
    assert_int_equal(image_read(fixture->image, offset, fixture->scratch, length), 0);
    for (uint64_t i = 0; i < length; i++)
        if (fixture->scratch[i])
            assert_int_equal(fixture->scratch[i], fixture->expected[offset + i]);
    memcpy(fixture->expected + offset, fixture->scratch, length);
}

static void write_random(struct fixture *fixture, uint64_t offset, uint64_t length)
{
    uint64_t pattern = next_random(&fixture->random);
    for (uint64_t i = 0; i < length; i++)
        fixture->expected[offset + i] = (uint8_t)(pattern >> (i % 8 * 8)) ^ (uint8_t)(i >> 9);
    assert_int_equal(image_write(fixture->image, offset, fixture->expected + offset, length), 0);
}

static void step(struct fixture *fixture)
{
    uint64_t sectors =
        pick(fixture, 4) ? 1 + pick(fixture, 16) : 1 + pick(fixture, LENGTH_MAX / 512);
    uint64_t offset = pick(fixture, SIZE / 512) * 512, length = sectors * 512;
    if (length > SIZE - offset)
        length = SIZE - offset;
    switch (pick(fixture, 16)) {
    case 0:
        discard(fixture, offset, length);
        break;
    case 1:
    case 2:
        assert_int_equal(do_range(fixture, BLOCK_WRITE_ZEROES, pick(fixture, 2), offset, length),
                         0);
        memset(fixture->expected + offset, 0, length);
        break;
    case 3:
        assert_int_equal(image_flush(fixture->image), 0);
        break;
    case 4:
    case 5:
    case 6:
        read_and_compare(fixture, offset, length);
        break;
    default:
        write_random(fixture, offset, length);
    }
}

static void check_with_qemu(struct fixture *fixture)
{
    char raw[160];
    snprintf(raw, sizeof(raw), "%s/expected.raw", fixture->folder);
    FILE *file = fopen(raw, "w");
    assert_int_equal(fwrite(fixture->expected, 1, SIZE, file), SIZE);
    fclose(file);
    assert_int_equal(peer_run("qemu-img check -q -f qcow2 %s", fixture->path), 0);
    assert_int_equal(peer_run("qemu-img compare -q -f qcow2 -F raw %s %s", fixture->path, raw), 0);
}

static void check_ourselves(struct fixture *fixture)
{
    struct qcow2_check check;
    struct error error;
    assert_int_equal(qcow2_check(fixture->image, QCOW2_REPAIR_NONE, &check, &error), 0);
    if (check.corruptions || check.leaks)
        fail_msg("check finds: %s", check.first);
}

static unsigned count_of(const char *name, unsigned usual)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : usual;
}

static void test_random_operations(void **state)
{
    struct fixture *fixture = *state;
    unsigned count = count_of("NACRE_TEST_OPERATIONS", 600);
    for (unsigned round = 0; round < 3; round++) {
        open_it(fixture);
        for (unsigned i = 0; i < count / 3; i++)
            step(fixture);
        read_and_compare(fixture, 0, SIZE);
        assert_int_equal(image_flush(fixture->image), 0);
        close_it(fixture);
        open_it(fixture);
        check_ourselves(fixture);
        read_and_compare(fixture, 0, SIZE);
        close_it(fixture);
        check_with_qemu(fixture);
    }
}

/* qemu-io writes, we read. */
static void test_after_qemu(void **state)
{
    struct fixture *fixture = *state;
    char script[6000] = "";
    for (unsigned i = 0; i < 60; i++) {
        uint64_t offset = pick(fixture, SIZE / 512) * 512, length = (1 + pick(fixture, 200)) * 512;
        unsigned pattern = 1 + (unsigned)pick(fixture, 255), kind = (unsigned)pick(fixture, 4);
        if (length > SIZE - offset)
            length = SIZE - offset;
        char what[16] = "-z";
        if (kind)
            snprintf(what, sizeof(what), "-P %u", pattern);
        snprintf(script + strlen(script), sizeof(script) - strlen(script),
                 "-c 'write %s %llu %llu' ", what, (unsigned long long)offset,
                 (unsigned long long)length);
        memset(fixture->expected + offset, kind ? (int)pattern : 0, length);
    }
    assert_int_equal(peer_run("qemu-io -f qcow2 %s %s", script, fixture->path), 0);
    open_it(fixture);
    read_and_compare(fixture, 0, SIZE);
    check_ourselves(fixture);
    for (unsigned i = 0; i < 50; i++)
        step(fixture);
    close_it(fixture);
    check_with_qemu(fixture);
}

/* base.qcow2 <- middle.qcow2 <- the image; compressed clusters in the first. */
static void make_chain(struct fixture *fixture)
{
    const char *folder = fixture->folder;
    memset(fixture->expected, 0, SIZE);
    for (unsigned i = 0; i < SIZE / 2; i++)
        fixture->expected[i] = (uint8_t)(i / 700);
    memset(fixture->expected + 300000, 7, 500000);
    char raw[160];
    snprintf(raw, sizeof(raw), "%s/start.raw", folder);
    FILE *file = fopen(raw, "w");
    assert_int_equal(fwrite(fixture->expected, 1, SIZE / 2, file), SIZE / 2);
    fclose(file);
    assert_int_equal(peer_run("cd %s && qemu-img convert -q -c -f raw -O qcow2 -o "
                              "cluster_size=%u%s start.raw base.qcow2 && "
                              "qemu-io -f qcow2 -c 'write -P 9 4096 100000' base.qcow2 && "
                              "qemu-img create -q -f qcow2 -o cluster_size=4096 -b base.qcow2 -F "
                              "qcow2 middle.qcow2 %u && "
                              "qemu-io -f qcow2 -c 'write -P 5 299520 100352' middle.qcow2",
                              folder, fixture->variant->cluster,
                              fixture->variant->version == 3 ? ",compression_type=zstd" : "", SIZE),
                     0);
    memset(fixture->expected + 4096, 9, 100000);
    memset(fixture->expected + 299520, 5, 100352);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct error error = {0};
    fixture->variant = *state;
    fixture->random = 88172645463325252ull + count_of("NACRE_TEST_SEED", 0) * 7919;
    fixture->expected = calloc(1, SIZE);
    fixture->scratch = calloc(1, SIZE);
    if (!peer_folder(fixture->folder))
        return -1;
    snprintf(fixture->path, sizeof(fixture->path), "%s/top.qcow2", fixture->folder);
    const struct variant *variant = fixture->variant;
    const struct qcow2_create_options options = {
        .size = SIZE,
        .cluster_size = variant->cluster,
        .version = variant->version,
        .refcount_bits = variant->refcount_bits,
        .lazy_refcounts = variant->lazy,
        .backing = variant->chain ? "middle.qcow2" : NULL,
        .backing_format = variant->chain ? "qcow2" : NULL,
    };
    *state = fixture;
    if (variant->chain)
        make_chain(fixture);
    if (file_create(fixture->path, 0, false, &error) < 0 ||
        qcow2_create(fixture->path, &options, &error) < 0)
        fail_msg("%s", error.message);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->image)
        image_close(fixture->image);
    peer_run("rm -rf %s", fixture->folder);
    free(fixture->expected);
    free(fixture->scratch);
    free(fixture);
    return 0;
}

int main(void)
{
    int failed = 0;
    for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        char names[2][80];
        snprintf(names[0], 60, "random_v%u_%u_%u_chain%u", variants[i].version, variants[i].cluster,
                 variants[i].refcount_bits, variants[i].chain);
        snprintf(names[1], 80, "qemu_%.60s", names[0]);
        const struct CMUnitTest tests[] = {
            {names[0], test_random_operations, setup, teardown, (void *)&variants[i]},
            {names[1], test_after_qemu, setup, teardown, (void *)&variants[i]},
        };
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
