/* SPDX-License-Identifier: Apache-2.0 */
/* Which host instructions the checker lets pass, alone in a translation made by hand. */
#include "draft.h"

/* What the instruction gets, alone in a translation. */
static enum check_rule alone(void **state, const uint8_t *bytes, unsigned length)
{
    struct draft draft;
    draft_begin(&draft, state);
    draft_put(&draft, bytes, length);
    return draft_finish(&draft);
}

static void instructions_that_compute_pass(void **state)
{
    static const struct instruction_case cases[] = {
        CASE("add rax, rbx", 0x48, 0x01, 0xd8),
        CASE("mov rsp, rax", 0x48, 0x89, 0xc4),
        CASE("lea rax, [rsp+rbx*4+8]", 0x48, 0x8d, 0x44, 0x9c, 0x08),
        CASE("mov rax, imm64", 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8),
        CASE("div rbx", 0x48, 0xf7, 0xf3),
        CASE("lahf", 0x9f),
        CASE("bt eax, ecx", 0x0f, 0xa3, 0xc8),
        CASE("mfence", 0x0f, 0xae, 0xf0),
        CASE("pause", 0xf3, 0x90),
        CASE("andn rax, rcx, rdx", 0xc4, 0xe2, 0xf0, 0xf2, 0xc2),
        CASE("mulx rax, rcx, rdx", 0xc4, 0xe2, 0xf3, 0xf6, 0xc2),
        CASE("tzcnt eax, ecx", 0xf3, 0x0f, 0xbc, 0xc1),
        CASE("adox rax, rcx", 0xf3, 0x48, 0x0f, 0x38, 0xf6, 0xc1),
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        if (alone(state, cases[i].bytes, cases[i].length) != CHECK_ACCEPTED)
            fail_msg("%s is refused", cases[i].name);
}

static void instructions_that_do_more_are_refused(void **state)
{
    static const struct instruction_case cases[] = {
        CASE("syscall", 0x0f, 0x05),
        CASE("sysenter", 0x0f, 0x34),
        CASE("sysret", 0x0f, 0x07),
        CASE("int 0x80", 0xcd, 0x80),
        CASE("int3", 0xcc),
        CASE("int1", 0xf1),
        CASE("ud2", 0x0f, 0x0b),
        CASE("hlt", 0xf4),
        CASE("in al, dx", 0xec),
        CASE("out dx, al", 0xee),
        CASE("ins", 0x6c),
        CASE("iret", 0x48, 0xcf),
        CASE("retf", 0xcb),
        CASE("ret", 0xc3),
        CASE("ret 8", 0xc2, 8, 0),
        CASE("call rel32", 0xe8, 0, 0, 0, 0),
        CASE("call rax", 0xff, 0xd0),
        CASE("jmp rax", 0xff, 0xe0),
        CASE("call far [rax]", 0xff, 0x18),
        CASE("jmp far [rax]", 0xff, 0x28),
        CASE("push rax", 0x50),
        CASE("push imm", 0x6a, 0),
        CASE("pop rax", 0x58),
        CASE("pushf", 0x9c),
        CASE("popf", 0x9d),
        CASE("leave", 0xc9),
        CASE("enter", 0xc8, 0, 0, 0),
        CASE("cld", 0xfc),
        CASE("std", 0xfd),
        CASE("cli", 0xfa),
        CASE("sti", 0xfb),
        CASE("mov ds, eax", 0x8e, 0xd8),
        CASE("mov gs, eax", 0x8e, 0xe8),
        CASE("mov eax, gs", 0x8c, 0xe8),
        CASE("mov cr3, rax", 0x0f, 0x22, 0xd8),
        CASE("mov rax, dr7", 0x0f, 0x21, 0xf8),
        CASE("wrmsr", 0x0f, 0x30),
        CASE("rdmsr", 0x0f, 0x32),
        CASE("rdtsc", 0x0f, 0x31),
        CASE("rdtscp", 0x0f, 0x01, 0xf9),
        CASE("rdpmc", 0x0f, 0x33),
        CASE("cpuid", 0x0f, 0xa2),
        CASE("swapgs", 0x0f, 0x01, 0xf8),
        CASE("wrpkru", 0x0f, 0x01, 0xef),
        CASE("rdpkru", 0x0f, 0x01, 0xee),
        CASE("xgetbv", 0x0f, 0x01, 0xd0),
        CASE("xbegin", 0xc7, 0xf8, 0, 0, 0, 0),
        CASE("wrgsbase rax", 0xf3, 0x48, 0x0f, 0xae, 0xd8),
        CASE("wrfsbase rax", 0xf3, 0x48, 0x0f, 0xae, 0xd0),
        CASE("rdgsbase rax", 0xf3, 0x48, 0x0f, 0xae, 0xc8),
        CASE("rdrand eax", 0x0f, 0xc7, 0xf0),
        CASE("sgdt [r14]", 0x41, 0x0f, 0x01, 0x06),
        CASE("xrstor [r14]", 0x41, 0x0f, 0xae, 0x2e),
        CASE("xsave [r14]", 0x41, 0x0f, 0xae, 0x26),
        CASE("fxsave [r14]", 0x41, 0x0f, 0xae, 0x06),
        CASE("fnstenv [r14]", 0x41, 0xd9, 0x36),
        CASE("ldmxcsr [r14]", 0x41, 0x0f, 0xae, 0x16),
        CASE("clflush [r14]", 0x41, 0x0f, 0xae, 0x3e),
        CASE("movsb", 0xa4),
        CASE("rep stosq", 0xf3, 0x48, 0xab),
        CASE("xlat", 0xd7),
        CASE("maskmovdqu", 0x66, 0x0f, 0xf7, 0xc1),
        CASE("mov al, [moffs]", 0xa0, 0, 0, 0, 0, 0, 0, 0, 0),
        CASE("vaddps ymm0, ymm0, ymm1", 0xc5, 0xfc, 0x58, 0xc1),
        CASE("vldmxcsr [r14]", 0xc4, 0xc1, 0x78, 0xae, 0x16),
        CASE("vmaskmovdqu xmm0, xmm1", 0xc5, 0xf9, 0xf7, 0xc1),
        CASE("vpgatherdd ymm0, [r14+ymm1], ymm2", 0xc4, 0xc2, 0x6d, 0x90, 0x04, 0x0e),
        CASE("vpscatterdd [r14+zmm1]{k1}, zmm0", 0x62, 0xd2, 0x7d, 0x49, 0xa0, 0x04, 0x0e),
        CASE("vphaddbd xmm0, xmm1 (XOP)", 0x8f, 0xe9, 0x78, 0xc2, 0xc1),
        CASE("tilezero tmm0", 0xc4, 0xe2, 0x7b, 0x49, 0xc0),
        CASE("no instruction", 0x06),
        CASE("jmp rel8", 0xeb, 0x00),
        CASE("jz rel8", 0x74, 0x00),
        CASE("loop", 0xe2, 0x00),
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        if (alone(state, cases[i].bytes, cases[i].length) == CHECK_ACCEPTED)
            fail_msg("%s is accepted", cases[i].name);
}

static void memory_anywhere_is_refused(void **state)
{
    static const struct instruction_case cases[] = {
        CASE("mov rax, [r14], not looked up", 0x49, 0x8b, 0x06),
        CASE("mov rax, [rsp]", 0x48, 0x8b, 0x04, 0x24),
        CASE("mov [rsp], rax", 0x48, 0x89, 0x04, 0x24),
        CASE("mov rax, [rdi]", 0x48, 0x8b, 0x07),
        CASE("mov rax, [rax]", 0x48, 0x8b, 0x00),
        CASE("mov rax, [rip+0]", 0x48, 0x8b, 0x05, 0, 0, 0, 0),
        CASE("lea rax, [rip+0]", 0x48, 0x8d, 0x05, 0, 0, 0, 0),
        CASE("mov rax, [0]", 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0),
        CASE("mov rax, gs:[0]", 0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0),
        CASE("mov rax, gs:[rax]", 0x65, 0x48, 0x8b, 0x00),
        CASE("mov r14, gs:[r15]", 0x65, 0x4d, 0x8b, 0x37),
        CASE("mov rax, fs:[0]", 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0),
        CASE("movaps xmm0, [r14]", 0x41, 0x0f, 0x28, 0x06),
        CASE("andn eax, ecx, [rdx]", 0xc4, 0xe2, 0x70, 0xf2, 0x02),
        CASE("andn eax, ecx, [r14]", 0xc4, 0xc2, 0x70, 0xf2, 0x06),
        CASE("shlx eax, [rsp], ecx", 0xc4, 0xe2, 0x71, 0xf7, 0x04, 0x24),
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        if (alone(state, cases[i].bytes, cases[i].length) == CHECK_ACCEPTED)
            fail_msg("%s is accepted", cases[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(instructions_that_compute_pass),
        TEST(instructions_that_do_more_are_refused),
        TEST(memory_anywhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
