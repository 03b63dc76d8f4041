/* SPDX-License-Identifier: Apache-2.0 */
/* Which accesses share a look-up. */
#include "cpu/translate/window.h"

#include "cpu/bare.h"
#include "cpu/control.h"

struct planned {
    struct scan *scan;
    struct window_plan plan;
};

static struct planned plan(const uint8_t *bytes, size_t size)
{
    const struct cpu_model *model = cpu_model_find(CPU_MODEL_DEFAULT);
    struct planned planned = {.scan = scan_create(model)};
    assert_non_null(planned.scan);
    memcpy(planned.scan->bytes, bytes, size);
    assert_true(scan_run(planned.scan, model, CODE_MODE_LONG | CODE_MODE_FLAT, 0, PAGE_SIZE,
                         SCAN_INSTRUCTIONS_MAX));
    window_plan(&planned.plan, planned.scan);
    return planned;
}

#define PLAN(...) \
    plan((const uint8_t[]){__VA_ARGS__, 0xf4}, sizeof((const uint8_t[]){__VA_ARGS__, 0}))

static const struct window_reach *reach(const struct planned *planned, unsigned index,
                                        enum window_access kind)
{
    return &planned->plan.reaches[index][kind];
}

static void fields_of_one_structure_share(void **state)
{
    (void)state;
    struct planned planned = PLAN(0x48, 0x8b, 0x43, 0x08,  /* mov rax, [rbx+8] */
                                  0x48, 0x8b, 0x0e,        /* mov rcx, [rsi] */
                                  0x48, 0x89, 0x43, 0x18); /* mov [rbx+24], rax */
    assert_int_equal(planned.plan.count, 1);
    assert_int_equal(planned.plan.windows[0].size, 24);
    assert_true(planned.plan.windows[0].writes);
    assert_true(planned.plan.windows[0].kept);
    assert_true(reach(&planned, 0, WINDOW_OPERAND)->first);
    assert_int_equal(reach(&planned, 1, WINDOW_OPERAND)->window, -1);
    assert_true(reach(&planned, 2, WINDOW_OPERAND)->reload);
    scan_destroy(planned.scan);
}

static void a_changed_base_is_another_window(void **state)
{
    (void)state;
    struct planned planned = PLAN(0x48, 0x8b, 0x03,        /* mov rax, [rbx] */
                                  0x48, 0x8b, 0x1b,        /* mov rbx, [rbx] */
                                  0x48, 0x8b, 0x4b, 0x08); /* mov rcx, [rbx+8] */
    assert_int_equal(planned.plan.count, 1);
    assert_int_equal(reach(&planned, 1, WINDOW_OPERAND)->window, 0);
    assert_int_equal(reach(&planned, 2, WINDOW_OPERAND)->window, -1);
    scan_destroy(planned.scan);
}

static void stack_and_frame_pointer_are_followed(void **state)
{
    (void)state;
    struct planned planned = PLAN(0x55,                   /* push rbp */
                                  0x48, 0x89, 0xe5,       /* mov rbp, rsp */
                                  0x53,                   /* push rbx */
                                  0x48, 0x83, 0xec, 0x10, /* sub rsp, 16 */
                                  0x48, 0x8b, 0x45, 0x10, /* mov rax, [rbp+16] */
                                  0xc9, 0xc3);            /* leave; ret */
    assert_int_equal(planned.plan.count, 1);
    assert_int_equal(planned.plan.windows[0].size, 32);
    assert_int_equal(reach(&planned, 0, WINDOW_STACK)->place, -8);
    assert_int_equal(reach(&planned, 2, WINDOW_STACK)->place, -16);
    assert_int_equal(reach(&planned, 4, WINDOW_OPERAND)->place, 8);
    assert_int_equal(reach(&planned, 5, WINDOW_STACK)->place, -8);
    assert_int_equal(reach(&planned, 6, WINDOW_STACK)->place, 0);
    scan_destroy(planned.scan);
}

static void handlers_end_windows(void **state)
{
    (void)state;
    struct planned planned = PLAN(0x48, 0x8b, 0x03, /* mov rax, [rbx] */
                                  0x0f, 0xa2,       /* cpuid */
                                  0x48, 0x8b, 0x03);
    assert_int_equal(planned.plan.count, 0);
    scan_destroy(planned.scan);
}

static void far_fields_do_not_share(void **state)
{
    (void)state;
    struct planned planned = PLAN(0x48, 0x8b, 0x03,                          /* mov rax, [rbx] */
                                  0x48, 0x8b, 0x83, 0x00, 0x08, 0x00, 0x00); /* [rbx+2048] */
    assert_int_equal(planned.plan.count, 0);
    scan_destroy(planned.scan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_one_structure_share),
        cmocka_unit_test(a_changed_base_is_another_window),
        cmocka_unit_test(stack_and_frame_pointer_are_followed),
        cmocka_unit_test(handlers_end_windows),
        cmocka_unit_test(far_fields_do_not_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
