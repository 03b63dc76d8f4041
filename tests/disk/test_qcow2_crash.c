/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A power cut after every single write, the end of the process at any moment, and an error at any
 * write: the image must be free of corruption, and what was flushed
 * must be there. Every sector written bears the number of the write.
 */
#include "disk/memory_file.h"
#include "disk/peer.h"
#include "disk/qcow2/qcow2.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/wait.h>

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

/* In memory that the child of the test with kill shares. */
struct fixture {
    const struct variant *variant;
    uint64_t random;
    struct write_log log;
    struct operation operations[OPERATIONS];
    atomic_uint done;        /* operations */
    bool failed[OPERATIONS]; /* operations that returned an error */
};

/* Every how many-th moment is tried: sanitizers, which limit the cases, are slow. */
static unsigned stride(void)
{
    return getenv("NACRE_TEST_CASES") ? 10 : 1;
}

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

static void create_file(const struct variant *variant, const char *path, bool replace)
{
    struct error error = {0};
    const struct qcow2_create_options options = {.size = DISK,
                                                 .cluster_size = variant->cluster,
                                                 .version = variant->version,
                                                 .lazy_refcounts = variant->lazy};
    if (file_create(path, 0, replace, &error) < 0 || qcow2_create(path, &options, &error) < 0)
        fail_msg("%s", error.message);
}

/* An empty image's bytes, by way of a real file. */
static struct file *make_image(const struct variant *variant, struct write_log *log)
{
    char folder[64], path[96];
    static uint8_t bytes[DISK];
    assert_non_null(peer_folder(folder));
    snprintf(path, sizeof(path), "%s/image.qcow2", folder);
    create_file(variant, path, false);
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
    fixture->failed[number] = image_execute(image, &request) < 0;
    assert_true(!fixture->failed[number] || fixture->log.fail_at);
    bool snapshots = fixture->variant->snapshots;
    if (snapshots && number == 30 && qcow2_snapshot_create(image, "one", &error) < 0)
        assert_true(fixture->log.fail_at);
    if (snapshots && number == 90 && qcow2_snapshot_delete(image, "one", &error) < 0)
        assert_true(fixture->log.fail_at);
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
        bool maybe = operation->kind == BLOCK_DISCARD || fixture->failed[i];
        if (maybe && i < flushed && found == expected)
            continue;
        if (i < flushed)
            expected = value;
    }
    return found == expected;
}

/* done: operations that had come back. */
static void verify_data(const struct fixture *fixture, struct image *image, unsigned done)
{
    static uint8_t bytes[DISK];
    unsigned flushed = 0, begun = done < OPERATIONS ? done + 1 : done;
    for (unsigned i = 0; i < done; i++)
        if (fixture->operations[i].kind == BLOCK_FLUSH && !fixture->failed[i])
            flushed = i;
    assert_int_equal(image_read(image, 0, bytes, DISK), 0);
    for (unsigned i = 0; i < SECTORS; i++) {
        uint32_t found;
        memcpy(&found, bytes + i * 512, 4);
        if (!is_possible(fixture, i, found, flushed, begun))
            fail_msg("after operation %u: sector %u reads %u", done, i, found);
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
    unsigned done = 0;
    while (done < OPERATIONS && fixture->operations[done].logged <= cut)
        done++;
    verify_data(fixture, image, done);
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
    for (size_t cut = start; cut <= fixture->log.count; cut += stride())
        verify(fixture, cut);
}

/* --- the end of the process --- */

#define KILLS 12

static void run_child(struct fixture *fixture, const char *path)
{
    struct error error;
    const struct block_options options = {.path = path, .format = "qcow2"};
    struct image *image = image_open(&options, &error);
    for (unsigned i = 0; image && i < OPERATIONS; i++) {
        run_one(fixture, image, i);
        atomic_store(&fixture->done, i + 1);
    }
    pause();
}

static void kill_at(struct fixture *fixture, const char *path, unsigned operation)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child)
        run_child(fixture, path);
    while (atomic_load(&fixture->done) < operation)
        sched_yield();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void test_killed_at_any_moment(void **state)
{
    struct fixture *fixture = *state;
    char folder[64], path[96];
    struct error error = {0};
    struct qcow2_check check;
    assert_non_null(peer_folder(folder));
    snprintf(path, sizeof(path), "%s/image.qcow2", folder);
    for (unsigned i = 1; i <= KILLS; i += stride()) {
        atomic_store(&fixture->done, 0);
        create_file(fixture->variant, path, true);
        kill_at(fixture, path, i * OPERATIONS / KILLS);
        const struct block_options options = {
            .path = path, .format = "qcow2", .read_only = !fixture->variant->lazy};
        struct image *image = image_open(&options, &error);
        if (!image)
            fail_msg("%s", error.message);
        assert_int_equal(qcow2_check(image, QCOW2_REPAIR_NONE, &check, &error), 0);
        if (check.corruptions)
            fail_msg("%s", check.first);
        verify_data(fixture, image, atomic_load(&fixture->done));
        assert_int_equal(image_close(image), 0);
    }
    peer_run("rm -r %s", folder);
}

/* --- one write that fails --- */

static void test_error_at_every_write(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    struct qcow2_check check;
    const uint64_t start = fixture->random;
    for (unsigned at = 1; at < 400; at += 7 * stride()) {
        struct file *file = make_image(fixture->variant, &fixture->log);
        fixture->log.fail_at = fixture->log.count + at;
        fixture->random = start;
        struct image *image = open_file(file, false, false);
        for (unsigned i = 0; i < OPERATIONS; i++)
            run_one(fixture, image, i);
        if (image_flush(image) < 0) /* the one that fails */
            assert_int_equal(image_flush(image), 0);
        assert_int_equal(qcow2_check(image, QCOW2_REPAIR_NONE, &check, &error), 0);
        if (check.corruptions)
            fail_msg("after an error at write %u: %s", at, check.first);
        verify_data(fixture, image, OPERATIONS);
        image_close(image);
        write_log_free(&fixture->log);
    }
}

static int setup(void **state)
{
    struct fixture *fixture =
        mmap(NULL, sizeof(*fixture), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
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
    munmap(fixture, sizeof(*fixture));
    return 0;
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } kinds[] = {
        {"power_cut", test_power_cut_at_every_write},
        {"kill", test_killed_at_any_moment},
        {"error", test_error_at_every_write},
    };
    int failed = 0;
    for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        struct CMUnitTest tests[sizeof(kinds) / sizeof(kinds[0])];
        for (unsigned j = 0; j < sizeof(kinds) / sizeof(kinds[0]); j++)
            tests[j] = (struct CMUnitTest){kinds[j].name, kinds[j].run, setup, teardown,
                                           (void *)&variants[i]};
        failed += cmocka_run_group_tests_name(variants[i].name, tests, NULL, NULL);
    }
    return failed;
}
