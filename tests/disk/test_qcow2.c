/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2 images: what is refused, snapshots, resizing, repair, and many requests at once. */
#include "disk/peer.h"
#include "disk/qcow2/format.h"
#include "disk/qcow2/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SIZE MIB(4)

struct fixture {
    char folder[64], path[96];
    struct image *image;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    *state = fixture;
    if (!peer_folder(fixture->folder))
        return -1;
    snprintf(fixture->path, sizeof(fixture->path), "%s/image.qcow2", fixture->folder);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->image)
        image_close(fixture->image);
    peer_run("rm -r %s", fixture->folder);
    free(fixture);
    return 0;
}

static void create(struct fixture *fixture, const struct qcow2_create_options *options)
{
    if (file_create(fixture->path, 0, true, &fixture->error) < 0 ||
        qcow2_create(fixture->path, options, &fixture->error) < 0)
        fail_msg("%s", fixture->error.message);
}

static void create_plain(struct fixture *fixture, uint64_t size)
{
    create(fixture, &(struct qcow2_create_options){.size = size});
}

static struct image *try_open(struct fixture *fixture, const char *path, const char *format,
                              bool read_only)
{
    const struct block_options options = {.path = path, .format = format, .read_only = read_only};
    return image_open(&options, &fixture->error);
}

static void open_it(struct fixture *fixture)
{
    fixture->image = try_open(fixture, fixture->path, NULL, false);
    if (!fixture->image)
        fail_msg("%s", fixture->error.message);
}

static void close_it(struct fixture *fixture)
{
    assert_int_equal(image_close(fixture->image), 0);
    fixture->image = NULL;
}

static void fill(struct fixture *fixture, uint64_t offset, uint64_t length, uint8_t value)
{
    uint8_t *bytes = malloc(length);
    memset(bytes, value, length);
    assert_int_equal(image_write(fixture->image, offset, bytes, length), 0);
    free(bytes);
}

static uint8_t byte_at(struct fixture *fixture, uint64_t offset)
{
    uint8_t sector[512];
    assert_int_equal(image_read(fixture->image, align_down(offset, 512), sector, 512), 0);
    return sector[offset % 512];
}

/* Overwrites a big-endian field of the closed image. */
static void patch(struct fixture *fixture, uint64_t offset, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    int fd = open(fixture->path, O_RDWR);
    store_be(bytes, value, size);
    assert_int_equal(pwrite(fd, bytes, size, (off_t)offset), size);
    close(fd);
}

static void refuses(struct fixture *fixture, const char *why)
{
    assert_null(try_open(fixture, fixture->path, "qcow2", false));
    assert_non_null(strstr(fixture->error.message, fixture->path));
    if (!strstr(fixture->error.message, why))
        fail_msg("\"%s\" does not say \"%s\"", fixture->error.message, why);
}

/* --- refused --- */

static void test_headers_that_are_refused(void **state)
{
    static const struct {
        unsigned offset, size;
        uint64_t value;
        const char *why;
    } cases[] = {
        {HEADER_MAGIC, 4, 0, "is no qcow2 image"},
        {HEADER_VERSION, 4, 7, "version 7"},
        {HEADER_CRYPT, 4, 2, "encrypted"},
        {HEADER_CLUSTER_BITS, 4, 40, "clusters of 2^40"},
        {HEADER_CLUSTER_BITS, 4, 8, "clusters of 2^8"},
        {HEADER_SIZE, 8, UINT64_MAX - 511, "too large"},
        {HEADER_SIZE, 8, UINT64_C(1) << 50, "L1 table is too small"},
        {HEADER_L1_SIZE, 4, UINT32_MAX, "L1 table is too large"},
        {HEADER_L1_OFFSET, 8, 0x30001, "L1 table is not where"},
        {HEADER_L1_OFFSET, 8, 0x10000, "misplaced"},
        {HEADER_L1_OFFSET, 8, UINT64_C(1) << 40, "misplaced"},
        {HEADER_REFCOUNT_OFFSET, 8, 0, "refcount table is not where"},
        {HEADER_REFCOUNT_CLUSTERS, 4, 1 << 20, "impossible size"},
        {HEADER_REFCOUNT_ORDER, 4, 7, "wider than 64"},
        {HEADER_LENGTH, 4, 1 << 30, "header of"},
        {HEADER_SNAPSHOT_COUNT, 4, 1 << 20, "too many snapshots"},
        {HEADER_INCOMPATIBLE, 8, INCOMPATIBLE_CORRUPT, "marked as corrupt"},
        {HEADER_INCOMPATIBLE, 8, INCOMPATIBLE_EXTERNAL_DATA, "second file"},
        {HEADER_INCOMPATIBLE, 8, BIT(40), "bit 40"},
        {HEADER_INCOMPATIBLE, 8, INCOMPATIBLE_COMPRESSION, "contradicts"},
        {HEADER_BACKING_OFFSET, 8, 0xfffff0, "no proper name"},
    };
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        create_plain(fixture, SIZE);
        patch(fixture, cases[i].offset, cases[i].value, cases[i].size);
        if (cases[i].offset == HEADER_BACKING_OFFSET)
            patch(fixture, HEADER_BACKING_SIZE, 20, 4);
        refuses(fixture, cases[i].why);
    }
}

static void test_unknown_features_are_named(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(peer_run("qemu-img create -q -f qcow2 %s 1M", fixture->path), 0);
    patch(fixture, HEADER_INCOMPATIBLE, BIT(9), 8);
    refuses(fixture, "bit 9");
    patch(fixture, HEADER_INCOMPATIBLE, INCOMPATIBLE_EXTERNAL_DATA, 8);
    refuses(fixture, "qemu-img convert");
}

static void test_backing_images_in_a_circle(void **state)
{
    struct fixture *fixture = *state;
    create(fixture, &(struct qcow2_create_options){
                        .size = SIZE, .backing = "image.qcow2", .backing_format = "qcow2"});
    assert_null(try_open(fixture, fixture->path, NULL, true));
    assert_non_null(strstr(fixture->error.message, "circle"));
    create(fixture,
           &(struct qcow2_create_options){.size = SIZE, .backing = "nbd://localhost/disk"});
    refuses(fixture, "not a plain file");
}

/* A guest that writes qcow2's magic to its raw disk must not choose the format. */
static void test_raw_is_never_taken_for_qcow2(void **state)
{
    struct fixture *fixture = *state;
    char raw[128];
    snprintf(raw, sizeof(raw), "%s/disk.img", fixture->folder);
    create_plain(fixture, SIZE);
    assert_int_equal(peer_run("mv %s %s", fixture->path, raw), 0);
    assert_null(try_open(fixture, raw, NULL, false));
    assert_non_null(strstr(fixture->error.message, "format=qcow2"));
    fixture->image = try_open(fixture, raw, "raw", false);
    assert_non_null(fixture->image);
    assert_int_equal(byte_at(fixture, 0), 'Q');
    close_it(fixture);
    fixture->image = try_open(fixture, raw, "qcow2", false);
    assert_non_null(fixture->image);
    assert_int_equal(fixture->image->size, SIZE);
}

/* An L2 entry that points to metadata, outside the file, or has reserved bits. */
static void test_corrupt_entries(void **state)
{
    static const uint64_t entries[] = {0x10000 | ENTRY_COPIED, BIT(50), 0x50002, ENTRY_COMPRESSED,
                                       0x4f200};
    struct fixture *fixture = *state;
    uint8_t bytes[512] = {0};
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
        create_plain(fixture, SIZE);
        open_it(fixture);
        fill(fixture, 0, 65536, 7);
        close_it(fixture);
        patch(fixture, 4 * 65536, entries[i], 8); /* where the first L2 table comes to lie */
        open_it(fixture);
        assert_int_equal(image_read(fixture->image, 0, bytes, 512), -EIO);
        assert_int_equal(image_write(fixture->image, 0, bytes, 512), -EIO);
        /* And nothing is written any more. */
        assert_int_equal(image_write(fixture->image, MIB(1), bytes, 512), -EIO);
        close_it(fixture);
    }
}

/* --- what works --- */

static void test_extended_l2_is_read(void **state)
{
    struct fixture *fixture = *state;
    char raw[128];
    snprintf(raw, sizeof(raw), "%s/content.img", fixture->folder);
    assert_int_equal(peer_run("cd %s && qemu-img create -q -f raw base.img 1M && "
                              "qemu-io -f raw -c 'write -P 3 0 1M' base.img && "
                              "qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=64k -b "
                              "base.img -F raw image.qcow2 && "
                              "qemu-io -f qcow2 -c 'write -P 1 2048 4096' -c 'write -z 10240 4096' "
                              "-c 'write -P 2 200704 70000' image.qcow2 && "
                              "qemu-img convert -O raw image.qcow2 content.img",
                              fixture->folder),
                     0);
    refuses(fixture, "readonly=on");
    fixture->image = try_open(fixture, fixture->path, NULL, true);
    assert_non_null(fixture->image);
    static uint8_t ours[MIB(1)], theirs[MIB(1)];
    assert_int_equal(image_read(fixture->image, 0, ours, MIB(1)), 0);
    FILE *file = fopen(raw, "r");
    assert_int_equal(fread(theirs, 1, MIB(1), file), MIB(1));
    fclose(file);
    assert_memory_equal(ours, theirs, MIB(1));
}

static void test_snapshots(void **state)
{
    struct fixture *fixture = *state;
    create_plain(fixture, SIZE);
    open_it(fixture);
    fill(fixture, 0, MIB(1), 1);
    assert_int_equal(qcow2_snapshot_create(fixture->image, "first", &fixture->error), 0);
    assert_int_equal(qcow2_snapshot_create(fixture->image, "first", &fixture->error), -EEXIST);
    fill(fixture, 65536, 100000 / 512 * 512, 2);
    assert_int_equal(qcow2_snapshot_create(fixture->image, "second", &fixture->error), 0);
    fill(fixture, 0, MIB(2), 3);
    close_it(fixture);
    assert_int_equal(peer_run("qemu-img check -q %s", fixture->path), 0);
    assert_int_equal(peer_run("qemu-img snapshot -l %s | grep -q second", fixture->path), 0);
    assert_int_equal(peer_run("qemu-io -r -c 'read -P 3 0 2M' %s | grep -q failed && exit 1; "
                              "qemu-img snapshot -a first %s",
                              fixture->path, fixture->path),
                     0);
    open_it(fixture);
    assert_int_equal(byte_at(fixture, 65536), 1);
    assert_int_equal(byte_at(fixture, MIB(1)), 0);
    assert_int_equal(qcow2_snapshot_apply(fixture->image, "second", &fixture->error), 0);
    assert_int_equal(byte_at(fixture, 65536), 2);
    assert_int_equal(byte_at(fixture, MIB(1) - 1), 1);
    fill(fixture, 0, 4096, 9);
    assert_int_equal(qcow2_snapshot_delete(fixture->image, "first", &fixture->error), 0);
    assert_int_equal(qcow2_snapshot_delete(fixture->image, "first", &fixture->error), -ENOENT);
    close_it(fixture);
    assert_int_equal(peer_run("qemu-img check -q %s", fixture->path), 0);
    assert_int_equal(peer_run("qemu-img snapshot -d second %s && qemu-img check -q %s",
                              fixture->path, fixture->path),
                     0);
    open_it(fixture);
    assert_int_equal(byte_at(fixture, 0), 9);
    assert_int_equal(byte_at(fixture, 65536), 2);
}

static void test_resize(void **state)
{
    struct fixture *fixture = *state;
    create(fixture, &(struct qcow2_create_options){.size = MIB(1), .cluster_size = 512});
    open_it(fixture);
    fill(fixture, 0, MIB(1), 1);
    assert_int_equal(fixture->image->ops->resize(fixture->image, 700 * 512, &fixture->error), 0);
    assert_int_equal(fixture->image->ops->resize(fixture->image, GIB(3), &fixture->error), 0);
    assert_int_equal(byte_at(fixture, 700 * 512 - 1), 1);
    assert_int_equal(byte_at(fixture, 700 * 512), 0);
    fill(fixture, GIB(3) - 512, 512, 8);
    close_it(fixture);
    assert_int_equal(peer_run("qemu-img check -q %s", fixture->path), 0);
    open_it(fixture);
    assert_int_equal(fixture->image->size, GIB(3));
    assert_int_equal(byte_at(fixture, GIB(3) - 1), 8);
    assert_int_equal(byte_at(fixture, 3), 1);
}

static void test_repair(void **state)
{
    struct fixture *fixture = *state;
    struct qcow2_check check;
    create_plain(fixture, SIZE);
    open_it(fixture);
    fill(fixture, 0, MIB(1), 1);
    close_it(fixture);
    /* The refcount block is the third cluster, 16 bits each: a leak, and a cluster given away. */
    patch(fixture, 2 * 65536 + 2 * 40, 1, 2);
    patch(fixture, 2 * 65536 + 2 * 8, 0, 2);
    open_it(fixture);
    assert_int_equal(qcow2_check(fixture->image, QCOW2_REPAIR_NONE, &check, &fixture->error), 0);
    assert_int_equal(check.leaks, 0); /* behind the file's end: nothing is lost */
    assert_int_equal(check.corruptions, 1);
    assert_int_equal(qcow2_check(fixture->image, QCOW2_REPAIR_ALL, &check, &fixture->error), 0);
    assert_int_equal(check.repaired, 1);
    assert_int_equal(qcow2_check(fixture->image, QCOW2_REPAIR_NONE, &check, &fixture->error), 0);
    assert_int_equal(check.corruptions, 0);
    assert_int_equal(byte_at(fixture, MIB(1) - 1), 1);
}

/* The process ended with lazy refcounts behind: the next opening counts anew. */
static void test_lazy_refcounts_are_recovered(void **state)
{
    struct fixture *fixture = *state;
    create(fixture, &(struct qcow2_create_options){.size = SIZE, .lazy_refcounts = true});
    open_it(fixture);
    fill(fixture, 0, MIB(1), 1);
    assert_int_equal(image_flush(fixture->image), 0);
    assert_int_equal(peer_run("cp %s %s.copy", fixture->path, fixture->path), 0);
    close_it(fixture);
    assert_int_equal(peer_run("qemu-img check -q %s && mv %s.copy %s", fixture->path, fixture->path,
                              fixture->path),
                     0);
    assert_int_not_equal(peer_run("qemu-img check -q %s 2>/dev/null", fixture->path), 0);
    open_it(fixture);
    assert_int_equal(byte_at(fixture, MIB(1) - 1), 1);
    close_it(fixture);
    assert_int_equal(peer_run("qemu-img check -q %s", fixture->path), 0);
}

/* --- many at once --- */

#define MANY  512
#define PIECE 4096

struct many {
    struct block_request request;
    struct iovec vector;
    uint8_t bytes[PIECE];
};

static void count_done(struct block_request *request, int result)
{
    assert_int_equal(result, 0);
    ++*(unsigned *)request->opaque;
}

static void submit_all(struct block *block, struct many *many, enum block_operation operation,
                       unsigned stride)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MANY; i++) {
        unsigned place = i * stride % MANY; /* neighbours of a cluster, but not one by one */
        many[i].vector = (struct iovec){many[i].bytes, PIECE};
        many[i].request = (struct block_request){.operation = operation,
                                                 .offset = (uint64_t)place * PIECE,
                                                 .length = PIECE,
                                                 .vector = &many[i].vector,
                                                 .vector_count = 1,
                                                 .done = count_done,
                                                 .opaque = &count};
        if (operation == BLOCK_WRITE)
            memset(many[i].bytes, (int)(place % 251 + 1), PIECE);
        block_submit(block, &many[i].request);
        if (i % 100 == 99 && operation == BLOCK_WRITE) {
            static struct block_request flushes[MANY];
            flushes[i] = (struct block_request){
                .operation = BLOCK_FLUSH, .done = count_done, .opaque = &count};
            count--;
            block_submit(block, &flushes[i]);
        }
    }
    block_kick(block);
    block_drain(block);
    assert_int_equal(count, MANY);
}

static void run_many(struct fixture *fixture, enum block_aio aio, enum block_cache cache)
{
    const struct block_options options = {.path = fixture->path, .aio = aio, .cache = cache};
    struct many *many = calloc(MANY, sizeof(*many));
    struct loop *loop = loop_create(&fixture->error);
    create_plain(fixture, SIZE);
    struct block *block = block_open(&options, loop, &fixture->error);
    if (!block)
        fail_msg("%s", fixture->error.message);
    submit_all(block, many, BLOCK_WRITE, 37);
    submit_all(block, many, BLOCK_WRITE, 1); /* in place by now */
    submit_all(block, many, BLOCK_READ, 5);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(many[i].bytes[i % PIECE], i * 5 % MANY % 251 + 1);
    block_close(block);
    loop_destroy(loop);
    free(many);
    assert_int_equal(peer_run("qemu-img check -q %s", fixture->path), 0);
}

static void test_many_requests_in_flight(void **state)
{
    run_many(*state, BLOCK_AIO_AUTO, BLOCK_CACHE_WRITEBACK);
    run_many(*state, BLOCK_AIO_THREADS, BLOCK_CACHE_WRITETHROUGH);
}

#define QCOW2_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QCOW2_TEST(test_headers_that_are_refused),
        QCOW2_TEST(test_unknown_features_are_named),
        QCOW2_TEST(test_backing_images_in_a_circle),
        QCOW2_TEST(test_raw_is_never_taken_for_qcow2),
        QCOW2_TEST(test_corrupt_entries),
        QCOW2_TEST(test_extended_l2_is_read),
        QCOW2_TEST(test_snapshots),
        QCOW2_TEST(test_resize),
        QCOW2_TEST(test_repair),
        QCOW2_TEST(test_lazy_refcounts_are_recovered),
        QCOW2_TEST(test_many_requests_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
