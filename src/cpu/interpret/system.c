/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System instructions: control, debug and model-specific registers, descriptor tables, interrupts,
 * far transfers, system calls. The handlers check privilege and operands and call the
 * engine-independent CPU. All of them end their block: what follows may run in another mode.
 */
#include "cpu/interpret/system.h"

#include "base/clock.h"
#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/interpret/operand.h"
#include "cpu/interpret/stack.h"
#include "cpu/paravirtual.h"
#include "cpu/segmentation.h"

#include <sys/random.h>

/* op->condition of handlers that share a function. */
static bool privileged(struct vcpu *vcpu)
{
    return vcpu->cpl == 0 || raise_error(vcpu, VECTOR_GP, 0);
}

static bool protected_only(struct vcpu *vcpu)
{
    return (vcpu_protected(vcpu) && !vcpu_v86(vcpu)) || raise_exception(vcpu, VECTOR_UD);
}

/* Ends the handler: commit by leaving the block, or fault. */
#define LEAVE_OR_FAULT(vcpu, op, condition) \
    do {                                    \
        if (!(condition))                   \
            FAULT(vcpu, op);                \
        LEAVE(vcpu, op);                    \
    } while (0)

/* For transfers: the callee has set rip when it succeeds. */
#define RETURN_OR_FAULT(vcpu, op, condition) \
    do {                                     \
        if (!(condition))                    \
            FAULT(vcpu, op);                 \
        return;                              \
    } while (0)

static bool load_bytes(struct vcpu *vcpu, const struct op *op, void *bytes, unsigned size)
{
    uint64_t gva;
    return op_linear(vcpu, op, size, false, &gva) &&
           mmu_read(vcpu, gva, bytes, size, vcpu->mmu_mode) != MMU_FAULT;
}

static bool store_bytes(struct vcpu *vcpu, const struct op *op, const void *bytes, unsigned size)
{
    uint64_t gva;
    return op_linear(vcpu, op, size, true, &gva) &&
           mmu_write(vcpu, gva, bytes, size, vcpu->mmu_mode) != MMU_FAULT;
}

/* A 16-bit register or memory source (selectors, LMSW). */
static bool load_word(struct vcpu *vcpu, const struct op *op, uint16_t *value)
{
    if (op->extra & OPERAND_MEMORY)
        return load_bytes(vcpu, op, value, 2);
    *value = register_get16(vcpu, op->extra & OPERAND_SECOND ? op->source : op->destination);
    return true;
}

/* Stores a value to a register of operand size, or 16 bits to memory (SLDT, STR, SMSW, MOV from
 * segment). */
static bool store_word(struct vcpu *vcpu, const struct op *op, uint64_t value)
{
    if (op->extra & OPERAND_MEMORY) {
        uint16_t word = (uint16_t)value;
        return store_bytes(vcpu, op, &word, 2);
    }
    if (op->operand_size == 2)
        register_set16(vcpu, op->destination, (uint16_t)value);
    else
        register_set64(vcpu, op->destination, value & bytes_mask(op->operand_size));
    return true;
}

/* --- halting, time, identification --- */

static void hlt(struct vcpu *vcpu, const struct op *op)
{
    if (!privileged(vcpu))
        FAULT(vcpu, op);
    vcpu->run_state = VCPU_HALTED;
    atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_INTERRUPT); /* makes the loop look */
    LEAVE(vcpu, op);
}

static void cpuid(struct vcpu *vcpu, const struct op *op)
{
    uint64_t *registers = vcpu->registers;
    struct cpuid_result result =
        cpuid_query(vcpu, (uint32_t)registers[GPR_RAX], (uint32_t)registers[GPR_RCX]);
    registers[GPR_RAX] = result.eax;
    registers[GPR_RBX] = result.ebx;
    registers[GPR_RCX] = result.ecx;
    registers[GPR_RDX] = result.edx;
    NEXT(vcpu, op);
}

static bool tsc_allowed(struct vcpu *vcpu)
{
    return !(vcpu->cr4 & CR4_TSD && vcpu->cpl) || raise_error(vcpu, VECTOR_GP, 0);
}

static void set_edx_eax(struct vcpu *vcpu, uint64_t value)
{
    vcpu->registers[GPR_RAX] = (uint32_t)value;
    vcpu->registers[GPR_RDX] = value >> 32;
}

static void rdtsc(struct vcpu *vcpu, const struct op *op)
{
    if (!tsc_allowed(vcpu))
        FAULT(vcpu, op);
    set_edx_eax(vcpu, tsc_read(vcpu));
    NEXT(vcpu, op);
}

static void rdtscp(struct vcpu *vcpu, const struct op *op)
{
    if (!tsc_allowed(vcpu))
        FAULT(vcpu, op);
    set_edx_eax(vcpu, tsc_read(vcpu));
    vcpu->registers[GPR_RCX] = (uint32_t)vcpu->tsc_aux;
    NEXT(vcpu, op);
}

/* There are no performance counters. */
static void rdpmc(struct vcpu *vcpu, const struct op *op)
{
    raise_error(vcpu, VECTOR_GP, 0);
    FAULT(vcpu, op);
}

static void rdmsr(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!privileged(vcpu) || !msr_read(vcpu, (uint32_t)vcpu->registers[GPR_RCX], &value))
        FAULT(vcpu, op);
    set_edx_eax(vcpu, value);
    LEAVE(vcpu, op);
}

static void wrmsr(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value = vcpu->registers[GPR_RDX] << 32 | (uint32_t)vcpu->registers[GPR_RAX];
    LEAVE_OR_FAULT(vcpu, op,
                   privileged(vcpu) && msr_write(vcpu, (uint32_t)vcpu->registers[GPR_RCX], value));
}

/* RDRAND and RDSEED: CF says that there was a number; the host always has one. */
static inline enum mmu_status rdrand_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value = 0;
    bool ok = getrandom(&value, sizeof(value), 0) == (ssize_t)sizeof(value);
    store_word(vcpu, op, ok ? value : 0);
    flags_load(vcpu, ok ? RFLAGS_CF : 0);
    return MMU_OK;
}
DEFINE_HANDLER(rdrand)

static void hypercall(struct vcpu *vcpu, const struct op *op)
{
    if (!vcpu->model->kvm_paravirtual) {
        raise_exception(vcpu, VECTOR_UD);
        FAULT(vcpu, op);
    }
    paravirtual_hypercall(vcpu);
    LEAVE(vcpu, op);
}

/* --- control and debug registers; op->condition: the register's number --- */

static uint64_t control_read(const struct vcpu *vcpu, unsigned number)
{
    const uint64_t values[] = {
        [0] = vcpu->cr0, [2] = vcpu->cr2, [3] = vcpu->cr3, [4] = vcpu->cr4, [8] = vcpu->cr8};
    return values[number];
}

static void mov_from_control(struct vcpu *vcpu, const struct op *op)
{
    if (!privileged(vcpu))
        FAULT(vcpu, op);
    register_set64(vcpu, op->destination, control_read(vcpu, op->condition));
    NEXT(vcpu, op);
}

static bool control_write(struct vcpu *vcpu, unsigned number, uint64_t value)
{
    switch (number) {
    case 0:
        return control_write_cr0(vcpu, value);
    case 2:
        vcpu->cr2 = value;
        return true;
    case 3:
        return control_write_cr3(vcpu, value);
    case 4:
        return control_write_cr4(vcpu, value);
    default:
        return control_write_cr8(vcpu, value);
    }
}

static uint64_t register_full(const struct vcpu *vcpu, uint8_t offset)
{
    uint64_t value = register_get64(vcpu, offset);
    return vcpu->code_mode & CODE_MODE_LONG ? value : (uint32_t)value;
}

static void mov_to_control(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op,
                   privileged(vcpu) &&
                       control_write(vcpu, op->condition, register_full(vcpu, op->source)));
}

static inline enum mmu_status mov_from_debug_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!privileged(vcpu) || !control_read_dr(vcpu, op->condition, &value))
        return MMU_FAULT;
    register_set64(vcpu, op->destination, value);
    return MMU_OK;
}
DEFINE_HANDLER(mov_from_debug)

static void mov_to_debug(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op,
                   privileged(vcpu) &&
                       control_write_dr(vcpu, op->condition, register_full(vcpu, op->source)));
}

static void clts(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op, privileged(vcpu) && control_write_cr0(vcpu, vcpu->cr0 & ~CR0_TS));
}

/* LMSW can set PE but not clear it. */
static void lmsw(struct vcpu *vcpu, const struct op *op)
{
    uint16_t value;
    if (!privileged(vcpu) || !load_word(vcpu, op, &value))
        FAULT(vcpu, op);
    uint64_t kept = vcpu->cr0 & ~(CR0_MP | CR0_EM | CR0_TS);
    LEAVE_OR_FAULT(vcpu, op, control_write_cr0(vcpu, kept | (value & 0xf)));
}

static bool umip_allows(struct vcpu *vcpu)
{
    return !(vcpu->cr4 & CR4_UMIP && vcpu->cpl) || raise_error(vcpu, VECTOR_GP, 0);
}

static void smsw(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op, umip_allows(vcpu) && store_word(vcpu, op, vcpu->cr0));
}

/* --- descriptor tables --- */

static unsigned table_base_size(const struct op *op, const struct vcpu *vcpu)
{
    return vcpu->code_mode & CODE_MODE_LONG ? 8 : 4;
}

static void load_table(struct vcpu *vcpu, const struct op *op)
{
    uint8_t bytes[10];
    unsigned size = table_base_size(op, vcpu);
    if (!privileged(vcpu) || !load_bytes(vcpu, op, bytes, 2 + size))
        FAULT(vcpu, op);
    uint64_t base = load_le(bytes + 2, size);
    if (size == 4 && op->operand_size == 2)
        base &= 0xffffff;
    struct descriptor_table *table = op->condition ? &vcpu->idtr : &vcpu->gdtr;
    table->limit = (uint16_t)load_le(bytes, 2);
    table->base = base;
    LEAVE(vcpu, op);
}

static void store_table(struct vcpu *vcpu, const struct op *op)
{
    uint8_t bytes[10];
    unsigned size = table_base_size(op, vcpu);
    const struct descriptor_table *table = op->condition ? &vcpu->idtr : &vcpu->gdtr;
    store_le(bytes, table->limit, 2);
    store_le(bytes + 2, table->base, size);
    LEAVE_OR_FAULT(vcpu, op, umip_allows(vcpu) && store_bytes(vcpu, op, bytes, 2 + size));
}

/* op->condition: 0 LDTR, 1 TR */
static void load_system_segment(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    if (!protected_only(vcpu) || !privileged(vcpu) || !load_word(vcpu, op, &selector))
        FAULT(vcpu, op);
    LEAVE_OR_FAULT(vcpu, op,
                   op->condition ? segment_load_tr(vcpu, selector)
                                 : segment_load_ldtr(vcpu, selector));
}

static void store_system_segment(struct vcpu *vcpu, const struct op *op)
{
    if (!protected_only(vcpu) || !umip_allows(vcpu))
        FAULT(vcpu, op);
    LEAVE_OR_FAULT(vcpu, op,
                   store_word(vcpu, op, (op->condition ? &vcpu->tr : &vcpu->ldtr)->selector));
}

static void set_zero_flag(struct vcpu *vcpu, bool zero)
{
    flags_load(vcpu, (flags_arithmetic(vcpu) & ~RFLAGS_ZF) | (zero ? RFLAGS_ZF : 0));
}

/* op->condition: 0 LAR, 1 LSL */
static inline enum mmu_status query_segment_work(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    uint32_t value = 0;
    bool ok;
    if (!protected_only(vcpu) || !load_word(vcpu, op, &selector) ||
        !(op->condition ? segment_query_limit(vcpu, selector, &value, &ok)
                        : segment_query_rights(vcpu, selector, &value, &ok)))
        return MMU_FAULT;
    if (ok && op->operand_size == 2)
        register_set16(vcpu, op->destination, (uint16_t)value);
    else if (ok)
        register_set64(vcpu, op->destination, value);
    set_zero_flag(vcpu, ok);
    return MMU_OK;
}
DEFINE_HANDLER(query_segment)

/* op->condition: 0 VERR, 1 VERW */
static inline enum mmu_status verify_segment_work(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    bool ok;
    if (!protected_only(vcpu) || !load_word(vcpu, op, &selector) ||
        !segment_verify(vcpu, selector, op->condition, &ok))
        return MMU_FAULT;
    set_zero_flag(vcpu, ok);
    return MMU_OK;
}
DEFINE_HANDLER(verify_segment)

static void arpl(struct vcpu *vcpu, const struct op *op)
{
    uint16_t value;
    if (!protected_only(vcpu) || !load_word(vcpu, op, &value))
        FAULT(vcpu, op);
    uint16_t rpl = register_get16(vcpu, op->source) & 3;
    bool raise = (value & 3) < rpl;
    if (raise && !store_word(vcpu, op, (value & ~3u) | rpl))
        FAULT(vcpu, op);
    set_zero_flag(vcpu, raise);
    LEAVE(vcpu, op);
}

/* --- TLB and caches --- */

static void invlpg(struct vcpu *vcpu, const struct op *op)
{
    if (!privileged(vcpu))
        FAULT(vcpu, op);
    mmu_flush_page(vcpu, op_offset(vcpu, op) + vcpu->segment_bases[op->segment]);
    LEAVE(vcpu, op);
}

static void invpcid(struct vcpu *vcpu, const struct op *op)
{
    uint8_t bytes[16];
    if (!privileged(vcpu) || !load_bytes(vcpu, op, bytes, 16))
        FAULT(vcpu, op);
    uint64_t type = register_full(vcpu, op->destination), pcid = load_le(bytes, 8);
    uint64_t gva = load_le(bytes + 8, 8);
    bool bad_pcid = pcid >> 12 || (pcid && !(vcpu->cr4 & CR4_PCIDE) && type < 2);
    if (type > 3 || bad_pcid) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    if (type == 0 && (pcid == (vcpu->cr3 & CR3_PCID_MASK) || !(vcpu->cr4 & CR4_PCIDE)))
        mmu_flush_page(vcpu, gva);
    else if (type < 2)
        mmu_flush_pcid(vcpu, (uint16_t)pcid);
    else if (type == 2)
        mmu_flush_all(vcpu);
    else
        mmu_flush_non_global(vcpu);
    LEAVE(vcpu, op);
}

static void cache_control(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op, privileged(vcpu));
}

/* --- segment bases, protection keys --- */

static void swapgs(struct vcpu *vcpu, const struct op *op)
{
    if (!privileged(vcpu))
        FAULT(vcpu, op);
    uint64_t base = vcpu->segments[SEG_GS].base;
    vcpu->segments[SEG_GS].base = vcpu->segment_bases[SEG_GS] = vcpu->kernel_gs_base;
    vcpu->kernel_gs_base = base;
    NEXT(vcpu, op);
}

static bool base_access_allowed(struct vcpu *vcpu)
{
    return vcpu->cr4 & CR4_FSGSBASE || raise_exception(vcpu, VECTOR_UD);
}

/* op->condition: the segment */
static void read_base(struct vcpu *vcpu, const struct op *op)
{
    if (!base_access_allowed(vcpu))
        FAULT(vcpu, op);
    store_word(vcpu, op, vcpu->segments[op->condition].base);
    NEXT(vcpu, op);
}

static void write_base(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value = register_get64(vcpu, op->destination);
    if (op->operand_size == 4)
        value = (uint32_t)value;
    if (!base_access_allowed(vcpu))
        FAULT(vcpu, op);
    if ((uint64_t)((int64_t)(value << 16) >> 16) != value) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    vcpu->segments[op->condition].base = vcpu->segment_bases[op->condition] = value;
    NEXT(vcpu, op);
}

static bool keys_enabled(struct vcpu *vcpu)
{
    return vcpu->cr4 & CR4_PKE || raise_exception(vcpu, VECTOR_UD);
}

static void rdpkru(struct vcpu *vcpu, const struct op *op)
{
    if (!keys_enabled(vcpu))
        FAULT(vcpu, op);
    if ((uint32_t)vcpu->registers[GPR_RCX]) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    set_edx_eax(vcpu, vcpu->pkru);
    NEXT(vcpu, op);
}

static void wrpkru(struct vcpu *vcpu, const struct op *op)
{
    if (!keys_enabled(vcpu))
        FAULT(vcpu, op);
    if ((uint32_t)vcpu->registers[GPR_RCX] || (uint32_t)vcpu->registers[GPR_RDX]) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    uint32_t value = (uint32_t)vcpu->registers[GPR_RAX];
    if (value != vcpu->pkru) {
        vcpu->pkru = value;
        mmu_flush_all(vcpu);
    }
    LEAVE(vcpu, op);
}

/* --- flags --- */

static bool interrupt_flag_allowed(struct vcpu *vcpu)
{
    unsigned iopl = (vcpu->rflags & RFLAGS_IOPL) >> RFLAGS_IOPL_SHIFT;
    return !vcpu_protected(vcpu) || vcpu->cpl <= iopl || raise_error(vcpu, VECTOR_GP, 0);
}

static void cli(struct vcpu *vcpu, const struct op *op)
{
    if (!interrupt_flag_allowed(vcpu))
        FAULT(vcpu, op);
    vcpu->rflags &= ~RFLAGS_IF;
    NEXT(vcpu, op);
}

static void sti(struct vcpu *vcpu, const struct op *op)
{
    if (!interrupt_flag_allowed(vcpu))
        FAULT(vcpu, op);
    if (!(vcpu->rflags & RFLAGS_IF)) {
        vcpu->rflags |= RFLAGS_IF;
        vcpu->interrupt_shadow = true;
        vcpu_recheck_interrupts(vcpu);
    }
    LEAVE(vcpu, op);
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

static bool v86_flags_allowed(struct vcpu *vcpu)
{
    bool allowed = !vcpu_v86(vcpu) || (vcpu->rflags & RFLAGS_IOPL) == RFLAGS_IOPL;
    return allowed || raise_error(vcpu, VECTOR_GP, 0);
}

static void pushf(struct vcpu *vcpu, const struct op *op)
{
    if (!v86_flags_allowed(vcpu))
        FAULT(vcpu, op);
    uint64_t flags = flags_materialise(vcpu) & ~(RFLAGS_VM | RFLAGS_RF);
    NEXT_AFTER_STORE(vcpu, op, stack_push_value(vcpu, flags, op->operand_size));
}

static void popf(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!v86_flags_allowed(vcpu) || !stack_pop_value(vcpu, &value, op->operand_size))
        FAULT(vcpu, op);
    uint64_t mask = flags_writable(vcpu, vcpu->cpl, op->operand_size) & ~RFLAGS_RF;
    control_write_rflags(vcpu, value, mask);
    flags_load(vcpu, value);
    LEAVE(vcpu, op);
}

/* --- segments; op->condition: the segment --- */

static void after_segment_load(struct vcpu *vcpu, const struct op *op)
{
    if (op->condition == SEG_SS)
        vcpu->interrupt_shadow = vcpu->trap_shadow = true;
}

static void mov_to_segment(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    if (!load_word(vcpu, op, &selector) || !segment_load(vcpu, op->condition, selector))
        FAULT(vcpu, op);
    after_segment_load(vcpu, op);
    LEAVE(vcpu, op);
}

static void mov_from_segment(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op, store_word(vcpu, op, vcpu->segments[op->condition].selector));
}

static void push_segment(struct vcpu *vcpu, const struct op *op)
{
    NEXT_AFTER_STORE(
        vcpu, op, stack_push_value(vcpu, vcpu->segments[op->condition].selector, op->operand_size));
}

static void pop_segment(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value, pointer = vcpu->registers[GPR_RSP];
    if (!stack_read_value(vcpu, pointer, &value, op->operand_size) ||
        !segment_load(vcpu, op->condition, (uint16_t)value))
        FAULT(vcpu, op);
    stack_pointer_set(vcpu, pointer + op->operand_size);
    after_segment_load(vcpu, op);
    LEAVE(vcpu, op);
}

/* LDS, LES, LSS, LFS, LGS */
static void load_far_pointer(struct vcpu *vcpu, const struct op *op)
{
    uint8_t bytes[10];
    unsigned size = op->operand_size;
    if (!load_bytes(vcpu, op, bytes, size + 2) ||
        !segment_load(vcpu, op->condition, (uint16_t)load_le(bytes + size, 2)))
        FAULT(vcpu, op);
    uint64_t offset = load_le(bytes, size);
    if (size == 2)
        register_set16(vcpu, op->destination, (uint16_t)offset);
    else
        register_set64(vcpu, op->destination, offset);
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
    if (!load_bytes(vcpu, op, bytes, size + 2))
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

/* INT n, INT3, INT1: immediate is the vector. */
static void software_interrupt(struct vcpu *vcpu, const struct op *op)
{
    flags_materialise(vcpu);
    vcpu->rip = op_next_rip(vcpu, op);
    if (!interrupt_deliver(vcpu, (unsigned)op->immediate, INTERRUPT_SOFTWARE))
        FAULT(vcpu, op);
    flags_load(vcpu, vcpu->rflags);
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
    flags_load(vcpu, vcpu->rflags);
}

static void sysret(struct vcpu *vcpu, const struct op *op)
{
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

/* What needs no look at its operands; the third column goes to op->condition. */
static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handler;
    uint8_t condition;
    bool goes_on; /* the block may continue behind it */
} instructions[] = {
    {ZYDIS_MNEMONIC_HLT, hlt, 0, false},
    {ZYDIS_MNEMONIC_CPUID, cpuid, 0, true},
    {ZYDIS_MNEMONIC_RDTSC, rdtsc, 0, true},
    {ZYDIS_MNEMONIC_RDTSCP, rdtscp, 0, true},
    {ZYDIS_MNEMONIC_RDPMC, rdpmc, 0, false},
    {ZYDIS_MNEMONIC_RDMSR, rdmsr, 0, false},
    {ZYDIS_MNEMONIC_WRMSR, wrmsr, 0, false},
    {ZYDIS_MNEMONIC_RDRAND, rdrand, 0, true},
    {ZYDIS_MNEMONIC_RDSEED, rdrand, 0, true},
    {ZYDIS_MNEMONIC_VMCALL, hypercall, 0, false},
    {ZYDIS_MNEMONIC_VMMCALL, hypercall, 0, false},
    {ZYDIS_MNEMONIC_CLTS, clts, 0, false},
    {ZYDIS_MNEMONIC_LMSW, lmsw, 0, false},
    {ZYDIS_MNEMONIC_SMSW, smsw, 0, false},
    {ZYDIS_MNEMONIC_LGDT, load_table, 0, false},
    {ZYDIS_MNEMONIC_LIDT, load_table, 1, false},
    {ZYDIS_MNEMONIC_SGDT, store_table, 0, false},
    {ZYDIS_MNEMONIC_SIDT, store_table, 1, false},
    {ZYDIS_MNEMONIC_LLDT, load_system_segment, 0, false},
    {ZYDIS_MNEMONIC_LTR, load_system_segment, 1, false},
    {ZYDIS_MNEMONIC_SLDT, store_system_segment, 0, false},
    {ZYDIS_MNEMONIC_STR, store_system_segment, 1, false},
    {ZYDIS_MNEMONIC_LAR, query_segment, 0, true},
    {ZYDIS_MNEMONIC_LSL, query_segment, 1, true},
    {ZYDIS_MNEMONIC_VERR, verify_segment, 0, true},
    {ZYDIS_MNEMONIC_VERW, verify_segment, 1, true},
    {ZYDIS_MNEMONIC_ARPL, arpl, 0, false},
    {ZYDIS_MNEMONIC_INVLPG, invlpg, 0, false},
    {ZYDIS_MNEMONIC_INVPCID, invpcid, 0, false},
    {ZYDIS_MNEMONIC_INVD, cache_control, 0, false},
    {ZYDIS_MNEMONIC_WBINVD, cache_control, 0, false},
    {ZYDIS_MNEMONIC_SWAPGS, swapgs, 0, true},
    {ZYDIS_MNEMONIC_RDFSBASE, read_base, SEG_FS, true},
    {ZYDIS_MNEMONIC_RDGSBASE, read_base, SEG_GS, true},
    {ZYDIS_MNEMONIC_WRFSBASE, write_base, SEG_FS, true},
    {ZYDIS_MNEMONIC_WRGSBASE, write_base, SEG_GS, true},
    {ZYDIS_MNEMONIC_RDPKRU, rdpkru, 0, true},
    {ZYDIS_MNEMONIC_WRPKRU, wrpkru, 0, false},
    {ZYDIS_MNEMONIC_CLI, cli, 0, true},
    {ZYDIS_MNEMONIC_STI, sti, 0, false},
    {ZYDIS_MNEMONIC_CLAC, change_ac, 0, true},
    {ZYDIS_MNEMONIC_STAC, change_ac, 1, true},
    {ZYDIS_MNEMONIC_PUSHF, pushf, 0, true},
    {ZYDIS_MNEMONIC_PUSHFD, pushf, 0, true},
    {ZYDIS_MNEMONIC_PUSHFQ, pushf, 0, true},
    {ZYDIS_MNEMONIC_POPF, popf, 0, false},
    {ZYDIS_MNEMONIC_POPFD, popf, 0, false},
    {ZYDIS_MNEMONIC_POPFQ, popf, 0, false},
    {ZYDIS_MNEMONIC_LDS, load_far_pointer, SEG_DS, false},
    {ZYDIS_MNEMONIC_LES, load_far_pointer, SEG_ES, false},
    {ZYDIS_MNEMONIC_LSS, load_far_pointer, SEG_SS, false},
    {ZYDIS_MNEMONIC_LFS, load_far_pointer, SEG_FS, false},
    {ZYDIS_MNEMONIC_LGS, load_far_pointer, SEG_GS, false},
    {ZYDIS_MNEMONIC_IRET, iret, 0, false},
    {ZYDIS_MNEMONIC_IRETD, iret, 0, false},
    {ZYDIS_MNEMONIC_IRETQ, iret, 0, false},
    {ZYDIS_MNEMONIC_SYSCALL, syscall, 0, false},
    {ZYDIS_MNEMONIC_SYSRET, sysret, 0, false},
    {ZYDIS_MNEMONIC_SYSENTER, sysenter, 0, false},
    {ZYDIS_MNEMONIC_SYSEXIT, sysexit, 0, false},
};

static op_handler *select_segment_move(struct selection *selection)
{
    struct op *op = selection->op;
    const ZydisDecodedOperand *operands = selection->operands;
    unsigned segments[2];
    for (unsigned i = 0; i < 2; i++) {
        ZydisRegister name = operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER ? operands[i].reg.value
                                                                             : ZYDIS_REGISTER_NONE;
        segments[i] = name >= ZYDIS_REGISTER_ES && name <= ZYDIS_REGISTER_GS
                          ? (unsigned)(name - ZYDIS_REGISTER_ES)
                          : SEG_COUNT;
    }
    if (segments[0] < SEG_COUNT && segments[0] != SEG_CS) {
        op->condition = (uint8_t)segments[0];
        return mov_to_segment;
    }
    op->condition = (uint8_t)segments[1];
    return segments[1] < SEG_COUNT ? mov_from_segment : NULL;
}

/* MOV to or from CRn and DRn. */
static op_handler *select_control_move(struct selection *selection)
{
    static const struct {
        ZydisRegister first, last;
        op_handler *read, *write;
        uint16_t valid; /* register numbers */
    } kinds[] = {
        {ZYDIS_REGISTER_CR0, ZYDIS_REGISTER_CR15, mov_from_control, mov_to_control,
         1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 8},
        {ZYDIS_REGISTER_DR0, ZYDIS_REGISTER_DR15, mov_from_debug, mov_to_debug, 0xff},
    };
    for (unsigned operand = 0; operand < 2; operand++) {
        if (selection->operands[operand].type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        ZydisRegister name = selection->operands[operand].reg.value;
        for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
            unsigned number = (unsigned)(name - kinds[i].first);
            if (name < kinds[i].first || name > kinds[i].last || !(kinds[i].valid >> number & 1))
                continue;
            selection->op->condition = (uint8_t)number;
            return operand ? kinds[i].read : kinds[i].write;
        }
    }
    return NULL;
}

/* PUSH or POP of a segment register. */
static op_handler *select_segment_stack(struct selection *selection, op_handler *handler)
{
    ZydisRegister name = selection->operands[0].reg.value;
    if (selection->operands[0].type != ZYDIS_OPERAND_TYPE_REGISTER || name < ZYDIS_REGISTER_ES ||
        name > ZYDIS_REGISTER_GS)
        return NULL;
    selection->op->condition = (uint8_t)(name - ZYDIS_REGISTER_ES);
    /* The operand's width is the selector's; the stack moves by the instruction's operand size. */
    unsigned size = selection->instruction.operand_width / 8;
    if (selection->code_mode & CODE_MODE_LONG && size == 4)
        size = 8;
    selection->op->operand_size = (uint8_t)size;
    return handler;
}

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
        return software_interrupt;
    case ZYDIS_MNEMONIC_INT3:
        op->immediate = VECTOR_BP;
        return software_interrupt;
    case ZYDIS_MNEMONIC_INT1:
        op->immediate = VECTOR_DB;
        return software_interrupt;
    case ZYDIS_MNEMONIC_INTO:
        op->immediate = VECTOR_OF;
        return interrupt_on_overflow;
    default:
        return NULL;
    }
}

static op_handler *select_by_operands(struct selection *selection)
{
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOV: {
        op_handler *handler = select_segment_move(selection);
        return handler ? handler : select_control_move(selection);
    }
    case ZYDIS_MNEMONIC_PUSH:
        return select_segment_stack(selection, push_segment);
    case ZYDIS_MNEMONIC_POP:
        return select_segment_stack(selection, pop_segment);
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_RET:
        return select_far(selection);
    default:
        return select_interrupt(selection);
    }
}

op_handler *select_system(struct selection *selection)
{
    struct op *op = selection->op;
    selection_form(selection);
    op->extra = (selection->memory_operand >= 0 ? OPERAND_MEMORY : 0) |
                (selection->instruction.operand_count_visible > 1 ? OPERAND_SECOND : 0);
    if (selection->instruction.mnemonic == ZYDIS_MNEMONIC_ARPL)
        op->extra &= ~(uint64_t)OPERAND_SECOND; /* the selector to adjust is the first operand */
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        if (instructions[i].mnemonic != selection->instruction.mnemonic)
            continue;
        op->condition = instructions[i].condition;
        selection->ends_block = !instructions[i].goes_on;
        return instructions[i].handler;
    }
    op_handler *handler = select_by_operands(selection);
    selection->ends_block = true;
    return handler ? handler : select_port(selection);
}
