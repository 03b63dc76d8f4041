/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A power cut after every single write: the image must be free of corruption, and what was flushed
 * must be there. Every sector written bears the number of the write.
 */
#include "disk/memory_file.h"
#include "disk/peer.h"
#include "disk/qcow2/qcow2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define DISK       (1024 * 1024)
#define SECTORS    (DISK / 512)
#define OPERATIONS 160

struct variant {
    const char *name;
    unsigned version, cluster;
    bool lazy, snapshots;
};

static const struct variant variants[] = {
    {"small_clusters", 3, 512, false, false},   {"middle_clusters", 3, 4096, false, false},
    {"usual_clusters", 3, 65536, false, false}, {"lazy_refcounts", 3, 4096, true, false},
    {"version_2", 2, 1024, false, false},       {"snapshots", 3, 4096, false, true},
};

struct operation {
    enum block_operation kind;
    unsigned first, count;
    size_t logged; /* entries in the log when it was done */
};

struct fixture {
    const struct variant *variant;
    uint64_t random;
    struct write_log log;
    struct operation operations[OPERATIONS];
};

static void stamp(uint8_t *bytes, unsigned sectors, uint32_t number)
{
    for (unsigned i = 0; i < sectors * 128; i++)
        memcpy(bytes + i * 4, &number, 4);
}

static struct image *open_file(struct file *file, bool read_only, bool lenient)
{
    struct error error = {0};
    const struct block_options options = {
        .path = "memory.qcow2", .read_only = read_only, .lenient = lenient};
    struct image *image = qcow2_open(file, &options, &error);
    if (!image)
        fail_msg("%s", error.message);
    return image;
}

/* An empty image's bytes, by way of a real file. */
static struct file *make_image(const struct variant *variant, struct write_log *log)
{
    char folder[64], path[96];
    struct error error = {0};
    static uint8_t bytes[DISK];
    const struct qcow2_create_options options = {.size = DISK,
                                                 .cluster_size = variant->cluster,
                                                 .version = variant->version,
                                                 .lazy_refcounts = variant->lazy};
    assert_non_null(peer_folder(folder));
    snprintf(path, sizeof(path), "%s/image.qcow2", folder);
    if (file_create(path, 0, false, &error) < 0 || qcow2_create(path, &options, &error) < 0)
        fail_msg("%s", error.message);
    FILE *stream = fopen(path, "r");
    size_t size = fread(bytes, 1, sizeof(bytes), stream);
    fclose(stream);
    peer_run("rm -r %s", folder);
    struct file *file = memory_file_create(NULL, 0, log);
    assert_int_equal(file_write(file, 0, bytes, size), 0);
    assert_int_equal(file_flush(file), 0);
    return file;
}

static void run_one(struct fixture *fixture, struct image *image, unsigned number)
{
    static uint8_t bytes[64 * 512];
    struct operation *operation = &fixture->operations[number];
    struct error error;
    unsigned choice = (unsigned)(next_random(&fixture->random) % 16);
    operation->kind = choice < 9    ? BLOCK_WRITE
                      : choice < 11 ? BLOCK_DISCARD
                      : choice < 13 ? BLOCK_WRITE_ZEROES
                                    : BLOCK_FLUSH;
    operation->first = (unsigned)(next_random(&fixture->random) % SECTORS);
    operation->count = 1 + (unsigned)(next_random(&fixture->random) % 64);
    if (operation->count > SECTORS - operation->first)
        operation->count = SECTORS - operation->first;
    stamp(bytes, operation->count, number + 1);
    const struct iovec vector = {bytes, operation->count * 512};
    const struct block_request request = {.operation = operation->kind,
                                          .may_unmap = choice & 1,
                                          .offset = (uint64_t)operation->first * 512,
                                          .length = (uint64_t)operation->count * 512,
                                          .vector = &vector,
                                          .vector_count = 1};
    assert_int_equal(image_execute(image, &request), 0);
    if (fixture->variant->snapshots && number == 30)
        assert_int_equal(qcow2_snapshot_create(image, "one", &error), 0);
    if (fixture->variant->snapshots && number == 90)
        assert_int_equal(qcow2_snapshot_delete(image, "one", &error), 0);
    operation->logged = fixture->log.count;
}

/* May this sector read as `found` when the last flush done was operation `flushed` - 1, and
 * operations up to `begun` had begun? */
static bool is_possible(const struct fixture *fixture, unsigned sector, uint32_t found,
                        unsigned flushed, unsigned begun)
{
    uint32_t expected = 0;
    for (unsigned i = 0; i < begun; i++) {
        const struct operation *operation = &fixture->operations[i];
        if (operation->kind == BLOCK_FLUSH || sector - operation->first >= operation->count)
            continue;
        uint32_t value = operation->kind == BLOCK_WRITE ? i + 1 : 0;
        if (i >= flushed && found == value)
            return true;
        /* Discarded: as it was, or zeroes. */
        if (operation->kind == BLOCK_DISCARD && i < flushed && found == expected)
            continue;
        if (i < flushed)
            expected = value;
    }
    return found == expected;
}

static void verify_data(const struct fixture *fixture, struct image *image, size_t cut)
{
    static uint8_t bytes[DISK];
    unsigned flushed = 0, begun = 0;
    for (unsigned i = 0; i < OPERATIONS; i++) {
        bool done = fixture->operations[i].logged <= cut;
        if (done && fixture->operations[i].kind == BLOCK_FLUSH)
            flushed = i;
        if (i == 0 || fixture->operations[i - 1].logged <= cut)
            begun = i + 1;
    }
    assert_int_equal(image_read(image, 0, bytes, DISK), 0);
    for (unsigned i = 0; i < SECTORS; i++) {
        uint32_t found;
        memcpy(&found, bytes + i * 512, 4);
        if (!is_possible(fixture, i, found, flushed, begun))
            fail_msg("cut after write %zu: sector %u reads %u", cut, i, found);
    }
}

static void verify(struct fixture *fixture, size_t cut)
{
    struct error error = {0};
    struct qcow2_check check;
    struct file *file = write_log_cut(&fixture->log, cut, &fixture->random);
    /* Lazy refcounts are mended by opening the image for writing. */
    struct image *image = open_file(file, !fixture->variant->lazy, false);
    assert_int_equal(qcow2_check(image, QCOW2_REPAIR_NONE, &check, &error), 0);
    if (check.corruptions)
        fail_msg("cut after write %zu of %zu: %s", cut, fixture->log.count, check.first);
    verify_data(fixture, image, cut);
    assert_int_equal(image_close(image), 0);
}

static void test_power_cut_at_every_write(void **state)
{
    struct fixture *fixture = *state;
    struct image *image = open_file(make_image(fixture->variant, &fixture->log), false, false);
    size_t start = fixture->log.count;
    for (unsigned i = 0; i < OPERATIONS; i++)
        run_one(fixture, image, i);
    assert_int_equal(image_close(image), 0);
    for (size_t cut = start; cut <= fixture->log.count; cut++)
        verify(fixture, cut);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const char *seed = getenv("NACRE_TEST_SEED");
    fixture->variant = *state;
    fixture->random = UINT64_C(0x123456789abcdef) + (seed ? strtoull(seed, NULL, 10) : 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    write_log_free(&fixture->log);
    free(fixture);
    return 0;
}

int main(void)
{
    struct CMUnitTest tests[sizeof(variants) / sizeof(variants[0])];
    for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
        tests[i] = (struct CMUnitTest){variants[i].name, test_power_cut_at_every_write, setup,
                                       teardown, (void *)&variants[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
