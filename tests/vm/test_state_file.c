/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a machine's state: what was written is read, and everything else is refused. */
#include "vm/state_file.h"

#include "base/bits.h"
#include "memory/image.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADER   32 /* bytes */
#define CHECKSUM 24 /* offset */

struct thing {
    uint32_t number;
    uint8_t bytes[5];
};
static const struct state_field fields[] = {
    STATE_FIELD(struct thing, number),
    STATE_BLOB(struct thing, bytes),
};
static const struct state_table table = STATE_TABLE("thing", 3, fields);

static void add(struct state_file *file, const char *name, uint32_t number)
{
    const struct thing thing = {number, {1, 2, 3, 4, 5}};
    uint8_t *bytes = state_file_add(file, name, &table);
    assert_non_null(bytes);
    state_save(&table, &thing, bytes);
}

/* Two sections, sealed. */
static struct state_file make(void)
{
    struct state_file file = {0};
    add(&file, "first", 1);
    add(&file, "second", 2);
    state_file_seal(&file);
    return file;
}

static int read_bytes(struct state_file *file, const uint8_t *bytes, size_t length,
                      struct error *error)
{
    int fd = memfd_create("state", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, length), length);
    *error = (struct error){0};
    int result = state_file_read(file, fd, error);
    close(fd);
    return result;
}

static void expect_refused(const uint8_t *bytes, size_t length, const char *why)
{
    struct state_file file;
    struct error error;
    assert_int_equal(read_bytes(&file, bytes, length, &error), -EINVAL);
    if (!strstr(error.message, why))
        fail_msg("\"%s\" does not say \"%s\"", error.message, why);
    state_file_free(&file);
}

static void test_read_what_was_written(void **state)
{
    struct state_file written = make(), file;
    struct error error;
    struct thing thing;
    assert_int_equal(read_bytes(&file, written.bytes, written.length, &error), 0);
    assert_string_equal(state_file_left_over(&file), "first");
    const struct state_section *section = state_file_take(&file, "second");
    assert_non_null(section);
    assert_int_equal(state_load(&table, section->version, &thing, file.bytes + section->offset,
                                section->length, &error),
                     0);
    assert_int_equal(thing.number, 2);
    assert_null(state_file_take(&file, "second"));
    assert_non_null(state_file_take(&file, "first"));
    assert_null(state_file_take(&file, "third"));
    assert_null(state_file_left_over(&file));
    state_file_free(&file);
    state_file_free(&written);
}

static void test_every_damaged_bit_is_found(void **state)
{
    struct state_file file = make();
    for (size_t bit = 0; bit < file.length * 8; bit++) {
        file.bytes[bit / 8] ^= (uint8_t)BIT(bit % 8);
        expect_refused(file.bytes, file.length, "");
        file.bytes[bit / 8] ^= (uint8_t)BIT(bit % 8);
    }
    state_file_free(&file);
}

static void test_every_length_is_refused(void **state)
{
    struct state_file file = make();
    expect_refused(file.bytes, 0, "never finished");
    expect_refused(file.bytes, HEADER - 1, "is no state");
    for (size_t length = HEADER; length < file.length; length++)
        expect_refused(file.bytes, length, "was cut off");
    state_file_free(&file);
}

/* A value in the header, with the checksum that belongs to it. */
static void expect_header_refused(size_t offset, uint64_t value, unsigned size, const char *why)
{
    struct state_file file = make();
    unsigned count = file.section_count;
    store_le(file.bytes + offset, value, size);
    uint8_t *changed = malloc(file.length);
    memcpy(changed, file.bytes, file.length);
    /* Sealing writes the header anew: only what follows it keeps the change. */
    if (offset >= HEADER) {
        state_file_seal(&file);
        memcpy(changed, file.bytes, file.length);
    } else if (offset == 12) {
        file.section_count = (unsigned)value;
        state_file_seal(&file);
        memcpy(changed, file.bytes, file.length);
        file.section_count = count;
    }
    expect_refused(changed, file.length, why);
    free(changed);
    state_file_free(&file);
}

static void test_lies_with_a_right_checksum(void **state)
{
    expect_header_refused(8, 2, 4, "has format 2");
    expect_header_refused(12, 3, 4, "3 sections do not fit");
    expect_header_refused(12, 1, 4, "something follows");
    expect_header_refused(12, 0xffffffff, 4, "sections do not fit");
    /* Lengths of the first section. */
    expect_header_refused(HEADER + 36, 0xffffffff, 4, "section 0 does not fit");
    expect_header_refused(HEADER + 36, 8, 4, "");
}

/* RAM in a file: holes where it is zero, and a checksum of all of it. */
static void test_memory_image(void **state)
{
    struct error error;
    struct memory *memory = memory_create(MIB(4), &error), *copy;
    uint32_t checksum;
    int fd = memfd_create("image", MFD_CLOEXEC);
    assert_non_null(memory);
    assert_int_equal(memory_write(memory, 0x1234, "here", 5), 0);
    assert_int_equal(memory_write(memory, MIB(3), "there", 6), 0);
    assert_int_equal(memory_write_image(memory, fd, &checksum), 0);
    assert_int_equal(lseek(fd, 0, SEEK_END), MIB(4));
    assert_in_range(lseek(fd, KIB(64), SEEK_DATA), KIB(64), MIB(3));
    copy = memory_open_image(fd, MIB(4), &error);
    assert_non_null(copy);
    assert_int_equal(memory_checksum(copy), checksum);
    assert_memory_equal(copy->base, memory->base, MIB(4));
    /* A write stays with who made it. */
    assert_int_equal(memory_write(copy, 0x1234, "mine", 5), 0);
    assert_int_not_equal(memory_checksum(copy), checksum);
    struct memory *other = memory_open_image(fd, MIB(4), &error);
    assert_int_equal(memory_checksum(other), checksum);
    memory_destroy(other);
    memory_destroy(copy);
    memory_destroy(memory);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_what_was_written),
        cmocka_unit_test(test_every_damaged_bit_is_found),
        cmocka_unit_test(test_every_length_is_refused),
        cmocka_unit_test(test_lies_with_a_right_checksum),
        cmocka_unit_test(test_memory_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
