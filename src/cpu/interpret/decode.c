/* SPDX-License-Identifier: Apache-2.0 */
/* From guest bytes to ops: fetch, decode with Zydis, let the instruction groups choose handlers. */
#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/interpret/block.h"
#include "cpu/interpret/groups.h"
#include "cpu/interpret/single.h"
#include "cpu/interpret/vector.h"

#define INSTRUCTION_MAX 15

enum decoder_index { DECODER_LONG, DECODER_COMPAT32, DECODER_COMPAT16, DECODER_32, DECODER_16 };

static select_function *const groups[] = {
    select_atomic, /* first: it takes the LOCK forms of what others have plain */
    select_move,     select_alu,    select_branch, select_stack,  select_shift, select_bit,
    select_multiply, select_string, select_misc,   select_vector, select_bcd,   select_system,
};

void decoders_init(struct interpreter *interpreter)
{
    static const struct {
        ZydisMachineMode mode;
        ZydisStackWidth width;
    } modes[] = {
        [DECODER_LONG] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
        [DECODER_COMPAT32] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
        [DECODER_COMPAT16] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
        [DECODER_32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
        [DECODER_16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        ZydisDecoderInit(&interpreter->decoders[i], modes[i].mode, modes[i].width);
}

static const ZydisDecoder *decoder_for(const struct vcpu *vcpu,
                                       const struct interpreter *interpreter, uint32_t code_mode)
{
    bool big = code_mode & CODE_MODE_BIG;
    if (code_mode & CODE_MODE_LONG)
        return &interpreter->decoders[DECODER_LONG];
    if (vcpu_long_mode(vcpu))
        return &interpreter->decoders[big ? DECODER_COMPAT32 : DECODER_COMPAT16];
    return &interpreter->decoders[big ? DECODER_32 : DECODER_16];
}

/* The next instruction's bytes, as many as can be had without a fault. */
struct fetch {
    uint8_t bytes[INSTRUCTION_MAX];
    unsigned available;
    unsigned in_page;     /* of these, in the first page */
    uint64_t second_page; /* gpa of the second page */
};

static void fetch_bytes(struct vcpu *vcpu, uint64_t gpa, uint8_t *bytes, unsigned size)
{
    if (memory_read(vcpu->memory, gpa, bytes, size) == 0)
        return;
    for (unsigned i = 0; i < size; i++) /* code in ROM or MMIO */
        bytes[i] = (uint8_t)bus_read(vcpu->bus, BUS_MMIO, gpa + i, 1);
}

static void fetch_first_page(struct vcpu *vcpu, uint64_t gpa, struct fetch *fetch)
{
    unsigned room = (unsigned)(PAGE_SIZE - (gpa & (PAGE_SIZE - 1)));
    fetch->in_page = fetch->available = room < INSTRUCTION_MAX ? room : INSTRUCTION_MAX;
    fetch->second_page = NO_SECOND_PAGE;
    fetch_bytes(vcpu, gpa, fetch->bytes, fetch->available);
}

/* Adds what follows in the next page. False: fetch fault recorded. */
static bool fetch_second_page(struct vcpu *vcpu, uint64_t linear, struct fetch *fetch)
{
    uint64_t gpa;
    if (mmu_fetch(vcpu, linear + fetch->in_page, &gpa) == MMU_FAULT)
        return false;
    fetch_bytes(vcpu, gpa, fetch->bytes + fetch->in_page, INSTRUCTION_MAX - fetch->in_page);
    fetch->available = INSTRUCTION_MAX;
    fetch->second_page = gpa & PAGE_MASK;
    return true;
}

static unsigned segment_index(ZydisRegister segment)
{
    return segment >= ZYDIS_REGISTER_ES && segment <= ZYDIS_REGISTER_GS
               ? (unsigned)(segment - ZYDIS_REGISTER_ES)
               : SEG_COUNT;
}

static uint8_t address_register(ZydisRegister name)
{
    int offset = selection_register(name);
    return offset < 0 ? REGISTER_ZERO : (uint8_t)(offset / 8);
}

/* ES, CS and DS have base 0 wherever nothing needs checking; so has SS, which is kept for the sake
 * of its faults. */
static uint8_t effective_segment(const struct selection *selection, ZydisRegister name)
{
    unsigned segment = segment_index(name);
    bool flat = selection->code_mode & (CODE_MODE_LONG | CODE_MODE_FLAT);
    if (selection->code_mode & CODE_MODE_LONG && segment == SEG_SS)
        return SEG_SS;
    return flat && segment != SEG_FS && segment != SEG_GS ? SEG_COUNT : (uint8_t)segment;
}

static void prefill_segment(struct selection *selection, const ZydisDecodedOperand *operand)
{
    struct op *op = selection->op;
    op->segment = effective_segment(selection, operand->mem.segment);
    bool unchecked = selection->code_mode & CODE_MODE_LONG ||
                     (selection->code_mode & CODE_MODE_FLAT && op->segment == SEG_COUNT);
    if (!unchecked)
        op->flags |= OP_CHECKED;
}

static void prefill_memory(struct selection *selection, const ZydisDecodedOperand *operand)
{
    struct op *op = selection->op;
    op->displacement = operand->mem.disp.has_displacement ? operand->mem.disp.value : 0;
    op->base = address_register(operand->mem.base);
    op->index = address_register(operand->mem.index);
    op->scale = operand->mem.scale > 1 ? (uint8_t)__builtin_ctz(operand->mem.scale) : 0;
    if (operand->mem.base == ZYDIS_REGISTER_RIP || operand->mem.base == ZYDIS_REGISTER_EIP) {
        op->base = REGISTER_BLOCK;
        op->displacement += op->offset + op->length;
    }
    prefill_segment(selection, operand);
}

void selection_implicit_memory(struct selection *selection)
{
    const ZydisDecodedOperand *found = NULL;
    for (unsigned i = 0; i < selection->instruction.operand_count; i++) {
        const ZydisDecodedOperand *operand = &selection->operands[i];
        if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        if (!found || address_register(operand->mem.base) != GPR_RDI)
            found = operand;
    }
    if (found)
        prefill_segment(selection, found);
}

static void prefill(struct selection *selection, unsigned offset)
{
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    struct op *op = selection->op;
    *op = (struct op){
        .offset = (uint16_t)offset,
        .length = instruction->length,
        .operand_size = instruction->operand_width / 8,
        .base = REGISTER_ZERO,
        .index = REGISTER_ZERO,
        .segment = SEG_COUNT,
    };
    if (instruction->address_width == 32)
        op->flags |= OP_ADDRESS32;
    else if (instruction->address_width == 16)
        op->flags |= OP_ADDRESS16;
    if (instruction->attributes & ZYDIS_ATTRIB_HAS_LOCK)
        op->flags |= OP_LOCK;
    if (instruction->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        op->flags |= OP_REPEAT;
    if (instruction->attributes & ZYDIS_ATTRIB_HAS_REPNE)
        op->flags |= OP_REPEAT_NE;
    selection->memory_operand = -1;
    for (unsigned i = 0; i < instruction->operand_count_visible; i++) {
        if (selection->operands[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        selection->memory_operand = (int)i;
        prefill_memory(selection, &selection->operands[i]);
        break;
    }
}

/* #UD as an op of its own, so that the instructions before it in the block run first. */
static void undefined(struct vcpu *vcpu, const struct op *op)
{
    raise_exception(vcpu, VECTOR_UD);
    FAULT(vcpu, op);
}

static void too_long(struct vcpu *vcpu, const struct op *op)
{
    raise_error(vcpu, VECTOR_GP, 0);
    FAULT(vcpu, op);
}

static op_handler *choose_handler(struct selection *selection)
{
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++) {
        op_handler *handler = groups[i](selection);
        if (handler)
            return handler;
    }
    return NULL;
}

enum decode_result { DECODE_OK, DECODE_MORE_BYTES };

/* Decodes one instruction into selection->op. DECODE_MORE_BYTES: it runs past what was fetched. */
static enum decode_result decode_one(struct selection *selection, const ZydisDecoder *decoder,
                                     const struct fetch *fetch, unsigned offset)
{
    ZyanStatus status = ZydisDecoderDecodeFull(decoder, fetch->bytes, fetch->available,
                                               &selection->instruction, selection->operands);
    if (status == ZYDIS_STATUS_NO_MORE_DATA && fetch->available < INSTRUCTION_MAX)
        return DECODE_MORE_BYTES;
    if (!ZYAN_SUCCESS(status)) {
        bool length =
            status == ZYDIS_STATUS_NO_MORE_DATA || status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG;
        *selection->op = (struct op){
            .offset = (uint16_t)offset, .length = 1, .run = length ? too_long : undefined};
        selection->ends_block = true;
        return DECODE_OK;
    }
    selection->bytes = fetch->bytes;
    selection->compare_before = selection->compare;
    selection->compare = 0;
    prefill(selection, offset);
    op_handler *handler = choose_handler(selection);
    if (!handler)
        selection->ends_block = true;
    selection->op->run = handler ? handler : undefined;
    return DECODE_OK;
}

static void finish_ops(struct op *ops, unsigned count)
{
    const struct op *last = &ops[count - 1];
    for (unsigned i = 0; i < count; i++)
        ops[i].remaining = (uint16_t)(count - 1 - i);
    ops[count] = (struct op){.run = block_end, .offset = (uint16_t)(last->offset + last->length)};
}

bool interpret_prepare(struct vcpu *vcpu, uint32_t code_mode, const uint8_t *bytes, unsigned length,
                       struct op ops[2])
{
    struct fetch fetch = {.available = length, .in_page = length};
    struct selection selection = {.vcpu = vcpu, .code_mode = code_mode, .op = &ops[0]};
    memcpy(fetch.bytes, bytes, length < INSTRUCTION_MAX ? length : INSTRUCTION_MAX);
    if (decode_one(&selection, decoder_for(vcpu, interpreter_of(vcpu), code_mode), &fetch, 0) !=
            DECODE_OK ||
        ops[0].length != length)
        return false;
    finish_ops(ops, 1);
    return true;
}

/* Says that a block's bytes are cached. False: they must not be, as a part is not RAM or has
 * changed by now. */
static bool mark_code(struct vcpu *vcpu, uint64_t gpa, uint64_t second_page, const uint8_t *bytes,
                      unsigned length)
{
    unsigned room = (unsigned)(PAGE_SIZE - (gpa & (PAGE_SIZE - 1)));
    unsigned first = length < room ? length : room;
    if (length > room && (!memory_is_ram(vcpu->memory, second_page) ||
                          !mmu_mark_code(vcpu, second_page, bytes + first, length - first)))
        return false;
    return mmu_mark_code(vcpu, gpa, bytes, first);
}

struct block *block_decode(struct vcpu *vcpu, uint64_t rip, uint64_t gpa, uint32_t code_mode)
{
    struct interpreter *interpreter = interpreter_of(vcpu);
    const ZydisDecoder *decoder = decoder_for(vcpu, interpreter, code_mode);
    bool ram = memory_is_ram(vcpu->memory, gpa);
    unsigned limit = ram && !(code_mode & CODE_MODE_STEP) ? BLOCK_OPS_MAX : 1;
    struct op ops[BLOCK_OPS_MAX + 1];
    uint8_t bytes[BLOCK_OPS_MAX * INSTRUCTION_MAX];
    struct fetch fetch;
    struct selection selection = {.vcpu = vcpu, .code_mode = code_mode};
    unsigned count = 0, offset = 0;
    uint64_t second_page = NO_SECOND_PAGE;
    if (vector_code_full(vcpu)) {
        block_drop_all(interpreter);
        vector_code_reset(vcpu);
    }
    while (count < limit && !selection.ends_block) {
        if (offset && !((gpa + offset) & (PAGE_SIZE - 1)))
            break;
        selection.op = &ops[count];
        fetch_first_page(vcpu, gpa + offset, &fetch);
        if (decode_one(&selection, decoder, &fetch, offset) == DECODE_MORE_BYTES) {
            /* An instruction that crosses into the next page gets a block of its own. */
            if (count)
                break;
            uint64_t linear = vcpu->segment_bases[SEG_CS] + rip;
            if (!fetch_second_page(vcpu, linear, &fetch))
                return NULL;
            second_page = fetch.second_page;
            selection.ends_block = true;
            decode_one(&selection, decoder, &fetch, offset);
            limit = 1;
        }
        memcpy(bytes + offset, fetch.bytes, ops[count].length);
        offset += ops[count].length;
        count++;
    }
    finish_ops(ops, count);
    if (ram && mark_code(vcpu, gpa, second_page, bytes, offset)) {
        struct block *block = block_add(interpreter, gpa, second_page, code_mode, ops, count);
        if (block)
            return block;
    }
    struct block *scratch = interpreter->scratch;
    *scratch = (struct block){
        .code_mode = BLOCK_MODE_NONE, .second_page = NO_SECOND_PAGE, .op_count = (uint16_t)count};
    memcpy(scratch->ops, ops, (count + 1) * sizeof(ops[0]));
    return scratch;
}
