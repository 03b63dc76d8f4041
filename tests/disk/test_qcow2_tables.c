/* SPDX-License-Identifier: Apache-2.0 */
/* The parts below qcow2's tables: sets of clusters, the cache of metadata, compressed entries. */
#include "disk/memory_file.h"
#include "disk/peer.h"
#include "disk/qcow2/private.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* --- cluster sets --- */

#define NUMBERS 4096

static void test_set_against_an_array(void **state)
{
    struct cluster_set set = {0};
    bool there[NUMBERS] = {0};
    uint64_t random = 1234567;
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t number = next_random(&random) % NUMBERS;
        /* Neighbours and numbers far apart share chains. */
        uint64_t cluster = number % 2 ? number : number << 40;
        if (next_random(&random) % 3) {
            assert_int_equal(cluster_set_add(&set, cluster), !there[number]);
            there[number] = true;
        } else {
            cluster_set_remove(&set, cluster);
            there[number] = false;
        }
    }
    size_t count = 0;
    for (uint64_t i = 0; i < NUMBERS; i++) {
        assert_int_equal(cluster_set_has(&set, i % 2 ? i : i << 40), there[i]);
        count += there[i];
    }
    assert_int_equal(set.count, count);
    free(set.slots);
}

static void test_empty_set(void **state)
{
    struct cluster_set set = {0};
    assert_false(cluster_set_has(&set, 0));
    cluster_set_remove(&set, 7);
    assert_true(cluster_set_add(&set, 0));
    assert_true(cluster_set_has(&set, 0));
    assert_false(cluster_set_add(&set, 0));
    free(set.slots);
}

/* --- the cache --- */

#define PAGE  512
#define PAGES 8

struct caching {
    struct cache cache;
    struct file *file;
    struct write_log log;
    unsigned cleaned;
};

static int clean(void *opaque)
{
    struct caching *caching = opaque;
    caching->cleaned++;
    return cache_write_back(&caching->cache);
}

static int setup(void **state)
{
    struct caching *caching = calloc(1, sizeof(*caching));
    static const uint8_t zeroes[PAGE * 64];
    caching->file = memory_file_create(zeroes, sizeof(zeroes), &caching->log);
    *state = caching;
    return cache_create(&caching->cache, caching->file, PAGE, PAGES, clean, caching);
}

static int teardown(void **state)
{
    struct caching *caching = *state;
    cache_destroy(&caching->cache);
    file_close(caching->file);
    write_log_free(&caching->log);
    free(caching);
    return 0;
}

static void change(struct caching *caching, uint64_t offset, uint8_t value)
{
    uint8_t *bytes;
    assert_int_equal(cache_change(&caching->cache, offset, &bytes), 0);
    *bytes = value;
}

static uint8_t load(struct caching *caching, uint64_t offset)
{
    uint8_t *bytes;
    assert_int_equal(cache_load(&caching->cache, offset, &bytes), 0);
    return *bytes;
}

static void test_changes_reach_the_file_when_told(void **state)
{
    struct caching *caching = *state;
    uint8_t byte;
    change(caching, 3 * PAGE + 17, 5);
    assert_int_equal(caching->log.count, 0);
    assert_int_equal(load(caching, 3 * PAGE + 17), 5);
    assert_int_equal(cache_write_back(&caching->cache), 0);
    assert_int_equal(caching->log.count, 1);
    assert_int_equal(file_read(caching->file, 3 * PAGE + 17, &byte, 1), 0);
    assert_int_equal(byte, 5);
    assert_int_equal(cache_write_back(&caching->cache), 0);
    assert_int_equal(caching->log.count, 1); /* clean by then */
}

/* However many pages are changed, no more than fit are kept, and none is lost. */
static void test_cache_is_bounded(void **state)
{
    struct caching *caching = *state;
    for (unsigned i = 0; i < 64; i++)
        change(caching, i * PAGE, (uint8_t)(i + 1));
    assert_true(caching->cleaned > 0);
    assert_true(caching->cache.dirty_count <= PAGES);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(load(caching, i * PAGE), i + 1);
}

static void test_what_is_used_stays(void **state)
{
    struct caching *caching = *state;
    load(caching, 0);
    for (unsigned i = 1; i < 64; i++) {
        load(caching, i * PAGE);
        assert_non_null(cache_peek(&caching->cache, 0));
    }
    assert_null(cache_peek(&caching->cache, PAGE));
}

static void test_forgotten_changes_are_not_written(void **state)
{
    struct caching *caching = *state;
    change(caching, 5 * PAGE, 9);
    change(caching, 6 * PAGE, 9);
    cache_forget(&caching->cache, 4 * PAGE, 2 * PAGE);
    assert_int_equal(caching->cache.dirty_count, 1);
    assert_int_equal(load(caching, 5 * PAGE), 0);
    assert_int_equal(load(caching, 6 * PAGE), 9);
}

static void test_failed_write_stays_dirty(void **state)
{
    struct caching *caching = *state;
    change(caching, PAGE, 1);
    caching->log.fail_at = 1;
    assert_int_equal(cache_write_back(&caching->cache), -EIO);
    assert_int_equal(caching->cache.dirty_count, 1);
    assert_int_equal(cache_write_back(&caching->cache), 0);
    assert_int_equal(caching->cache.dirty_count, 0);
}

/* --- compressed entries --- */

/* Clusters of 64 KiB: 54 bits of offset, then the sectors beyond the first. */
static void test_clusters_of_a_compressed_entry(void **state)
{
    static const struct {
        uint64_t offset, sectors, first, count;
    } cases[] = {
        {0x50000, 0, 5, 1},   {0x5fe00, 0, 5, 1},
        {0x5fe00, 1, 5, 2},   {0x5fe01, 1, 5, 2}, /* the length counts from the sector's start */
        {0x50000, 127, 5, 1}, {0x50001, 128, 5, 2},
    };
    const struct qcow2 qcow2 = {.cluster_bits = 16, .cluster_size = 65536};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t entry = ENTRY_COMPRESSED | cases[i].sectors << 54 | cases[i].offset;
        struct cluster_range range = compressed_clusters(&qcow2, entry);
        assert_int_equal(range.first, cases[i].first);
        assert_int_equal(range.count, cases[i].count);
    }
}

#define CACHE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_against_an_array),
        cmocka_unit_test(test_empty_set),
        CACHE_TEST(test_changes_reach_the_file_when_told),
        CACHE_TEST(test_cache_is_bounded),
        CACHE_TEST(test_what_is_used_stays),
        CACHE_TEST(test_forgotten_changes_are_not_written),
        CACHE_TEST(test_failed_write_stays_dirty),
        cmocka_unit_test(test_clusters_of_a_compressed_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
