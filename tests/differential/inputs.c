/* SPDX-License-Identifier: Apache-2.0 */
/* The registers and memory that a case meets: many edge cases, and what its code needs. */
#include "differential/differential.h"

/* Offsets in the FXSAVE image, APM vol. 2 §11.4.4 */
enum { FCW = 0, FSW = 2, FTW = 4, MXCSR = 24, MXCSR_MASK = 28, ST = 32, XMM = 160, HEADER = 512 };

static uint64_t edge_value(struct random *random)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff,
                                     0x8000,
                                     0xffff,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     UINT64_C(0x7fffffffffffffff),
                                     UINT64_C(0x8000000000000000),
                                     ~UINT64_C(0),
                                     10,
                                     63,
                                     64,
                                     UINT64_C(0x3ff0000000000000), /* 1.0 */
                                     UINT64_C(0x7ff0000000000000), /* infinity */
                                     UINT64_C(0x7ff8000000000001), /* quiet NaN */
                                     UINT64_C(0x7ff0000000000001), /* signalling NaN */
                                     UINT64_C(0x0010000000000000), /* smallest normal */
                                     UINT64_C(0x000fffffffffffff), /* largest denormal */
                                     UINT64_C(0x7fefffffffffffff), /* largest finite */
                                     UINT64_C(0xc1e0000000000000), /* -2^31 */
                                     UINT64_C(0x3f8000007f800000), /* floats */
                                     UINT64_C(0xff8000017fc00000),
                                     UINT64_C(0x007fffff00800000),
                                     UINT64_C(0x4f000000cf000000),
                                     UINT64_C(0x0000000100000001)};
    return one_in(random, 3) ? random_next(random) : edges[pick(random, ARRAY_SIZE(edges))];
}

static void fill(struct random *random, uint8_t *bytes, unsigned size)
{
    for (unsigned i = 0; i < size; i += 8)
        store_le(bytes + i, edge_value(random), 8);
}

/* x87 and MXCSR with any precision, rounding, top and tags; now and then with exceptions unmasked
 * or pending. */
static void generate_fxsave(struct random *random, uint8_t *image)
{
    static const uint16_t exponents[] = {0,      1,      0x3fff, 0x4000, 0x3ffe, 0x7fff,
                                         0xffff, 0xbfff, 0x8000, 0x401e, 0x403e, 0x7ffe};
    uint64_t control = 0x7f | (random_next(random) & 0xf00), status = random_next(random) & 0x7f00;
    uint64_t mxcsr = 0x1f80 | (random_next(random) & 0xe040);
    if (one_in(random, 6))
        control &= ~BIT(pick(random, 6));
    if (one_in(random, 16))
        status |= BIT(pick(random, 6));
    if (status & ~control & 0x3f)
        status |= 0x8080; /* ES and B */
    if (one_in(random, 8))
        mxcsr &= ~(UINT64_C(0x80) << pick(random, 6));
    store_le(image + FCW, control, 2);
    store_le(image + FSW, status, 2);
    image[FTW] = one_in(random, 3) ? (uint8_t)random_next(random) : 0xff;
    store_le(image + MXCSR, mxcsr, 4);
    store_le(image + MXCSR_MASK, 0xffff, 4);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t significand = edge_value(random);
        store_le(image + ST + i * 16, one_in(random, 6) ? significand : significand | BIT(63), 8);
        store_le(image + ST + 8 + i * 16,
                 one_in(random, 4) ? random_next(random)
                                   : exponents[pick(random, ARRAY_SIZE(exponents))],
                 2);
    }
    fill(random, image + XMM, 256);
}

static void generate_vectors(struct random *random, const struct test_case *test,
                             struct vectors *vectors)
{
    memset(vectors, 0, sizeof(*vectors));
    generate_fxsave(random, vectors->fxsave);
    if (test->feature != FEATURE_NONE)
        fill(random, vectors->ymm_high, sizeof(vectors->ymm_high));
    if (test->feature < FEATURE_AVX512)
        return;
    fill(random, vectors->opmask, sizeof(vectors->opmask));
    fill(random, vectors->zmm_high, sizeof(vectors->zmm_high));
    fill(random, vectors->zmm_16_31, sizeof(vectors->zmm_16_31));
}

/* As the case's code would have it in a register: in 16-bit code, an offset in its segment. */
static uint64_t data_offset(const struct test_case *test, uint64_t address)
{
    return test->mode == MODE_16 ? address - DATA_ADDRESS : address;
}

static uint64_t pointer_value(struct random *random, const struct test_case *test)
{
    static const uint64_t nowhere[] = {0x30000000,
                                       UINT64_C(0x0000800000000000), /* not canonical */
                                       UINT64_C(0x8000000000000000),
                                       UINT64_C(0x00007ffffffff000),
                                       UINT64_C(0xffff900000000000),
                                       UINT64_C(0xffffffffffffffff)};
    unsigned distance = pick(random, 72);
    switch (test->place) {
    case PLACE_TAIL:
        return data_offset(test, TAIL_END - distance);
    case PLACE_READ_ONLY:
        return data_offset(test, READ_ONLY + (one_in(random, 2) ? PAGE_SIZE : 64) - distance);
    case PLACE_NOWHERE:
        return test->mode == MODE_64 ? nowhere[pick(random, ARRAY_SIZE(nowhere))]
                                     : data_offset(test, DATA_ADDRESS + 0x5000 + distance);
    default:
        break;
    }
    uint64_t middle = data_offset(test, SCRATCH_MIDDLE);
    if (test->aligned)
        return middle + 64 * pick(random, 4) - 128 + (one_in(random, 16) ? 8 : 0);
    return middle + pick(random, 64) - 32;
}

static uint64_t index_value(struct random *random, const struct test_case *test)
{
    static const int aligned[] = {0, 16, -16, 8}, any[] = {0, 1, -1, 3, -7, 16};
    if (test->place != PLACE_SCRATCH)
        return 0;
    return test->aligned ? (uint64_t)aligned[one_in(random, 16) ? 3 : pick(random, 3)]
                         : (uint64_t)any[pick(random, ARRAY_SIZE(any))];
}

/* An address in the slot, not in the case's own code: nothing but INT3 there. */
static uint64_t slot_target(struct random *random, const struct test_case *test)
{
    uint64_t slot = align_down(test->address, SLOT_SIZE);
    uint64_t target = one_in(random, 2) ? slot + pick(random, CODE_START - 16)
                                        : test->address + test->length + pick(random, 100);
    return target;
}

static uint64_t target_value(struct random *random, const struct test_case *test)
{
    return slot_target(random, test) - (test->mode == MODE_16 ? CODE_ADDRESS : 0);
}

static void set_registers(struct random *random, const struct test_case *test,
                          struct machine_state *state)
{
    for (unsigned i = 0; i < 16; i++) {
        uint64_t value = edge_value(random), upper = random_next(random) & ~UINT64_C(0xffffffff);
        if (test->targets & BIT(i))
            value = target_value(random, test);
        if (test->indexes & BIT(i))
            value = index_value(random, test);
        if (test->pointers & BIT(i))
            value = pointer_value(random, test);
        if (test->wide & BIT(i))
            value = (uint32_t)value | upper;
        if (test->mode != MODE_64) /* upper halves mean nothing, nor do the upper registers */
            value = i < 8 ? (uint32_t)value : 0;
        state->registers[i] = value;
    }
    /* The stack out of the way of other pointers; one operand of a string that faults is enough,
     * as it is open which comes first. */
    if (test->sequence)
        state->registers[GPR_RSP] = data_offset(test, SCRATCH_ADDRESS + 320 + 8 * pick(random, 8));
    if (test->setup == SETUP_STRING)
        state->registers[one_in(random, 2) ? GPR_RSI : GPR_RDI] =
            data_offset(test, SCRATCH_MIDDLE + pick(random, 400) - 200);
    if (test->mode == MODE_16)
        state->registers[GPR_RSP] &= 0xffff;
}

/* The scratch bytes that an offset or address in a register points at; NULL: not inside. */
static uint8_t *scratch_at(const struct test_case *test, struct machine_state *state,
                           unsigned number, unsigned size)
{
    uint64_t address = state->registers[number] + (test->mode == MODE_16 ? DATA_ADDRESS : 0);
    return address - SCRATCH_ADDRESS <= SCRATCH_SIZE - size
               ? state->scratch + (address - SCRATCH_ADDRESS)
               : NULL;
}

/* Any multiple of 64 may be the image's place: make each of them one that XRSTOR and FXRSTOR take,
 * nearly always. */
static void set_image(struct random *random, struct machine_state *state)
{
    state->registers[GPR_RAX] = (state->registers[GPR_RAX] & ~UINT64_C(0xff)) | pick(random, 4);
    state->registers[GPR_RDX] &= ~UINT64_C(0xffffffff);
    state->registers[GPR_RAX] &= ~UINT64_C(0xffffff00);
    for (unsigned i = 0; i < SCRATCH_SIZE; i += 64) {
        static const uint64_t layouts[] = {0, 0, 0, BIT(63) | 3, BIT(63) | 1};
        memset(state->scratch + i, 0, 64);
        store_le(state->scratch + i, pick(random, 4), 8);
        if (one_in(random, 3))
            store_le(state->scratch + i + 8, layouts[pick(random, ARRAY_SIZE(layouts))], 8);
        store_le(state->scratch + i + MXCSR, 0x1f80, 4);
    }
}

static uint16_t pick_selector(struct random *random)
{
    static const uint16_t selectors[] = {
        0,    1,    3,    SELECTOR_CODE32, SELECTOR_CODE64, SELECTOR_DATA,
        0x20, 0x28, 0x30, SELECTOR_CODE16, SELECTOR_DATA16, SELECTOR_FS,
        0x10, 0x13, 0x27, SELECTOR_GS,     SELECTOR_DATA,   SELECTOR_DATA};
    return selectors[pick(random, ARRAY_SIZE(selectors))];
}

/* An offset of `size` bytes and a selector; of code, that is nearly always good. */
static void store_far_pointer(struct random *random, const struct test_case *test, bool code,
                              uint8_t *at, unsigned size)
{
    static const uint16_t good[] = {SELECTOR_CODE32, SELECTOR_CODE64, SELECTOR_CODE16};
    uint16_t selector =
        code && !one_in(random, 4) ? good[pick(random, ARRAY_SIZE(good))] : pick_selector(random);
    uint64_t target = slot_target(random, test);
    store_le(at, selector == SELECTOR_CODE16 ? target - CODE_ADDRESS : target, size);
    store_le(at + size, selector, 2);
}

/* What RETF and IRET return to: words of the operand size. */
static void set_return(struct random *random, const struct test_case *test,
                       struct machine_state *state)
{
    unsigned size = test->far_size;
    uint8_t *stack = scratch_at(test, state, GPR_RSP, 64);
    if (!stack)
        return;
    store_far_pointer(random, test, true, stack, size);
    if (test->setup != SETUP_INTERRUPT_RETURN)
        return;
    store_le(stack + size * 2, (random_next(random) & RFLAGS_ARITHMETIC) | RFLAGS_IF, size);
    if (test->mode != MODE_64)
        return;
    store_le(stack + size * 3, edge_value(random), size);
    store_le(stack + size * 4, one_in(random, 4) ? pick(random, 4) : SELECTOR_DATA, size);
}

static void set_selectors(struct random *random, const struct test_case *test,
                          struct machine_state *state)
{
    for (unsigned i = 0; i < SCRATCH_SIZE; i += 2)
        store_le(state->scratch + i, pick_selector(random), 2);
    for (unsigned i = 0; i < 16; i++)
        if (test->chosen & BIT(i) & ~test->pointers)
            state->registers[i] = (state->registers[i] & ~UINT64_C(0xffff)) | pick_selector(random);
}

/* One at every multiple of 8. */
static void set_far_pointers(struct random *random, const struct test_case *test,
                             struct machine_state *state)
{
    for (unsigned i = 0; i + 16 <= SCRATCH_SIZE; i += 8)
        store_far_pointer(random, test, test->setup == SETUP_FAR, state->scratch + i,
                          test->far_size > 4 ? 4 : test->far_size);
}

static void apply_setup(struct random *random, const struct test_case *test,
                        struct machine_state *state)
{
    uint8_t *stack = scratch_at(test, state, GPR_RSP, 8);
    switch (test->setup) {
    case SETUP_STRING:
        state->registers[GPR_RCX] = pick(random, 30);
        if (test->wide & BIT(GPR_RSI)) /* address size 32: ECX counts */
            state->registers[GPR_RCX] |= random_next(random) & ~UINT64_C(0xffffffff);
        if (test->mode != MODE_64)
            state->registers[GPR_RCX] &= 0xffff;
        if (one_in(random, 4))
            state->rflags |= RFLAGS_DF;
        break;
    case SETUP_RETURN:
        if (stack)
            store_le(stack, target_value(random, test), 8);
        break;
    case SETUP_FLAGS: /* neither single steps nor alignment checks */
        if (stack)
            store_le(stack, load_le(stack, 8) & ~(RFLAGS_TF | RFLAGS_AC), 8);
        break;
    case SETUP_SELECTOR:
        set_selectors(random, test, state);
        break;
    case SETUP_FAR:
    case SETUP_FAR_DATA:
        set_far_pointers(random, test, state);
        break;
    case SETUP_FAR_RETURN:
    case SETUP_INTERRUPT_RETURN:
        set_return(random, test, state);
        break;
    case SETUP_XSTATE:
        set_image(random, state);
        break;
    case SETUP_CONTROL: /* bit 17, misaligned mode, is AMD's; the model has not got it */
        for (unsigned i = 0; i < SCRATCH_SIZE; i++)
            if (i % 4 == 2 || i % 4 == 3)
                state->scratch[i] = one_in(random, 64) ? 4 : 0;
        break;
    default:
        break;
    }
}

void generate_inputs(struct random *random, const struct test_case *test,
                     struct machine_state *state)
{
    static const uint16_t code[] = {SELECTOR_CODE64, SELECTOR_CODE32, SELECTOR_CODE16};
    set_registers(random, test, state);
    state->rflags = (random_next(random) & RFLAGS_ARITHMETIC) | RFLAGS_FIXED | RFLAGS_IF;
    if (test->alignment_checks && one_in(random, 32))
        state->rflags |= RFLAGS_AC;
    uint16_t data = test->mode == MODE_16 ? SELECTOR_DATA16 : SELECTOR_DATA;
    state->selectors[SEG_CS] = code[test->mode];
    state->selectors[SEG_SS] = state->selectors[SEG_DS] = state->selectors[SEG_ES] = data;
    state->selectors[SEG_FS] = test->mode == MODE_64 ? 0 : SELECTOR_FS;
    state->selectors[SEG_GS] = test->mode == MODE_64 ? 0 : SELECTOR_GS;
    state->rip = test->mode == MODE_16 ? test->address - CODE_ADDRESS : test->address;
    generate_vectors(random, test, &state->vectors);
    fill(random, state->scratch, SCRATCH_SIZE);
    fill(random, state->tail, TAIL_SIZE);
    state->vector = 0;
    state->error_code = 0;
    state->fault_address = 0;
    apply_setup(random, test, state);
}
