/* SPDX-License-Identifier: Apache-2.0 */
/* What must be equal after a case, and the words for what is not. */
#include "differential/catalogue.h"

#include <stdio.h>

#define FXSAVE_USED 416 /* bytes of the image that hold registers */

uint64_t features_of(cpuid_function query, const void *opaque)
{
    enum { EAX, EBX, ECX, EDX };
    static const struct {
        enum feature feature;
        uint32_t leaf;
        unsigned word;
        uint32_t bits; /* all of them */
    } places[] = {
        {FEATURE_AVX, 1, ECX, BIT(28) | BIT(27)}, /* and OSXSAVE, see below */
        {FEATURE_F16C, 1, ECX, BIT(29)},
        {FEATURE_FMA, 1, ECX, BIT(12)},
        {FEATURE_AVX2, 7, EBX, BIT(5)},
        {FEATURE_BMI1, 7, EBX, BIT(3)},
        {FEATURE_BMI2, 7, EBX, BIT(8)},
        {FEATURE_LZCNT, 0x80000001, ECX, BIT(5)},
        {FEATURE_ADX, 7, EBX, BIT(19)},
        {FEATURE_SHA, 7, EBX, BIT(29)},
        {FEATURE_GFNI, 7, ECX, BIT(8)},
        {FEATURE_VAES, 7, ECX, BIT(9)},
        {FEATURE_VPCLMULQDQ, 7, ECX, BIT(10)},
        {FEATURE_AVX512, 7, EBX, BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31)},
        {FEATURE_AVX512_LATER, 7, ECX,
         BIT(1) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14)},
    };
    uint64_t features = BIT(FEATURE_NONE);
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        /* OSXSAVE mirrors CR4, which a machine sets only when it runs. */
        uint32_t bits = places[i].bits & ~(places[i].leaf == 1 ? (uint32_t)BIT(27) : 0);
        if ((query(opaque, places[i].leaf, 0).words[places[i].word] & bits) == bits)
            features |= BIT(places[i].feature);
    }
    return features;
}

static uint64_t undefined_by_shift(const struct test_case *test, uint64_t undefined,
                                   const struct machine_state *before)
{
    uint64_t count = test->shift_by_cl ? before->registers[GPR_RCX] : test->shift_count;
    count &= test->shift_bits == 64 ? 63 : 31;
    if (!count)
        return 0;
    uint64_t defined = count == 1 ? RFLAGS_OF : 0;
    if (count < test->shift_bits)
        defined |= RFLAGS_CF;
    return undefined & ~defined;
}

/* The flags that the manuals leave open where the case ended. */
static uint64_t undefined_flags(const struct test_case *test, const struct machine_state *before,
                                const struct machine_state *native)
{
    uint64_t start = before->rip, offset = native->rip - start, undefined = 0;
    if (native->vector == VECTOR_BP)
        offset--; /* INT3 has run */
    for (unsigned i = 0; i < test->boundary_count; i++) {
        undefined = test->boundaries[i].undefined;
        if (test->boundaries[i].offset == offset)
            break;
    }
    if (undefined && test->shift_bits && !test->sequence)
        return undefined_by_shift(test, undefined, before);
    return undefined;
}

/* RF is set by faults, as the vendors' manuals tell it differently. */
static uint64_t compared_flags(const struct test_case *test, const struct machine_state *before,
                               const struct machine_state *native)
{
    return RFLAGS_DEFINED & ~RFLAGS_RF & ~undefined_flags(test, before, native);
}

static uint64_t compared_bits(const struct test_case *test, const struct machine_state *native,
                              unsigned number)
{
    bool left = native->selectors[SEG_CS] != SELECTOR_CODE64; /* RSP's upper half means nothing */
    if (test->mode == MODE_64)
        return left && number == GPR_RSP ? 0xffffffff : ~UINT64_C(0);
    if (number >= 8)
        return 0;
    return test->mode == MODE_16 && number == GPR_RSP ? 0xffff : 0xffffffff;
}

/* The parts of FXSAVE's image that mean something: not the last instruction's FOP, FIP and FDP,
 * which processors keep or not, nor the reserved parts. */
static bool vector_byte_compared(unsigned offset)
{
    if (offset < 160)
        return offset < 5 || (offset >= 24 && offset < 28) || (offset >= 32 && offset % 16 < 10);
    return offset < FXSAVE_USED;
}

/*
 * Whether a tiny or huge result would have been inexact too, if exponents had no end, no engine
 * finds out: PE is open when an unmasked underflow or overflow faults. So are all flags of an
 * instruction that faults between its steps.
 */
static uint32_t open_mxcsr_bits(const struct test_case *test, const struct vectors *native)
{
    uint32_t mxcsr = (uint32_t)load_le(native->fxsave + 24, 4);
    uint32_t unmasked = mxcsr & 0x3f & ~(mxcsr >> 7);
    return test->chained && unmasked ? 0x3f : unmasked & 0x18 ? 0x20 : 0;
}

static bool vectors_equal(const struct test_case *test, const struct vectors *native,
                          const struct vectors *engine)
{
    for (unsigned i = 0; i < 160; i++)
        if (vector_byte_compared(i) && native->fxsave[i] != engine->fxsave[i] &&
            (i != 24 || (native->fxsave[i] ^ engine->fxsave[i]) & ~open_mxcsr_bits(test, native)))
            return false;
    if (memcmp(native->fxsave + 160, engine->fxsave + 160, test->mode == MODE_64 ? 256 : 128))
        return false;
    if (test->feature == FEATURE_NONE)
        return true;
    return !memcmp(native->ymm_high, engine->ymm_high, sizeof(native->ymm_high)) &&
           !memcmp(native->opmask, engine->opmask, sizeof(native->opmask)) &&
           !memcmp(native->zmm_high, engine->zmm_high, sizeof(native->zmm_high)) &&
           !memcmp(native->zmm_16_31, engine->zmm_16_31, sizeof(native->zmm_16_31));
}

static bool has_error_code(unsigned vector)
{
    return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) ||
           vector == VECTOR_AC;
}

/* Linux hides from user mode whether a page of the kernel's half is present. And of two pages that
 * fault, one is present. */
static uint32_t open_error_bits(const struct test_case *test, const struct machine_state *native)
{
    const uint64_t user_end = UINT64_C(0x7ffffffff000); /* TASK_SIZE_MAX */
    bool open = native->fault_address >= user_end || test->many_accesses;
    return native->vector == VECTOR_PF && open ? PAGE_FAULT_PRESENT : 0;
}

/* On the way to the signal, Linux's IRET clears the RPL of null selectors. */
static bool selectors_equal(const uint16_t *native, const uint16_t *engine)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (native[i] != engine[i] && (native[i] > 3 || engine[i] > 3))
            return false;
    return true;
}

static bool ends_equal(const struct test_case *test, const struct machine_state *native,
                       const struct machine_state *engine)
{
    if (native->vector != engine->vector || native->rip != engine->rip ||
        !selectors_equal(native->selectors, engine->selectors))
        return false;
    if (has_error_code(native->vector) &&
        (native->error_code ^ engine->error_code) & ~open_error_bits(test, native))
        return false;
    return native->vector != VECTOR_PF || test->many_accesses ||
           native->fault_address == engine->fault_address;
}

bool states_equal(const struct test_case *test, const struct machine_state *before,
                  const struct machine_state *native, const struct machine_state *engine)
{
    for (unsigned i = 0; i < 16; i++)
        if ((native->registers[i] ^ engine->registers[i]) & compared_bits(test, native, i))
            return false;
    return ends_equal(test, native, engine) &&
           !((native->rflags ^ engine->rflags) & compared_flags(test, before, native) &
             ~engine->open_flags) &&
           vectors_equal(test, &native->vectors, &engine->vectors) &&
           !memcmp(native->scratch, engine->scratch, SCRATCH_SIZE) &&
           !memcmp(native->tail, engine->tail, TAIL_SIZE);
}

static void report_encoding(const struct test_case *test, unsigned offset, unsigned length)
{
    uint64_t base = test->mode == MODE_16 ? CODE_ADDRESS : 0;
    printf("  %llx: ", (unsigned long long)(test->address + offset - base));
    for (unsigned i = 0; i < length; i++)
        printf("%02x", test->code[offset + i]);
}

void report_code(const struct test_case *test)
{
    ZydisDecoder decoder = decoder_of(test->mode);
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    for (unsigned offset = 0; offset < test->length;) {
        ZydisDecodedInstruction instruction;
        ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
        char text[128];
        uint64_t address =
            test->address + offset - (test->mode == MODE_16 ? CODE_ADDRESS : UINT64_C(0));
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, test->code + offset,
                                                 test->length - offset, &instruction, operands))) {
            report_encoding(test, offset, test->length - offset);
            printf(" which Zydis does not know\n");
            break;
        }
        ZydisFormatterFormatInstruction(&formatter, &instruction, operands,
                                        instruction.operand_count_visible, text, sizeof(text),
                                        address, NULL);
        report_encoding(test, offset, instruction.length);
        printf("%*s%s\n", 32 - 2 * instruction.length, " ", text);
        offset += instruction.length;
    }
}

static void report_end(const struct machine_state *native, const struct machine_state *engine)
{
    printf("    host: vector %u error %x cr2 %llx at %x:%llx; engine: vector %u error %x cr2 %llx "
           "at %x:%llx\n",
           native->vector, native->error_code, (unsigned long long)native->fault_address,
           native->selectors[SEG_CS], (unsigned long long)native->rip, engine->vector,
           engine->error_code, (unsigned long long)engine->fault_address, engine->selectors[SEG_CS],
           (unsigned long long)engine->rip);
}

static void report_bytes(const char *name, const uint8_t *before, const uint8_t *native,
                         const uint8_t *engine, unsigned size)
{
    for (unsigned i = 0, shown = 0; i < size && shown < 4; i++) {
        if (native[i] == engine[i])
            continue;
        unsigned start = i & ~7u;
        printf("    %s+%u: before %016llx, host %016llx, engine %016llx\n", name, start,
               (unsigned long long)load_le(before + start, 8),
               (unsigned long long)load_le(native + start, 8),
               (unsigned long long)load_le(engine + start, 8));
        i = start + 7;
        shown++;
    }
}

void report_difference(const struct test_case *test, const struct machine_state *before,
                       const struct machine_state *native, const struct machine_state *engine)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    report_end(native, engine);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (native->selectors[i] != engine->selectors[i])
            printf("    segment %u: before %04x, host %04x, engine %04x\n", i, before->selectors[i],
                   native->selectors[i], engine->selectors[i]);
    for (unsigned i = 0; i < 16; i++)
        if ((native->registers[i] ^ engine->registers[i]) & compared_bits(test, native, i))
            printf("    %s: before %016llx, host %016llx, engine %016llx\n", names[i],
                   (unsigned long long)before->registers[i],
                   (unsigned long long)native->registers[i],
                   (unsigned long long)engine->registers[i]);
    if ((native->rflags ^ engine->rflags) & compared_flags(test, before, native) &
        ~engine->open_flags)
        printf("    rflags: before %06llx, host %06llx, engine %06llx, compared %06llx\n",
               (unsigned long long)before->rflags, (unsigned long long)native->rflags,
               (unsigned long long)engine->rflags,
               (unsigned long long)compared_flags(test, before, native));
    const struct vectors *a = &before->vectors, *b = &native->vectors, *c = &engine->vectors;
    if (!vectors_equal(test, b, c)) {
        printf("    fcw %04x mxcsr %08x\n", (unsigned)load_le(a->fxsave, 2),
               (unsigned)load_le(a->fxsave + 24, 4));
        for (unsigned i = 0; i < FXSAVE_USED; i += 8)
            if (i != 8 && i != 16)
                report_bytes(i < 32    ? "x87"
                             : i < 160 ? "st"
                                       : "xmm",
                             a->fxsave + i, b->fxsave + i, c->fxsave + i, 8);
        report_bytes("ymm", a->ymm_high, b->ymm_high, c->ymm_high, sizeof(a->ymm_high));
        report_bytes("k", a->opmask, b->opmask, c->opmask, sizeof(a->opmask));
        report_bytes("zmm", a->zmm_high, b->zmm_high, c->zmm_high, sizeof(a->zmm_high));
        report_bytes("zmm16", a->zmm_16_31, b->zmm_16_31, c->zmm_16_31, sizeof(a->zmm_16_31));
    }
    report_bytes("scratch", before->scratch, native->scratch, engine->scratch, SCRATCH_SIZE);
    report_bytes("tail", before->tail, native->tail, engine->tail, TAIL_SIZE);
}
