/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LOCK-prefixed instructions, XCHG with memory (always locked), XADD, CMPXCHG, CMPXCHG8B and 16B.
 * On RAM the host's own atomic instructions do the work, so guests' locks hold between vcpu
 * threads. An operand that crosses a page, or lies in MMIO, is changed under the group's split
 * lock.
 */
#include "cpu/exception.h"
#include "cpu/interpret/operand.h"

/* One atomic step: *old is what was there, *fresh what should be. */
typedef uint64_t compute_function(struct vcpu *vcpu, const struct op *op, uint64_t old);

/* Flags of old + or - operand. */
static void set_add_flags(struct vcpu *vcpu, uint64_t a, uint64_t b, uint64_t result, unsigned size)
{
    uint64_t carries = ((a & b) | ((a | b) & ~result)) & bytes_mask(size);
    flags_set(vcpu, sign_extend(result, size * 8), flags_auxiliary(carries, size * 8));
}

static void set_sub_flags(struct vcpu *vcpu, uint64_t a, uint64_t b, uint64_t result, unsigned size)
{
    uint64_t carries = ((~a & b) | ((~a | b) & result)) & bytes_mask(size);
    flags_set(vcpu, sign_extend(result, size * 8), flags_auxiliary(carries, size * 8));
}

/*
 * The operand may be misaligned: the host's locked instructions bear that, but clang calls
 * libatomic (which takes a lock of its own) unless the type claims its natural alignment.
 */
__attribute__((no_sanitize("alignment"))) static bool
compare_exchange(void *pointer, uint64_t *expected, uint64_t fresh, unsigned size)
{
#define CASE(bits)                                                                              \
    case (bits) / 8: {                                                                          \
        typedef uint##bits##_t natural_u##bits __attribute__((may_alias));                      \
        uint##bits##_t wanted = (uint##bits##_t) * expected;                                    \
        bool done = __atomic_compare_exchange_n((natural_u##bits *)pointer, &wanted,            \
                                                (uint##bits##_t)fresh, false, __ATOMIC_SEQ_CST, \
                                                __ATOMIC_SEQ_CST);                              \
        *expected = wanted;                                                                     \
        return done;                                                                            \
    }
    switch (size) {
        CASE(8)
        CASE(16)
        CASE(32)
        CASE(64)
    default:
        return false;
    }
#undef CASE
}

/* Replaces the operand by fresh(old) in one atomic step; *before is what was there. */
static bool atomic_update(struct vcpu *vcpu, const struct op *op, struct modify *modify,
                          compute_function *compute, uint64_t *before)
{
    unsigned size = op->operand_size;
    bool split = modify->pointer == modify->bounce;
    if (split)
        pthread_mutex_lock(&vcpu->group->split_lock);
    uint64_t old = load_le(modify->pointer, size);
    while (!compare_exchange(modify->pointer, &old, compute(vcpu, op, old), size))
        ;
    *before = old;
    return split;
}

/* Source operand: register, or immediate where op->extra says so. */
static uint64_t operand_value(const struct vcpu *vcpu, const struct op *op)
{
    uint64_t value = op->extra
                         ? op->immediate
                         : load_le((const uint8_t *)vcpu->registers + op->source, op->operand_size);
    return value & bytes_mask(op->operand_size);
}

static uint64_t compute_add(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return old + operand_value(vcpu, op);
}

static uint64_t compute_adc(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return old + operand_value(vcpu, op) + flag_carry(vcpu);
}

static uint64_t compute_sub(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return old - operand_value(vcpu, op);
}

static uint64_t compute_sbb(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return old - operand_value(vcpu, op) - flag_carry(vcpu);
}

static uint64_t compute_and(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return old & operand_value(vcpu, op);
}

static uint64_t compute_or(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return old | operand_value(vcpu, op);
}

static uint64_t compute_xor(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return old ^ operand_value(vcpu, op);
}

static uint64_t compute_inc(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return old + 1;
}

static uint64_t compute_dec(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return old - 1;
}

static uint64_t compute_neg(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return 0 - old;
}

static uint64_t compute_not(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return ~old;
}

static uint64_t compute_exchange(struct vcpu *vcpu, const struct op *op, uint64_t old)
{
    return operand_value(vcpu, op);
}

enum flag_rule { RULE_ADD, RULE_SUB, RULE_LOGIC, RULE_INC, RULE_DEC, RULE_NEG, RULE_NONE };

static void set_flags(struct vcpu *vcpu, const struct op *op, enum flag_rule rule, uint64_t old,
                      uint64_t fresh)
{
    unsigned size = op->operand_size;
    bool carry = flag_carry(vcpu);
    switch (rule) {
    case RULE_ADD:
        set_add_flags(vcpu, old, operand_value(vcpu, op), fresh, size);
        break;
    case RULE_SUB:
        set_sub_flags(vcpu, old, operand_value(vcpu, op), fresh, size);
        break;
    case RULE_LOGIC:
        flags_set_logic(vcpu, sign_extend(fresh, size * 8));
        break;
    case RULE_INC:
        set_add_flags(vcpu, old, 1, fresh, size);
        flags_set_carry(vcpu, carry);
        break;
    case RULE_DEC:
        set_sub_flags(vcpu, old, 1, fresh, size);
        flags_set_carry(vcpu, carry);
        break;
    case RULE_NEG:
        set_sub_flags(vcpu, 0, old, fresh, size);
        break;
    case RULE_NONE:
        break;
    }
}

static enum mmu_status finish(struct vcpu *vcpu, struct modify *modify, unsigned size, bool split)
{
    enum mmu_status status = modify_end(vcpu, modify, size);
    if (split)
        pthread_mutex_unlock(&vcpu->group->split_lock);
    return status;
}

static inline __attribute__((always_inline)) enum mmu_status
locked(struct vcpu *vcpu, const struct op *op, compute_function *compute, enum flag_rule rule)
{
    struct modify modify;
    uint64_t old;
    if (unlikely(!modify_begin(vcpu, op, &modify, op->operand_size)))
        return MMU_FAULT;
    bool split = atomic_update(vcpu, op, &modify, compute, &old);
    /* ADC and SBB read the old carry: compute again before the flags change. */
    set_flags(vcpu, op, rule, old, compute(vcpu, op, old) & bytes_mask(op->operand_size));
    return finish(vcpu, &modify, op->operand_size, split);
}

#define DEFINE_LOCKED(name, rule)                                           \
    static void locked_##name(struct vcpu *vcpu, const struct op *op)       \
    {                                                                       \
        NEXT_AFTER_STORE(vcpu, op, locked(vcpu, op, compute_##name, rule)); \
    }
DEFINE_LOCKED(add, RULE_ADD)
DEFINE_LOCKED(adc, RULE_ADD)
DEFINE_LOCKED(sub, RULE_SUB)
DEFINE_LOCKED(sbb, RULE_SUB)
DEFINE_LOCKED(and, RULE_LOGIC)
DEFINE_LOCKED(or, RULE_LOGIC)
DEFINE_LOCKED(xor, RULE_LOGIC)
DEFINE_LOCKED(inc, RULE_INC)
DEFINE_LOCKED(dec, RULE_DEC)
DEFINE_LOCKED(neg, RULE_NEG)
DEFINE_LOCKED(not, RULE_NONE)

static void register_write(struct vcpu *vcpu, uint8_t offset, uint64_t value, unsigned size)
{
    if (size == 1)
        register_set8(vcpu, offset, (uint8_t)value);
    else if (size == 2)
        register_set16(vcpu, offset, (uint16_t)value);
    else
        register_set64(vcpu, offset, value & bytes_mask(size));
}

static inline enum mmu_status exchange_memory_work(struct vcpu *vcpu, const struct op *op)
{
    struct modify modify;
    uint64_t old;
    if (unlikely(!modify_begin(vcpu, op, &modify, op->operand_size)))
        return MMU_FAULT;
    bool split = atomic_update(vcpu, op, &modify, compute_exchange, &old);
    register_write(vcpu, op->source, old, op->operand_size);
    return finish(vcpu, &modify, op->operand_size, split);
}
DEFINE_HANDLER(exchange_memory)

static inline enum mmu_status exchange_add_memory_work(struct vcpu *vcpu, const struct op *op)
{
    struct modify modify;
    uint64_t old;
    unsigned size = op->operand_size;
    if (unlikely(!modify_begin(vcpu, op, &modify, size)))
        return MMU_FAULT;
    bool split = atomic_update(vcpu, op, &modify, compute_add, &old);
    set_flags(vcpu, op, RULE_ADD, old, (old + operand_value(vcpu, op)) & bytes_mask(size));
    register_write(vcpu, op->source, old, size);
    return finish(vcpu, &modify, size, split);
}
DEFINE_HANDLER(exchange_add_memory)

static void exchange_add_register(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size;
    uint64_t old = load_le(op_register(vcpu, op->destination), size);
    uint64_t sum = (old + operand_value(vcpu, op)) & bytes_mask(size);
    set_flags(vcpu, op, RULE_ADD, old, sum);
    register_write(vcpu, op->source, old, size);
    register_write(vcpu, op->destination, sum, size);
    NEXT(vcpu, op);
}

static void cmpxchg_register(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size;
    uint64_t accumulator = load_le(&vcpu->registers[GPR_RAX], size);
    uint64_t old = load_le(op_register(vcpu, op->destination), size);
    set_sub_flags(vcpu, accumulator, old, (accumulator - old) & bytes_mask(size), size);
    if (accumulator == old)
        register_write(vcpu, op->destination, operand_value(vcpu, op), size);
    else
        register_write(vcpu, GPR_RAX * 8, old, size);
    NEXT(vcpu, op);
}

static inline enum mmu_status cmpxchg_memory_work(struct vcpu *vcpu, const struct op *op)
{
    struct modify modify;
    unsigned size = op->operand_size;
    if (unlikely(!modify_begin(vcpu, op, &modify, size)))
        return MMU_FAULT;
    bool split = modify.pointer == modify.bounce;
    if (split)
        pthread_mutex_lock(&vcpu->group->split_lock);
    uint64_t accumulator = load_le(&vcpu->registers[GPR_RAX], size), old = accumulator;
    bool equal = compare_exchange(modify.pointer, &old, operand_value(vcpu, op), size);
    set_sub_flags(vcpu, accumulator, old, (accumulator - old) & bytes_mask(size), size);
    if (!equal)
        register_write(vcpu, GPR_RAX * 8, old, size);
    return finish(vcpu, &modify, size, split);
}
DEFINE_HANDLER(cmpxchg_memory)

static inline enum mmu_status cmpxchg8b_work(struct vcpu *vcpu, const struct op *op)
{
    struct modify modify;
    if (unlikely(!modify_begin(vcpu, op, &modify, 8)))
        return MMU_FAULT;
    bool split = modify.pointer == modify.bounce;
    if (split)
        pthread_mutex_lock(&vcpu->group->split_lock);
    uint64_t *registers = vcpu->registers;
    uint64_t old = registers[GPR_RDX] << 32 | (uint32_t)registers[GPR_RAX];
    uint64_t fresh = registers[GPR_RCX] << 32 | (uint32_t)registers[GPR_RBX];
    bool equal = compare_exchange(modify.pointer, &old, fresh, 8);
    flags_set_zero(vcpu, equal);
    if (!equal) {
        registers[GPR_RAX] = (uint32_t)old;
        registers[GPR_RDX] = old >> 32;
    }
    return finish(vcpu, &modify, 8, split);
}
DEFINE_HANDLER(cmpxchg8b)

static bool compare_exchange16(void *pointer, uint64_t old[2], const uint64_t fresh[2])
{
#ifdef __x86_64__
    bool equal;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(equal), "+m"(*(char(*)[16])pointer), "+a"(old[0]), "+d"(old[1])
                     : "b"(fresh[0]), "c"(fresh[1])
                     : "memory");
    return equal;
#else
    unsigned __int128 wanted = (unsigned __int128)old[1] << 64 | old[0];
    bool equal = __atomic_compare_exchange_n((unsigned __int128 *)pointer, &wanted,
                                             (unsigned __int128)fresh[1] << 64 | fresh[0], false,
                                             __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    old[0] = (uint64_t)wanted;
    old[1] = (uint64_t)(wanted >> 64);
    return equal;
#endif
}

static inline enum mmu_status cmpxchg16b_work(struct vcpu *vcpu, const struct op *op)
{
    struct modify modify;
    uint64_t *registers = vcpu->registers, gva;
    if (unlikely(!op_linear(vcpu, op, 16, true, &gva)))
        return MMU_FAULT;
    if (gva & 15) {
        raise_error(vcpu, VECTOR_GP, 0);
        return MMU_FAULT;
    }
    if (unlikely(!modify_begin(vcpu, op, &modify, 16)))
        return MMU_FAULT;
    uint64_t bounce[2] __attribute__((aligned(16))) = {0};
    bool split = modify.pointer == modify.bounce;
    void *pointer = split ? bounce : modify.pointer;
    if (split)
        memcpy(bounce, modify.bounce, 16);
    uint64_t old[2] = {registers[GPR_RAX], registers[GPR_RDX]};
    const uint64_t fresh[2] = {registers[GPR_RBX], registers[GPR_RCX]};
    bool equal = compare_exchange16(pointer, old, fresh);
    if (split)
        memcpy(modify.bounce, bounce, 16);
    flags_set_zero(vcpu, equal);
    if (!equal) {
        registers[GPR_RAX] = old[0];
        registers[GPR_RDX] = old[1];
    }
    return modify_end(vcpu, &modify, 16);
}
DEFINE_HANDLER(cmpxchg16b)

static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handler;
} lockable[] = {
    {ZYDIS_MNEMONIC_ADD, locked_add}, {ZYDIS_MNEMONIC_ADC, locked_adc},
    {ZYDIS_MNEMONIC_SUB, locked_sub}, {ZYDIS_MNEMONIC_SBB, locked_sbb},
    {ZYDIS_MNEMONIC_AND, locked_and}, {ZYDIS_MNEMONIC_OR, locked_or},
    {ZYDIS_MNEMONIC_XOR, locked_xor}, {ZYDIS_MNEMONIC_INC, locked_inc},
    {ZYDIS_MNEMONIC_DEC, locked_dec}, {ZYDIS_MNEMONIC_NEG, locked_neg},
    {ZYDIS_MNEMONIC_NOT, locked_not},
};

op_handler *select_atomic(struct selection *selection)
{
    struct op *op = selection->op;
    ZydisMnemonic mnemonic = selection->instruction.mnemonic;
    bool memory = selection->memory_operand >= 0;
    bool exchange = mnemonic == ZYDIS_MNEMONIC_XCHG && memory;
    bool ours = mnemonic == ZYDIS_MNEMONIC_XADD || mnemonic == ZYDIS_MNEMONIC_CMPXCHG;
    if (mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B)
        return cmpxchg8b;
    if (mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B)
        return cmpxchg16b;
    if (!exchange && !ours && !(op->flags & OP_LOCK))
        return NULL;
    enum operand_form form = selection_form(selection);
    unsigned size = selection->operands[0].size / 8;
    if (exchange && selection->memory_operand == 1)
        op->source = op->destination; /* xchg reg, mem is xchg mem, reg */
    if (exchange || ours || memory)
        op->operand_size = (uint8_t)size;
    op->extra = form == FORM_MEMORY_IMMEDIATE;
    if (exchange)
        return exchange_memory;
    if (mnemonic == ZYDIS_MNEMONIC_XADD)
        return memory ? exchange_add_memory : exchange_add_register;
    if (mnemonic == ZYDIS_MNEMONIC_CMPXCHG)
        return memory ? cmpxchg_memory : cmpxchg_register;
    for (unsigned i = 0; i < ARRAY_SIZE(lockable); i++)
        if (lockable[i].mnemonic == mnemonic)
            return lockable[i].handler;
    return NULL; /* BTS, BTR, BTC: bit.c sees OP_LOCK */
}
