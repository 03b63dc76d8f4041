/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interpret/native.h"

#include "cpu/control.h"
#include "cpu/vector_image.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE_SIZE   MIB(1)
#define CODE_MARGIN KIB(32) /* more than one block's worth of stubs */
#define STUB_MAX    384
#define TABLE_SIZE  4096

/* Stubs made so far, found again by their code. */
struct stub_entry {
    uint32_t offset, length;
    struct stub_entry *next;
};

struct native {
    int fd;
    uint8_t *writable;
    const uint8_t *executable;
    size_t used;
    struct stub_entry *table[TABLE_SIZE];
};

struct native *native_create(struct error *error)
{
    struct native *native = calloc(1, sizeof(*native));
    if (!native) {
        error_set(error, ENOMEM, "interpreter: out of memory");
        return NULL;
    }
    void *writable = MAP_FAILED, *executable = MAP_FAILED;
    native->fd = memfd_create("nacre-stubs", MFD_CLOEXEC);
    if (native->fd >= 0 && ftruncate(native->fd, CODE_SIZE) == 0) {
        writable = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, native->fd, 0);
        executable = mmap(NULL, CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, native->fd, 0);
    }
    native->writable = writable == MAP_FAILED ? NULL : writable;
    native->executable = executable == MAP_FAILED ? NULL : executable;
    if (!native->writable || !native->executable) {
        error_set(error, errno, "interpreter: cannot map executable memory: %s", strerror(errno));
        native_destroy(native);
        return NULL;
    }
    return native;
}

void native_reset(struct native *native)
{
    for (unsigned i = 0; i < TABLE_SIZE; i++) {
        while (native->table[i]) {
            struct stub_entry *next = native->table[i]->next;
            free(native->table[i]);
            native->table[i] = next;
        }
    }
    native->used = 0;
}

void native_destroy(struct native *native)
{
    if (!native)
        return;
    native_reset(native);
    if (native->writable)
        munmap(native->writable, CODE_SIZE);
    if (native->executable)
        munmap((void *)native->executable, CODE_SIZE);
    if (native->fd >= 0)
        close(native->fd);
    free(native);
}

bool native_is_full(const struct native *native)
{
    return native->used + CODE_MARGIN > CODE_SIZE;
}

struct emitter {
    uint8_t code[STUB_MAX];
    size_t length;
};

static void emit(struct emitter *emitter, const void *bytes, size_t count)
{
    memcpy(emitter->code + emitter->length, bytes, count);
    emitter->length += count;
}

static void emit_bytes1(struct emitter *emitter, uint8_t a)
{
    emit(emitter, &a, 1);
}

static void emit_disp32(struct emitter *emitter, uint32_t displacement)
{
    emit(emitter, &displacement, 4);
}

/* Host registers that stand for the guest's general ones: rax, rcx, rdx, r9. The first three are
 * also those that instructions name by themselves. */
#define GENERAL_COUNT 4
static const uint8_t general_numbers[GENERAL_COUNT] = {GPR_RAX, GPR_RCX, GPR_RDX, GPR_R9};
/* Slots of the registers in an instruction's bytes, in turn. */
static const uint8_t visible_slots[] = {0, 1, 3};

/* mov between the host register of a slot and the guest's file at [rsi + offset]. */
static void emit_general(struct emitter *emitter, unsigned slot, uint32_t offset, bool store)
{
    unsigned number = general_numbers[slot];
    const uint8_t bytes[] = {number & 8 ? 0x4c : 0x48, store ? 0x89 : 0x8b,
                             (uint8_t)(0x86 | (number & 7) << 3)};
    emit(emitter, bytes, sizeof(bytes));
    emit_disp32(emitter, offset);
}

/* Which parts of vector registers an instruction may change. */
enum stub_width {
    WIDTH_XMM, /* legacy encoding */
    WIDTH_YMM, /* VEX: the rest of the register becomes zero */
    WIDTH_ZMM, /* the same, where the model has AVX-512; EVEX */
};

/* What the stub has to do around the instruction. */
struct stub_plan {
    enum stub_width width;
    uint32_t vector_load, vector_store; /* bit n: XMMn, YMMn, ZMMn */
    uint8_t opmask_load, opmask_store;
    struct {
        bool used, stored;
        uint32_t offset; /* in the guest's register file */
    } general[GENERAL_COUNT];
    bool flags;
};

static void emit_part(struct emitter *emitter, enum vector_part part, unsigned number, bool store)
{
    uint8_t code[VECTOR_MOVE_MAX];
    unsigned length = vector_move_encode(code, part, number, store, IMAGE_AT_RDI, 0);
    emit(emitter, code, length);
}

/* The vector register between the host's and the guest's copy. */
static void emit_vector(struct emitter *emitter, enum stub_width width, unsigned number, bool store)
{
    if (number >= 16) {
        emit_part(emitter, PART_ZMM, number, store);
        return;
    }
    emit_part(emitter, width == WIDTH_XMM ? PART_XMM : PART_LOW, number, store);
    if (width >= WIDTH_YMM)
        emit_part(emitter, PART_YMM_HIGH, number, store);
    if (width == WIDTH_ZMM)
        emit_part(emitter, PART_ZMM_HIGH, number, store);
}

static ZydisRegister host_register(unsigned number, ZyanU16 bits)
{
    static const ZydisRegister bases[] = {ZYDIS_REGISTER_AL, ZYDIS_REGISTER_AX, ZYDIS_REGISTER_EAX,
                                          ZYDIS_REGISTER_RAX};
    return bases[__builtin_ctz(bits / 8)] + (ZydisRegister)number;
}

/* Number of an XMM, YMM or ZMM register; -1: it is none. */
static int vector_number(ZydisRegister name)
{
    switch (ZydisRegisterGetClass(name)) {
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM:
        return ZydisRegisterGetId(name);
    default:
        return -1;
    }
}

static bool is_flags(ZydisRegister name)
{
    return name == ZYDIS_REGISTER_FLAGS || name == ZYDIS_REGISTER_EFLAGS ||
           name == ZYDIS_REGISTER_RFLAGS;
}

/* The slot that already stands for the register, or the next free one. Two results in one register
 * must be one: MULX. */
static unsigned visible_slot(const struct stub_plan *plan, int offset, unsigned *next)
{
    for (unsigned i = 0; i < *next && i < ARRAY_SIZE(visible_slots); i++)
        if (plan->general[visible_slots[i]].offset == (uint32_t)offset)
            return visible_slots[i];
    return *next < ARRAY_SIZE(visible_slots) ? visible_slots[(*next)++] : GENERAL_COUNT;
}

/* Gives each general register a host register: visible ones by turns; hidden ones their own. */
static bool plan_general(struct stub_plan *plan, const ZydisDecodedOperand *operand, bool visible,
                         ZydisEncoderOperand *encoded, unsigned *next)
{
    int offset = selection_register(operand->reg.value);
    if (offset < 0)
        return false;
    unsigned slot = visible ? visible_slot(plan, offset, next) : (unsigned)offset / 8;
    if (slot >= GENERAL_COUNT)
        return false;
    plan->general[slot].used = true;
    plan->general[slot].offset = (uint32_t)offset;
    if (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
        plan->general[slot].stored = true;
    if (visible)
        encoded->reg.value = host_register(general_numbers[slot], operand->size);
    return true;
}

static bool plan_operand(struct stub_plan *plan, const ZydisDecodedOperand *operand, bool visible,
                         ZydisEncoderOperand *encoded, unsigned *next)
{
    if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        if (!visible)
            return false;
        encoded->mem.base = ZYDIS_REGISTER_R8;
        encoded->mem.index = ZYDIS_REGISTER_NONE;
        encoded->mem.scale = 0;
        encoded->mem.displacement = 0;
        return true;
    }
    if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return true;
    ZydisRegister name = operand->reg.value;
    bool written = operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    int vector = vector_number(name);
    if (vector >= 0) {
        plan->vector_load |= 1u << vector;
        plan->vector_store |= written ? 1u << vector : 0;
        return true;
    }
    if (ZydisRegisterGetClass(name) == ZYDIS_REGCLASS_MASK) {
        uint8_t bit = (uint8_t)(1u << ZydisRegisterGetId(name));
        plan->opmask_load |= bit;
        plan->opmask_store |= written ? bit : 0;
        return true;
    }
    if (is_flags(name)) {
        plan->flags = true;
        return true;
    }
    if (selection_register(name) >= 0)
        return plan_general(plan, operand, visible, encoded, next);
    return true; /* MMX and x87 registers, MXCSR: live on the host */
}

static bool encode(const struct selection *selection, struct stub_plan *plan, uint8_t *code,
                   ZyanUSize *length)
{
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    ZydisEncoderRequest request;
    unsigned next = 0;
    if (!ZYAN_SUCCESS(ZydisEncoderDecodedInstructionToEncoderRequest(
            instruction, selection->operands, instruction->operand_count_visible, &request)))
        return false;
    for (unsigned i = 0; i < instruction->operand_count; i++) {
        bool visible = i < instruction->operand_count_visible;
        if (!plan_operand(plan, &selection->operands[i], visible,
                          visible ? &request.operands[i] : NULL, &next))
            return false;
    }
    request.machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
    request.address_size_hint = ZYDIS_ADDRESS_SIZE_HINT_NONE;
    request.prefixes = 0;
    *length = ZYDIS_MAX_INSTRUCTION_LENGTH;
    return ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, code, length));
}

static enum stub_width width_of(const struct selection *selection)
{
    if (selection->instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return WIDTH_XMM;
    return selection->vcpu->model->xcr0_supported & XSTATE_ZMM_HI256 ? WIDTH_ZMM : WIDTH_YMM;
}

static void emit_registers(struct emitter *emitter, const struct stub_plan *plan, bool store)
{
    uint32_t vectors = store ? plan->vector_store : plan->vector_load;
    uint8_t opmasks = store ? plan->opmask_store : plan->opmask_load;
    for (unsigned i = 0; i < 32; i++)
        if (vectors >> i & 1)
            emit_vector(emitter, plan->width, i, store);
    for (unsigned i = 0; i < 8; i++)
        if (opmasks >> i & 1)
            emit_part(emitter, PART_OPMASK, i, store);
}

static bool build(const struct selection *selection, struct emitter *emitter)
{
    struct stub_plan plan = {.width = width_of(selection)};
    uint8_t code[ZYDIS_MAX_INSTRUCTION_LENGTH];
    ZyanUSize length;
    if (!encode(selection, &plan, code, &length))
        return false;
    /* At most four vector, three opmask and four general registers: the code fits STUB_MAX. */
    if (__builtin_popcount(plan.vector_load) > 4)
        return false;
    static const uint8_t memory_to_r8[] = {0x49, 0x89, 0xd0}; /* mov r8, rdx */
    static const uint8_t flags_in[] = {0x51, 0x9d};           /* push rcx; popfq */
    static const uint8_t flags_out[] = {0x9c, 0x58};          /* pushfq; pop rax */
    static const uint8_t vzeroupper[] = {0xc5, 0xf8, 0x77};
    emit(emitter, memory_to_r8, sizeof(memory_to_r8));
    emit_registers(emitter, &plan, false);
    if (plan.flags)
        emit(emitter, flags_in, sizeof(flags_in));
    for (unsigned i = 0; i < GENERAL_COUNT; i++)
        if (plan.general[i].used)
            emit_general(emitter, i, plan.general[i].offset, false);
    emit(emitter, code, length);
    for (unsigned i = 0; i < GENERAL_COUNT; i++)
        if (plan.general[i].stored)
            emit_general(emitter, i, plan.general[i].offset, true);
    emit_registers(emitter, &plan, true);
    if (plan.width != WIDTH_XMM && plan.vector_load)
        emit(emitter, vzeroupper, sizeof(vzeroupper));
    if (plan.flags)
        emit(emitter, flags_out, sizeof(flags_out));
    emit_bytes1(emitter, 0xc3);
    return true;
}

static unsigned hash_code(const uint8_t *code, size_t length)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ code[i]) * 16777619u;
    return hash % TABLE_SIZE;
}

native_stub *native_stub_for(struct native *native, const struct selection *selection)
{
    struct emitter emitter = {.length = 0};
    if (!build(selection, &emitter))
        return NULL;
    struct stub_entry **bucket = &native->table[hash_code(emitter.code, emitter.length)];
    for (struct stub_entry *entry = *bucket; entry; entry = entry->next)
        if (entry->length == emitter.length &&
            !memcmp(native->executable + entry->offset, emitter.code, emitter.length))
            return (native_stub *)(uintptr_t)(native->executable + entry->offset);
    struct stub_entry *entry = malloc(sizeof(*entry));
    if (!entry || native->used + emitter.length > CODE_SIZE) {
        free(entry);
        return NULL;
    }
    *entry = (struct stub_entry){
        .offset = (uint32_t)native->used, .length = (uint32_t)emitter.length, .next = *bucket};
    memcpy(native->writable + native->used, emitter.code, emitter.length);
    native->used = align_up(native->used + emitter.length, 16);
    *bucket = entry;
    return (native_stub *)(uintptr_t)(native->executable + entry->offset);
}
