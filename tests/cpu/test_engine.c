/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing engines, and all of them on one vcpu taking turns. */
#include "bare.h"

#include "cpu/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVERY 3
#define TURNS 100

static void test_choice_by_name(void **state)
{
    struct error error = {0};
    assert_non_null(engine_choose(NULL, &error));
    assert_ptr_equal(engine_choose("auto", &error), engine_choose(NULL, &error));
    assert_ptr_equal(engine_choose("interpret", &error), &engine_interpret);
    assert_null(engine_choose("steam", &error));
    assert_int_equal(error.code, EINVAL);
}

/* Engines keep their state at a place of their own. */
static void test_places_differ(void **state)
{
    for (unsigned i = 0; engines[i]; i++) {
        assert_true((unsigned)engines[i]->index < ENGINE_COUNT);
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(engines[i]->index, engines[j]->index);
    }
}

/* All engines that this host can run, EVERY instructions each. */
static void attach_all(struct bare *bare, const struct engine_options *options)
{
    struct error error = {0};
    bare->group.engine_options = options;
    const struct engine_ops *first = engine_choose(NULL, &error);
    assert_int_equal(engine_attach_configured(bare->vcpu, first, &error), 0);
    assert_ptr_equal(bare->vcpu->engine, first);
}

static unsigned usable_engines(void)
{
    unsigned count = 0;
    for (unsigned i = 0; engines[i]; i++)
        count += engine_choose(engines[i]->name, NULL) != NULL;
    return count;
}

static void put_code(struct bare *bare, const uint8_t *code, size_t size)
{
    assert_int_equal(memory_write(bare->memory, CODE, code, size), 0);
    bare->vcpu->rip = CODE;
}

/* Each turn ends exactly where the budget says, and every engine gets one. */
static void test_turns_are_exact(void **state)
{
    static const uint8_t loop[] = {0xff, 0xc0,  /* inc eax */
                                   0xff, 0xc3,  /* inc ebx */
                                   0x01, 0xc1,  /* add ecx, eax */
                                   0xeb, 0xf8}; /* jmp, to the first */
    struct bare *bare = *state;
    const struct engine_options options = {.code_cache_bytes = CODE_CACHE_DEFAULT,
                                           .switch_every = EVERY};
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    attach_all(bare, &options);
    put_code(bare, loop, sizeof(loop));
    const struct engine_ops *first = vcpu->engine;
    unsigned until_first_again = 0;
    for (unsigned i = 1; i <= TURNS; i++) {
        assert_int_equal(vcpu->engine->run(vcpu), VCPU_EXIT_SWITCH);
        assert_int_equal(vcpu->instruction_count, i * EVERY);
        assert_int_equal(vcpu->registers[GPR_RAX], (i * EVERY + 3) / 4);
        assert_int_equal(vcpu->registers[GPR_RBX], (i * EVERY + 2) / 4);
        engine_switch(vcpu);
        if (vcpu->engine == first && !until_first_again)
            until_first_again = i;
    }
    assert_int_equal(until_first_again, usable_engines());
}

/* Code that one engine changes is changed for all: what another has cached of it must go. */
static void test_changed_code_is_seen_by_all(void **state)
{
    /* Adds the immediate at CODE+1 to ebx and raises it by one; ten times. */
    static const uint8_t loop[] = {0x83, 0xc3, 0x00,                   /* add ebx, 0 */
                                   0xfe, 0x05, 0x02, 0x60, 0x00, 0x00, /* inc byte [CODE+2] */
                                   0xff, 0xc9,                         /* dec ecx */
                                   0x75, 0xf3,                         /* jnz, to the first */
                                   0xf4};                              /* hlt */
    struct bare *bare = *state;
    const struct engine_options options = {.code_cache_bytes = CODE_CACHE_DEFAULT,
                                           .switch_every = EVERY};
    struct vcpu *vcpu = bare->vcpu;
    enum vcpu_exit exit;
    bare_enter_protected(bare);
    attach_all(bare, &options);
    put_code(bare, loop, sizeof(loop));
    vcpu->registers[GPR_RCX] = 10;
    while ((exit = vcpu->engine->run(vcpu)) == VCPU_EXIT_SWITCH)
        engine_switch(vcpu);
    assert_int_equal(exit, VCPU_EXIT_HALT);
    assert_int_equal(vcpu->registers[GPR_RBX], 45);
}

static void test_statistics(void **state)
{
    static const uint8_t code[] = {0x90, 0x90, 0xf4};
    struct bare *bare = *state;
    struct error error = {0};
    char *text = NULL;
    size_t size;
    bare_enter_protected(bare);
    assert_int_equal(engine_attach(bare->vcpu, &engine_interpret, &error), 0);
    put_code(bare, code, sizeof(code));
    assert_int_equal(bare->vcpu->engine->run(bare->vcpu), VCPU_EXIT_HALT);
    FILE *stream = open_memstream(&text, &size);
    engine_print_stats(bare->vcpu, stream);
    fclose(stream);
    assert_non_null(strstr(text, "vcpu 0: instructions: 3\n"));
    assert_non_null(strstr(text, "vcpu 0 interpret: blocks decoded: 1\n"));
    free(text);
}

#define BARE_TEST(name) cmocka_unit_test_setup_teardown(name, bare_setup, bare_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice_by_name),
        cmocka_unit_test(test_places_differ),
        BARE_TEST(test_turns_are_exact),
        BARE_TEST(test_changed_code_is_seen_by_all),
        BARE_TEST(test_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
