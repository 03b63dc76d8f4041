/* SPDX-License-Identifier: Apache-2.0 */
/* Far transfers, interrupts and their return, system calls, HLT; the flags that guard interrupts.
 * APM vol. 3. */
#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/interpret/stack.h"
#include "cpu/interpret/system.h"
#include "cpu/segmentation.h"
#include "cpu/virtual_interrupt.h"

/* For transfers: the callee has set rip when it succeeds. */
#define RETURN_OR_FAULT(vcpu, op, condition) \
    do {                                     \
        if (!(condition))                    \
            FAULT(vcpu, op);                 \
        return;                              \
    } while (0)

static void hlt(struct vcpu *vcpu, const struct op *op)
{
    if (!system_privileged(vcpu))
        FAULT(vcpu, op);
    vcpu->run_state = VCPU_HALTED;
    atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_INTERRUPT); /* makes the loop look */
    LEAVE(vcpu, op);
}

/* --- flags --- */

static void cli(struct vcpu *vcpu, const struct op *op)
{
    if (!interrupt_flag_clear(vcpu))
        FAULT(vcpu, op);
    NEXT(vcpu, op);
}

static void sti(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op, interrupt_flag_set(vcpu));
}

/* CLAC and STAC; op->condition: the new AC */
static void change_ac(struct vcpu *vcpu, const struct op *op)
{
    if (vcpu->cpl) {
        raise_exception(vcpu, VECTOR_UD);
        FAULT(vcpu, op);
    }
    control_write_rflags(vcpu, op->condition ? RFLAGS_AC : 0, RFLAGS_AC);
    NEXT(vcpu, op);
}

static inline enum mmu_status pushf_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t image;
    flags_materialise(vcpu);
    if (!flags_push_image(vcpu, op->operand_size, &image))
        return MMU_FAULT;
    return stack_push_value(vcpu, image, op->operand_size);
}
DEFINE_HANDLER(pushf)

static void popf(struct vcpu *vcpu, const struct op *op)
{
    uint64_t image, pointer = vcpu->registers[GPR_RSP];
    if (!stack_read_value(vcpu, pointer, &image, op->operand_size) ||
        !flags_pop(vcpu, image, op->operand_size))
        FAULT(vcpu, op);
    stack_pointer_set(vcpu, pointer + op->operand_size);
    flags_load(vcpu, image);
    LEAVE(vcpu, op);
}

/* --- far transfers, interrupts, system calls --- */

/* Far pointer: immediate (op->extra is the selector) or in memory. */
static bool far_target(struct vcpu *vcpu, const struct op *op, uint16_t *selector, uint64_t *offset)
{
    uint8_t bytes[10];
    unsigned size = op->operand_size;
    if (!(op->extra & OPERAND_MEMORY)) {
        *selector = (uint16_t)(op->extra >> 16);
        *offset = op->immediate;
        return true;
    }
    if (!system_load_bytes(vcpu, op, bytes, size + 2))
        return false;
    *offset = load_le(bytes, size);
    *selector = (uint16_t)load_le(bytes + size, 2);
    return true;
}

static void jump_far(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    uint64_t offset;
    flags_materialise(vcpu);
    if (!far_target(vcpu, op, &selector, &offset) ||
        !far_jump(vcpu, selector, offset, op->operand_size, op_next_rip(vcpu, op)))
        FAULT(vcpu, op);
    flags_load(vcpu, vcpu->rflags); /* a task switch brings its own */
}

static void call_far(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    uint64_t offset;
    flags_materialise(vcpu);
    if (!far_target(vcpu, op, &selector, &offset) ||
        !far_call(vcpu, selector, offset, op->operand_size, op_next_rip(vcpu, op)))
        FAULT(vcpu, op);
    flags_load(vcpu, vcpu->rflags);
}

static void return_far(struct vcpu *vcpu, const struct op *op)
{
    RETURN_OR_FAULT(vcpu, op, far_return(vcpu, op->operand_size, (uint16_t)op->immediate));
}

static void iret(struct vcpu *vcpu, const struct op *op)
{
    flags_materialise(vcpu);
    vcpu->rip = op_next_rip(vcpu, op); /* what a nested task saves */
    if (!interrupt_return(vcpu, op->operand_size))
        FAULT(vcpu, op);
    flags_load(vcpu, vcpu->rflags);
}

typedef bool deliver_function(struct vcpu *vcpu, unsigned vector);

static bool deliver_software(struct vcpu *vcpu, unsigned vector)
{
    return interrupt_deliver(vcpu, vector, INTERRUPT_SOFTWARE);
}

static inline __attribute__((always_inline)) void deliver(struct vcpu *vcpu, const struct op *op,
                                                          deliver_function *function)
{
    flags_materialise(vcpu);
    vcpu->trap_shadow = true; /* the handler starts with TF clear */
    vcpu->rip = op_next_rip(vcpu, op);
    if (!function(vcpu, (unsigned)op->immediate))
        FAULT(vcpu, op);
    flags_load(vcpu, vcpu->rflags);
}

/* INT3, INTO: immediate is the vector. */
static void software_interrupt(struct vcpu *vcpu, const struct op *op)
{
    deliver(vcpu, op, deliver_software);
}

/* INT n: in a virtual-8086 task there is more to it. */
static void interrupt_numbered(struct vcpu *vcpu, const struct op *op)
{
    deliver(vcpu, op, interrupt_numbered_deliver);
}

/* INT1 is a debug exception, whatever the gate's DPL. */
static void interrupt_debug(struct vcpu *vcpu, const struct op *op)
{
    raise_debug(vcpu, 0);
    LEAVE(vcpu, op);
}

static void interrupt_on_overflow(struct vcpu *vcpu, const struct op *op)
{
    if (!flag_overflow(vcpu))
        NEXT(vcpu, op);
    software_interrupt(vcpu, op);
}

static void syscall(struct vcpu *vcpu, const struct op *op)
{
    flags_materialise(vcpu);
    if (!syscall_enter(vcpu, op_next_rip(vcpu, op)))
        FAULT(vcpu, op);
    vcpu->trap_shadow = !(vcpu->rflags & RFLAGS_TF); /* FMASK ends a single step */
    flags_load(vcpu, vcpu->rflags);
}

static void sysret(struct vcpu *vcpu, const struct op *op)
{
    flags_materialise(vcpu); /* legacy SYSRET keeps them */
    if (!syscall_return(vcpu, op->operand_size))
        FAULT(vcpu, op);
    flags_load(vcpu, vcpu->rflags);
}

static void sysenter(struct vcpu *vcpu, const struct op *op)
{
    RETURN_OR_FAULT(vcpu, op, sysenter_enter(vcpu));
}

static void sysexit(struct vcpu *vcpu, const struct op *op)
{
    RETURN_OR_FAULT(vcpu, op, sysenter_exit(vcpu, op->operand_size));
}

static const struct system_instruction instructions[] = {
    {ZYDIS_MNEMONIC_HLT, hlt, 0, false},           {ZYDIS_MNEMONIC_CLI, cli, 0, true},
    {ZYDIS_MNEMONIC_STI, sti, 0, false},           {ZYDIS_MNEMONIC_CLAC, change_ac, 0, true},
    {ZYDIS_MNEMONIC_STAC, change_ac, 1, true},     {ZYDIS_MNEMONIC_PUSHF, pushf, 0, true},
    {ZYDIS_MNEMONIC_PUSHFD, pushf, 0, true},       {ZYDIS_MNEMONIC_PUSHFQ, pushf, 0, true},
    {ZYDIS_MNEMONIC_POPF, popf, 0, false},         {ZYDIS_MNEMONIC_POPFD, popf, 0, false},
    {ZYDIS_MNEMONIC_POPFQ, popf, 0, false},        {ZYDIS_MNEMONIC_IRET, iret, 0, false},
    {ZYDIS_MNEMONIC_IRETD, iret, 0, false},        {ZYDIS_MNEMONIC_IRETQ, iret, 0, false},
    {ZYDIS_MNEMONIC_SYSCALL, syscall, 0, false},   {ZYDIS_MNEMONIC_SYSRET, sysret, 0, false},
    {ZYDIS_MNEMONIC_SYSENTER, sysenter, 0, false}, {ZYDIS_MNEMONIC_SYSEXIT, sysexit, 0, false},
};

static op_handler *select_far(struct selection *selection)
{
    struct op *op = selection->op;
    const ZydisDecodedOperand *operand = &selection->operands[0];
    if (selection->instruction.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
        return NULL;
    if (selection->instruction.mnemonic == ZYDIS_MNEMONIC_RET) {
        op->immediate = selection->instruction.operand_count_visible ? operand->imm.value.u : 0;
        return return_far;
    }
    if (operand->type == ZYDIS_OPERAND_TYPE_POINTER) {
        op->immediate = operand->ptr.offset & bytes_mask(op->operand_size);
        op->extra = (uint64_t)operand->ptr.segment << 16;
    }
    return selection->instruction.mnemonic == ZYDIS_MNEMONIC_JMP ? jump_far : call_far;
}

static op_handler *select_interrupt(struct selection *selection)
{
    struct op *op = selection->op;
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_INT:
        op->immediate = selection->operands[0].imm.value.u & 0xff;
        return interrupt_numbered;
    case ZYDIS_MNEMONIC_INT3:
        op->immediate = VECTOR_BP;
        return software_interrupt;
    case ZYDIS_MNEMONIC_INT1:
        return interrupt_debug;
    case ZYDIS_MNEMONIC_INTO:
        op->immediate = VECTOR_OF;
        return interrupt_on_overflow;
    default:
        return NULL;
    }
}

op_handler *select_system_flow(struct selection *selection)
{
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_RET:
        return select_far(selection);
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_INTO:
        return select_interrupt(selection);
    default:
        return system_find(selection, instructions, ARRAY_SIZE(instructions));
    }
}
