/* SPDX-License-Identifier: Apache-2.0 */
/* State tables: what is saved comes back, and nothing else gets in. */
#include "base/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct inner {
    uint16_t number;
    bool flags[3];
};

struct outer {
    uint64_t wide;
    bool flag;
    struct inner inners[2];
    uint32_t not_saved;
    uint8_t blob[5];
    uint8_t *elsewhere; /* 3 bytes */
};

static const struct state_field inner_fields[] = {
    STATE_FIELD(struct inner, number),
    STATE_ARRAY(struct inner, flags),
};
static const struct state_table inner_state = STATE_TABLE("inner", 1, inner_fields);
static const struct state_field outer_fields[] = {
    STATE_FIELD(struct outer, wide),
    STATE_FIELD(struct outer, flag),
    STATE_STRUCT_ARRAY(struct outer, inners, &inner_state),
    STATE_BLOB(struct outer, blob),
    STATE_POINTED(struct outer, elsewhere, 3),
};
static const struct state_table outer_state = STATE_TABLE("outer", 3, outer_fields);

enum { SIZE = 8 + 1 + 2 * (2 + 3) + 5 + 3 };

static void test_round_trip(void **state)
{
    struct outer object = {
        .wide = UINT64_C(0x1122334455667788),
        .flag = true,
        .inners = {{0x1234, {true, false, true}}, {0x5678, {false, true, false}}},
        .not_saved = 7,
        .blob = {1, 2, 3, 4, 5},
        .elsewhere = (uint8_t[]){6, 7, 8},
    };
    uint8_t elsewhere[3];
    struct outer other = {.not_saved = 9, .elsewhere = elsewhere};
    struct error error;
    uint8_t buffer[SIZE];
    assert_int_equal(state_size(&outer_state), SIZE);
    state_save(&outer_state, &object, buffer);
    assert_int_equal(buffer[0], 0x88); /* little-endian, in the order of the table */
    assert_int_equal(state_load(&outer_state, 3, &other, buffer, SIZE, &error), 0);
    assert_int_equal(other.wide, object.wide);
    assert_true(other.flag && other.inners[0].flags[2] && !other.inners[0].flags[1]);
    assert_int_equal(other.inners[1].number, 0x5678);
    assert_memory_equal(other.blob, object.blob, sizeof(object.blob));
    assert_ptr_equal(other.elsewhere, elsewhere);
    assert_memory_equal(elsewhere, object.elsewhere, sizeof(elsewhere));
    assert_int_equal(other.not_saved, 9);
}

/* A bool that holds 188 is true and not true at once, as the compiler pleases. */
static void test_bools_are_0_or_1(void **state)
{
    uint8_t elsewhere[3];
    struct outer object = {.elsewhere = elsewhere};
    struct error error;
    uint8_t buffer[SIZE], raw;
    memset(buffer, 188, sizeof(buffer));
    assert_int_equal(state_load(&outer_state, 3, &object, buffer, SIZE, &error), 0);
    memcpy(&raw, &object.flag, 1);
    assert_int_equal(raw, 1);
    memcpy(&raw, &object.inners[1].flags[2], 1);
    assert_int_equal(raw, 1);
}

static void test_wrong_length_or_version(void **state)
{
    struct outer object = {.wide = 5};
    struct error error;
    uint8_t buffer[SIZE + 1] = {0};
    assert_int_equal(state_load(&outer_state, 3, &object, buffer, SIZE - 1, &error), -EINVAL);
    assert_int_equal(state_load(&outer_state, 3, &object, buffer, SIZE + 1, &error), -EINVAL);
    assert_int_equal(state_load(&outer_state, 2, &object, buffer, SIZE, &error), -EINVAL);
    assert_int_equal(state_load(&outer_state, 4, &object, buffer, SIZE, &error), -EINVAL);
    assert_int_equal(object.wide, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bools_are_0_or_1),
        cmocka_unit_test(test_wrong_length_or_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
