/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOVS, STOS, LODS, CMPS, SCAS with their repeat prefixes. One element at a time is the rule; MOVS
 * and STOS go in bulk, a page's worth at most, and between bulks the instruction gives way to
 * interrupts: registers then say how far it got and rIP still points at it.
 */
#include "cpu/interpret/string_element.h"

#include "cpu/exception.h"
#include "cpu/interpret/operand.h"
#include "cpu/segmentation.h"

enum string_result {
    STRING_DONE,
    STRING_AGAIN, /* not finished: come back to the same instruction after a look at the requests */
    STRING_FAULT,
    STRING_CODE, /* a store hit cached code: as STRING_AGAIN */
    STRING_CODE_DONE,
};

/* Elements between looks at the requests when going one by one. */
#define ELEMENTS_PER_TURN 1024

typedef enum mmu_status element_function(struct vcpu *vcpu, const struct op *op, bool *more);

/* Without checks the base of ES is 0: there is no override for it. */
bool string_linear(struct vcpu *vcpu, const struct op *op, unsigned number, bool write,
                   uint64_t *linear)
{
    unsigned segment = number == GPR_RDI ? SEG_ES : op->segment;
    uint64_t offset = vcpu->registers[number] & op_address_mask(op);
    if (op->flags & OP_CHECKED && segment < SEG_COUNT)
        return segment_linear(vcpu, segment, offset, op->operand_size, write, linear);
    if (number == GPR_RDI)
        segment = SEG_COUNT;
    *linear = offset + vcpu->segment_bases[segment];
    return true;
}

static bool load_element(struct vcpu *vcpu, const struct op *op, unsigned number, uint64_t *value)
{
    uint64_t linear;
    *value = 0;
    if (!string_linear(vcpu, op, number, false, &linear))
        return false;
    void *hva = access_fast(vcpu, linear, op->operand_size, MMU_READ, vcpu->mmu_mode);
    if (likely(hva != NULL)) {
        *value = load_le(hva, op->operand_size);
        return true;
    }
    return mmu_read(vcpu, linear, value, op->operand_size, vcpu->mmu_mode) != MMU_FAULT;
}

static enum mmu_status store_element(struct vcpu *vcpu, const struct op *op, uint64_t value)
{
    uint64_t linear;
    if (!string_linear(vcpu, op, GPR_RDI, true, &linear))
        return MMU_FAULT;
    void *hva = access_fast(vcpu, linear, op->operand_size, MMU_WRITE, vcpu->mmu_mode);
    if (unlikely(!hva))
        return mmu_write(vcpu, linear, &value, op->operand_size, vcpu->mmu_mode);
    store_le(hva, value, op->operand_size);
    return MMU_OK;
}

static enum mmu_status movs_element(struct vcpu *vcpu, const struct op *op, bool *more)
{
    uint64_t value;
    if (!load_element(vcpu, op, GPR_RSI, &value))
        return MMU_FAULT;
    enum mmu_status status = store_element(vcpu, op, value);
    if (status == MMU_FAULT)
        return status;
    op_advance(vcpu, op, GPR_RSI, string_step(vcpu, op));
    op_advance(vcpu, op, GPR_RDI, string_step(vcpu, op));
    return status;
}

static enum mmu_status stos_element(struct vcpu *vcpu, const struct op *op, bool *more)
{
    enum mmu_status status = store_element(vcpu, op, vcpu->registers[GPR_RAX]);
    if (status != MMU_FAULT)
        op_advance(vcpu, op, GPR_RDI, string_step(vcpu, op));
    return status;
}

static enum mmu_status lods_element(struct vcpu *vcpu, const struct op *op, bool *more)
{
    uint64_t value, old = vcpu->registers[GPR_RAX];
    if (!load_element(vcpu, op, GPR_RSI, &value))
        return MMU_FAULT;
    uint64_t mask = bytes_mask(op->operand_size);
    vcpu->registers[GPR_RAX] = op->operand_size >= 4 ? value : (old & ~mask) | value;
    op_advance(vcpu, op, GPR_RSI, string_step(vcpu, op));
    return MMU_OK;
}

static void compare_flags(struct vcpu *vcpu, uint64_t a, uint64_t b, unsigned size)
{
    unsigned bits = size * 8;
    uint64_t result = a - b;
    uint64_t carries = (~a & b) | ((~a | b) & result);
    flags_set(vcpu, sign_extend(result, bits), flags_auxiliary(carries & bytes_mask(size), bits));
}

static bool repeat_goes_on(const struct vcpu *vcpu, const struct op *op)
{
    return op->flags & OP_REPEAT_NE ? !flag_zero(vcpu) : flag_zero(vcpu);
}

static enum mmu_status cmps_element(struct vcpu *vcpu, const struct op *op, bool *more)
{
    uint64_t a, b;
    if (!load_element(vcpu, op, GPR_RSI, &a) || !load_element(vcpu, op, GPR_RDI, &b))
        return MMU_FAULT;
    compare_flags(vcpu, a, b, op->operand_size);
    op_advance(vcpu, op, GPR_RSI, string_step(vcpu, op));
    op_advance(vcpu, op, GPR_RDI, string_step(vcpu, op));
    *more = repeat_goes_on(vcpu, op);
    return MMU_OK;
}

static enum mmu_status scas_element(struct vcpu *vcpu, const struct op *op, bool *more)
{
    uint64_t b, a = vcpu->registers[GPR_RAX] & bytes_mask(op->operand_size);
    if (!load_element(vcpu, op, GPR_RDI, &b))
        return MMU_FAULT;
    compare_flags(vcpu, a, b, op->operand_size);
    op_advance(vcpu, op, GPR_RDI, string_step(vcpu, op));
    *more = repeat_goes_on(vcpu, op);
    return MMU_OK;
}

static uint64_t repeat_count(const struct vcpu *vcpu, const struct op *op)
{
    return vcpu->registers[GPR_RCX] & op_address_mask(op);
}

/* Elements that can go in one piece: up to the page's end, or down to its start, and no more than
 * the count. */
static uint64_t bulk_elements(uint64_t linear, unsigned size, bool down, uint64_t count)
{
    uint64_t offset = linear & (PAGE_SIZE - 1), room = (PAGE_SIZE - offset) / size;
    if (down)
        room = room ? offset / size + 1 : 0; /* none when the first runs into the next page */
    return room < count ? room : count;
}

static void fill(void *to, uint64_t value, unsigned size, uint64_t count)
{
    if (size == 1) {
        memset(to, (int)(value & 0xff), count);
        return;
    }
    for (uint64_t i = 0; i < count; i++)
        store_le((uint8_t *)to + i * size, value, size);
}

/* Copies in element order, from the top where `down`: what a guest relies on that repeats a pattern
 * by overlapping its buffers. */
static void copy(uint8_t *to, const uint8_t *from, unsigned size, bool down, uint64_t bytes)
{
    bool apart = to >= from + bytes || from >= to + bytes;
    if (apart || (down ? to >= from : to <= from)) {
        memmove(to, from, bytes);
        return;
    }
    for (uint64_t i = 0; i < bytes; i += size) {
        uint64_t at = down ? bytes - size - i : i;
        store_le(to + at, load_le(from + at, size), size);
    }
}

/* Does as much as lies in one page on each side. 0: nothing, go one by one. */
static uint64_t bulk(struct vcpu *vcpu, const struct op *op, bool move)
{
    enum mmu_status status;
    unsigned size = op->operand_size;
    bool down = vcpu->rflags & RFLAGS_DF;
    uint64_t to, from = 0, count = repeat_count(vcpu, op);
    if (op->flags & OP_CHECKED || op->flags & OP_ADDRESS16)
        return 0;
    string_linear(vcpu, op, GPR_RDI, true, &to);
    count = bulk_elements(to, size, down, count);
    if (move) {
        string_linear(vcpu, op, GPR_RSI, false, &from);
        count = bulk_elements(from, size, down, count);
    }
    if (count < 2)
        return 0;
    unsigned bytes = (unsigned)count * size, below = down ? bytes - size : 0;
    const void *source =
        move ? mmu_hva(vcpu, from - below, bytes, MMU_READ, vcpu->mmu_mode, &status) : "";
    void *target =
        source ? mmu_hva(vcpu, to - below, bytes, MMU_WRITE, vcpu->mmu_mode, &status) : NULL;
    if (!target) {
        vcpu->exception.pending = false; /* the element-wise way meets the fault again, in order */
        return 0;
    }
    int64_t distance = (int64_t)count * string_step(vcpu, op);
    if (move) {
        copy(target, source, size, down, bytes);
        op_advance(vcpu, op, GPR_RSI, distance);
    } else {
        fill(target, vcpu->registers[GPR_RAX], size, count);
    }
    op_advance(vcpu, op, GPR_RDI, distance);
    op_advance(vcpu, op, GPR_RCX, -(int64_t)count);
    return count;
}

static enum string_result repeat(struct vcpu *vcpu, const struct op *op, element_function *element)
{
    /* Under TF and armed breakpoints each round is an instruction of its own. */
    bool stepping = vcpu->code_mode & CODE_MODE_STEP;
    bool bulky = !stepping && (element == movs_element || element == stos_element);
    for (unsigned turn = 0; repeat_count(vcpu, op); turn++) {
        if (turn && (stepping || turn == ELEMENTS_PER_TURN ||
                     atomic_load_explicit(&vcpu->requests, memory_order_relaxed)))
            return STRING_AGAIN;
        if (bulky && bulk(vcpu, op, element == movs_element))
            continue;
        bool more = true;
        enum mmu_status status = element(vcpu, op, &more);
        if (status == MMU_FAULT)
            return STRING_FAULT;
        op_advance(vcpu, op, GPR_RCX, -1);
        if (!more)
            return STRING_DONE;
        if (status == MMU_CODE)
            return repeat_count(vcpu, op) ? STRING_CODE : STRING_CODE_DONE;
    }
    return STRING_DONE;
}

static inline __attribute__((always_inline)) void run_string(struct vcpu *vcpu, const struct op *op,
                                                             element_function *element)
{
    enum string_result result;
    if (op->flags & (OP_REPEAT | OP_REPEAT_NE)) {
        result = repeat(vcpu, op, element);
    } else {
        bool more;
        enum mmu_status status = element(vcpu, op, &more);
        result = status == MMU_FAULT  ? STRING_FAULT
                 : status == MMU_CODE ? STRING_CODE_DONE
                                      : STRING_DONE;
    }
    if (likely(result == STRING_DONE))
        NEXT(vcpu, op);
    if (result == STRING_CODE_DONE)
        LEAVE(vcpu, op);
    if (result != STRING_FAULT)
        vcpu->rflags |= RFLAGS_RF; /* a breakpoint here has had its turn */
    /* Back to this very instruction: after the interrupt, or the fault's handler. */
    FAULT(vcpu, op);
}

#define DEFINE_STRING(name)                                  \
    static void name(struct vcpu *vcpu, const struct op *op) \
    {                                                        \
        run_string(vcpu, op, name##_element);                \
    }
DEFINE_STRING(movs)
DEFINE_STRING(stos)
DEFINE_STRING(lods)
DEFINE_STRING(cmps)
DEFINE_STRING(scas)

/* MOVSD and CMPSD are also SSE2 instructions: those have visible operands of another kind. */
static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handler;
} instructions[] = {
    {ZYDIS_MNEMONIC_MOVSB, movs}, {ZYDIS_MNEMONIC_MOVSW, movs}, {ZYDIS_MNEMONIC_MOVSD, movs},
    {ZYDIS_MNEMONIC_MOVSQ, movs}, {ZYDIS_MNEMONIC_STOSB, stos}, {ZYDIS_MNEMONIC_STOSW, stos},
    {ZYDIS_MNEMONIC_STOSD, stos}, {ZYDIS_MNEMONIC_STOSQ, stos}, {ZYDIS_MNEMONIC_LODSB, lods},
    {ZYDIS_MNEMONIC_LODSW, lods}, {ZYDIS_MNEMONIC_LODSD, lods}, {ZYDIS_MNEMONIC_LODSQ, lods},
    {ZYDIS_MNEMONIC_CMPSB, cmps}, {ZYDIS_MNEMONIC_CMPSW, cmps}, {ZYDIS_MNEMONIC_CMPSD, cmps},
    {ZYDIS_MNEMONIC_CMPSQ, cmps}, {ZYDIS_MNEMONIC_SCASB, scas}, {ZYDIS_MNEMONIC_SCASW, scas},
    {ZYDIS_MNEMONIC_SCASD, scas}, {ZYDIS_MNEMONIC_SCASQ, scas},
};

op_handler *select_string(struct selection *selection)
{
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    if (instruction->meta.category != ZYDIS_CATEGORY_STRINGOP)
        return NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        if (instructions[i].mnemonic != instruction->mnemonic)
            continue;
        selection_implicit_memory(selection);
        return instructions[i].handler;
    }
    return NULL;
}
