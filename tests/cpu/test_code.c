/* SPDX-License-Identifier: Apache-2.0 */
/* What instructions do that the host cannot be compared with: faults on the stack, RF, segment
 * overrides with limits. */
#include "code.h"

#include <string.h>

#define NON_CANONICAL UINT64_C(0x0000800000000000)

enum { DATA = 0x20000 };

/* The stack faults as #SS where other addresses give #GP. APM vol. 2 §8.2.13 */
static void test_stack_not_canonical(void **state)
{
    static const struct {
        uint8_t code[4];
        int64_t above; /* of rSP, from the address that is not canonical */
    } cases[] = {
        {{0x50, 0x90, 0x90, 0x90}, 8}, /* push rax */
        {{0x58, 0x90, 0x90, 0x90}, 0}, /* pop rax */
        {{0x66, 0x58, 0x90, 0x90}, 0}, /* pop ax */
        {{0x6a, 0x01, 0x90, 0x90}, 8}, /* push 1 */
        {{0xff, 0x33, 0x90, 0x90}, 8}, /* push [rbx] */
        {{0x8f, 0x03, 0x90, 0x90}, 0}, /* pop [rbx] */
        {{0x9c, 0x90, 0x90, 0x90}, 8}, /* pushf */
        {{0xc3, 0x90, 0x90, 0x90}, 0}, /* ret */
        {{0xff, 0xd3, 0x90, 0x90}, 8}, /* call rbx */
        {{0xe8, 0x00, 0x00, 0x00}, 8}, /* call (its last byte comes from the HLT's place) */
        {{0xc8, 0x00, 0x00, 0x00}, 8}, /* enter 0, 0 */
        {{0x48, 0xcf, 0x90, 0x90}, 0}, /* iretq */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        void *fresh;
        assert_int_equal(code_setup_long(&fresh), 0);
        struct bare *bare = fresh;
        struct vcpu *vcpu = bare->vcpu;
        bare_set_gate(bare, VECTOR_SS, SELECTOR_LONG_CODE, HANDLER + VECTOR_SS * 16,
                      ACCESS_INTERRUPT_GATE, 1); /* a good stack to fault on */
        vcpu->registers[GPR_RBX] = DATA;
        vcpu->registers[GPR_RSP] = NON_CANONICAL + (uint64_t)cases[i].above;
        const uint64_t rsp = vcpu->registers[GPR_RSP];
        assert_int_equal(code_run(bare, cases[i].code, sizeof(cases[i].code)), VECTOR_SS);
        assert_int_equal(code_stack(bare, 0, 8), 0);    /* error code */
        assert_int_equal(code_stack(bare, 1, 8), CODE); /* the instruction is to be restarted */
        assert_int_equal(code_stack(bare, 4, 8), rsp);
        bare_teardown(&fresh);
    }
}

/* RF is for the instruction behind an IRET alone, also when nothing watches for breakpoints. */
static void test_resume_flag(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    const uint64_t frame[] = {CODE + 2, SELECTOR_LONG_CODE, RFLAGS_FIXED | RFLAGS_RF, STACK,
                              SELECTOR_DATA};
    vcpu->registers[GPR_RSP] = STACK - sizeof(frame);
    for (unsigned i = 0; i < ARRAY_SIZE(frame); i++)
        bare_store(bare, STACK - sizeof(frame) + i * 8, frame[i], 8);
    /* iretq; nop; int 0x21 */
    assert_int_equal(CODE_RUN(bare, 0x48, 0xcf, 0x90, 0xcd, 0x21), 0x21);
    assert_int_equal(code_stack(bare, 0, 8), CODE + 5);
    assert_int_equal(code_stack(bare, 2, 8), RFLAGS_FIXED);
}

static void test_xlat_override(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    vcpu->segments[SEG_FS].base = 0x100;
    vcpu_update_mode(vcpu);
    vcpu->registers[GPR_RBX] = DATA;
    vcpu->registers[GPR_RAX] = 2;
    bare_store(bare, DATA + 2, 0x11, 1);
    bare_store(bare, DATA + 0x102, 0x22, 1);
    assert_int_equal(CODE_RUN(bare, 0x64, 0xd7), CODE_END); /* xlat fs:[rbx + al] */
    assert_int_equal(vcpu->registers[GPR_RAX], 0x22);
    vcpu->registers[GPR_RAX] = 2;
    assert_int_equal(CODE_RUN(bare, 0xd7), CODE_END);
    assert_int_equal(vcpu->registers[GPR_RAX], 0x11);
}

/* Beside flat segments one that is overridden keeps its base and its limit. */
static void test_string_override(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    vcpu->segments[SEG_FS].base = DATA;
    vcpu->segments[SEG_FS].limit = 0xff;
    vcpu_update_mode(vcpu);
    assert_true(vcpu->code_mode & CODE_MODE_FLAT);
    bare_store(bare, DATA + 0xff, 0x5a, 1);
    vcpu->registers[GPR_RSI] = 0xff;
    vcpu->registers[GPR_RDI] = DATA + 0x1000;
    assert_int_equal(CODE_RUN(bare, 0x64, 0xa4), CODE_END); /* movsb es:[edi], fs:[esi] */
    assert_int_equal(bare_load(bare, DATA + 0x1000, 1), 0x5a);
    assert_int_equal(vcpu->registers[GPR_RSI], 0x100);
    assert_int_equal(CODE_RUN(bare, 0x64, 0xac), VECTOR_GP); /* lodsb fs:[esi] */
    assert_int_equal(CODE_RUN(bare, 0x64, 0x6e), VECTOR_GP); /* outsb dx, fs:[esi] */
}

/* A comparison and the jump behind it are one handler: it must decide as SETcc does by the flags.
 */
static void test_compare_and_jump(void **state)
{
    static const struct {
        uint8_t bytes[6];
        unsigned size, immediate; /* of the instruction; bytes of an immediate at its end */
    } comparisons[] = {
        {{0x39, 0xc8}, 2, 0},       /* cmp eax, ecx */
        {{0x48, 0x39, 0xc8}, 3, 0}, /* cmp rax, rcx */
        {{0x3d}, 5, 4},             /* cmp eax, imm32 */
        {{0x48, 0x3d}, 6, 4},       /* cmp rax, imm32 */
        {{0x48, 0x83, 0xf8}, 4, 1}, /* cmp rax, imm8 */
        {{0x85, 0xc8}, 2, 0},       /* test eax, ecx */
        {{0x48, 0x85, 0xc8}, 3, 0}, /* test rax, rcx */
        {{0x66, 0x39, 0xc8}, 3, 0}, /* cmp ax, cx */
    };
    static const uint64_t values[] = {
        0, 1, 0x7f, 0x7fffffff, 0x80000000, UINT64_C(0x7fffffffffffffff), BIT(63), ~UINT64_C(0)};
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    for (unsigned i = 0; i < ARRAY_SIZE(comparisons); i++)
        for (unsigned condition = 0; condition < 16; condition++)
            for (unsigned pair = 0; pair < 64; pair++) {
                unsigned size = comparisons[i].size, at = 0;
                uint8_t compare[6], code[32];
                memcpy(compare, comparisons[i].bytes, sizeof(compare));
                store_le(compare + size - comparisons[i].immediate, values[pair % 8],
                         comparisons[i].immediate);
                const uint8_t set[] = {0x0f, (uint8_t)(0x90 | condition), 0xc2, /* setcc dl */
                                       0xb6, 1};                                /* mov dh, 1 */
                const uint8_t jump[] = {(uint8_t)(0x70 | condition), 2,         /* jcc +2 */
                                        0xb6, 0};                               /* mov dh, 0 */
                memcpy(code, compare, size);
                memcpy(code + (at = size), set, sizeof(set));
                memcpy(code + (at += sizeof(set)), compare, size);
                memcpy(code + (at += size), jump, sizeof(jump));
                vcpu->registers[GPR_RAX] = values[pair / 8];
                vcpu->registers[GPR_RCX] = values[pair % 8];
                assert_int_equal(code_run(bare, code, at + sizeof(jump)), CODE_END);
                uint64_t result = vcpu->registers[GPR_RDX];
                if ((result & 0xff) != (result >> 8 & 0xff))
                    print_message("comparison %u, condition %u, pair %u\n", i, condition, pair);
                assert_int_equal(result & 0xff, result >> 8 & 0xff);
            }
}

/* CR0.AM and RFLAGS.AC at level 3: every access must be aligned. APM vol. 2 §8.2.18 */
static void test_alignment_checks(void **state)
{
    static const struct {
        uint8_t code[4];
        unsigned misaligned; /* offset that is refused; 0: none is */
        unsigned aligned;
    } cases[] = {
        {{0x8b, 0x03, 0x90, 0x90}, 2, 4},  /* mov eax, [rbx] */
        {{0x66, 0x8b, 0x03, 0x90}, 1, 2},  /* mov ax, [rbx] */
        {{0x8a, 0x03, 0x90, 0x90}, 0, 1},  /* mov al, [rbx] */
        {{0x48, 0x89, 0x03, 0x90}, 4, 8},  /* mov [rbx], rax */
        {{0x01, 0x03, 0x90, 0x90}, 3, 12}, /* add [rbx], eax */
        {{0xf0, 0x48, 0x01, 0x03}, 4, 16}, /* lock add [rbx], rax */
        {{0xff, 0x33, 0x58, 0x90}, 4, 8},  /* push [rbx]; pop rax */
        {{0x0f, 0xba, 0x23, 0x03}, 1, 4},  /* bt dword [rbx], 3 */
        {{0x48, 0x89, 0xdc, 0x50}, 4, 8},  /* mov rsp, rbx; push rax */
        {{0x48, 0x89, 0xdf, 0xab}, 2, 4},  /* mov rdi, rbx; stosd */
        {{0x0f, 0xb1, 0x03, 0x90}, 2, 4},  /* cmpxchg [rbx], eax */
    };
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned round = 0; round < 4; round++) {
            bool off = round == 2, misaligned = round != 1 && cases[i].misaligned;
            assert_true(control_write_cr0(vcpu, vcpu->cr0 | CR0_AM));
            bare_enter_user(bare);
            control_write_rflags(vcpu, off ? 0 : RFLAGS_AC, RFLAGS_AC);
            assert_int_equal(vcpu->mmu_mode, off ? MMU_USER : MMU_USER_ALIGNED);
            vcpu->registers[GPR_RBX] = DATA + (misaligned ? cases[i].misaligned : cases[i].aligned);
            int expected = misaligned && !off ? VECTOR_AC : CODE_END;
            assert_int_equal(code_run(bare, cases[i].code, 4), expected);
            if (expected == VECTOR_AC)
                assert_int_equal(code_stack(bare, 0, 8), 0);
        }
}

/* A page fault comes before the alignment; levels below 3 are not checked. */
static void test_alignment_priority(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    assert_true(control_write_cr0(vcpu, vcpu->cr0 | CR0_AM));
    control_write_rflags(vcpu, RFLAGS_AC, RFLAGS_AC);
    vcpu->registers[GPR_RBX] = DATA + 1;
    assert_int_equal(CODE_RUN(bare, 0x8b, 0x03), CODE_END);
    bare_enter_user(bare);
    control_write_rflags(vcpu, RFLAGS_AC, RFLAGS_AC);
    vcpu->registers[GPR_RBX] = GIB(8) + 1;
    assert_int_equal(CODE_RUN(bare, 0x8b, 0x03), VECTOR_PF);
    assert_int_equal(vcpu->cr2, GIB(8) + 1);
}

int main(void)
{
#define TEST(name, mode) cmocka_unit_test_setup_teardown(name, code_setup_##mode, bare_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stack_not_canonical),
        TEST(test_resume_flag, long),
        TEST(test_xlat_override, long),
        TEST(test_string_override, protected),
        TEST(test_compare_and_jump, long),
        TEST(test_alignment_checks, long),
        TEST(test_alignment_priority, long),
    };
    return cmocka_run_group_tests_name("code", tests, NULL, NULL);
}
