/* SPDX-License-Identifier: Apache-2.0 */
/* Writing x86-64 host instructions into a buffer: only the forms the translator uses. */
#ifndef NACRE_CPU_TRANSLATE_EMIT_H
#define NACRE_CPU_TRANSLATE_EMIT_H

#include "cpu/vcpu.h"

#include <stddef.h>

/* The two scratch registers. S0 holds addresses; both are free between guest instructions. */
#define S0 GPR_R14
#define S1 GPR_R15

/* Of a field of struct vcpu, as a displacement from the GS base. */
#define VCPU(field)           ((int32_t)offsetof(struct vcpu, field))
#define VCPU_REGISTER(number) (VCPU(registers) + (int32_t)(number)*8)

/* A buffer that code is built in before it is copied to the cache. */
struct emitter {
    uint8_t *bytes;
    uint32_t length, capacity;
    bool overflow; /* something did not fit */
};

void emit_bytes(struct emitter *emitter, const void *bytes, unsigned count);
void emit_byte(struct emitter *emitter, uint8_t byte);
void emit_u32(struct emitter *emitter, uint32_t value);
void emit_u64(struct emitter *emitter, uint64_t value);

/* Arithmetic opcodes of the form `op r64, r/m64`. */
enum emit_opcode {
    OPCODE_ADD = 0x03,
    OPCODE_AND = 0x23,
    OPCODE_XOR = 0x33,
    OPCODE_CMP = 0x3b,
    OPCODE_STORE = 0x89, /* mov r/m, r */
    OPCODE_LOAD = 0x8b,  /* mov r, r/m */
    OPCODE_LEA = 0x8d,
};

#define NO_REGISTER 0xff

/* A host memory operand without segment: base + index << scale + displacement. */
struct emit_address {
    uint8_t base, index; /* host register numbers or NO_REGISTER; index is never RSP */
    uint8_t scale;       /* 0 to 3 */
    int32_t displacement;
};

/* op reg, [address] (or mov [address], reg), 64 bits, or 32 where wide is false. */
void emit_memory(struct emitter *emitter, enum emit_opcode opcode, bool wide, unsigned reg,
                 const struct emit_address *address);
/* op reg, gs:[displacement]. */
void emit_vcpu(struct emitter *emitter, enum emit_opcode opcode, bool wide, unsigned reg,
               int32_t displacement);
/* op reg, gs:[base + displacement]. */
void emit_vcpu_indexed(struct emitter *emitter, enum emit_opcode opcode, unsigned reg,
                       unsigned base, int32_t displacement);
/* mov to, from, 64 bits. */
void emit_move(struct emitter *emitter, unsigned to, unsigned from);
/* mov to, from, 32 bits. */
void emit_move_narrow(struct emitter *emitter, unsigned to, unsigned from);
/* xor to, from, 64 bits. */
void emit_xor(struct emitter *emitter, unsigned to, unsigned from);
/* mov reg, imm: sign-extended 32 bits where that is enough, else 64. */
void emit_constant(struct emitter *emitter, unsigned reg, uint64_t value);
/* rorx to, from, count: a rotate that leaves the flags alone. */
void emit_rorx(struct emitter *emitter, unsigned to, unsigned from, unsigned count);
/* and reg32, imm32. */
void emit_and_constant(struct emitter *emitter, unsigned reg, uint32_t value);
/* and reg64, imm32, sign-extended. */
void emit_and_sign_extended(struct emitter *emitter, unsigned reg, int32_t value);
/* cmp reg, imm32. */
void emit_compare_constant(struct emitter *emitter, unsigned reg, int32_t value);
/* op dword gs:[displacement], imm32. */
enum emit_group1 { OPCODE_GROUP1_OR = 1, OPCODE_GROUP1_AND = 4, OPCODE_GROUP1_XOR = 6 };
void emit_update_vcpu(struct emitter *emitter, enum emit_group1 operation, int32_t displacement,
                      uint32_t value);
/* cmp byte/dword gs:[displacement], 0. */
void emit_test_byte(struct emitter *emitter, int32_t displacement);
void emit_test_dword(struct emitter *emitter, int32_t displacement);
/* jmp gs:[displacement] and jmp gs:[base + displacement]. */
void emit_jump_vcpu(struct emitter *emitter, int32_t displacement);
void emit_jump_vcpu_indexed(struct emitter *emitter, unsigned base, int32_t displacement);

enum emit_condition { CONDITION_E = 4, CONDITION_NE = 5, CONDITION_A = 7 };

/* jmp/jcc with a 32-bit displacement still to be filled in. Returns where the displacement is. The
 * aligned form puts it on a 4-byte boundary, so that it can be changed while others run it. */
uint32_t emit_jump(struct emitter *emitter);
uint32_t emit_jump_if(struct emitter *emitter, unsigned condition);
uint32_t emit_jump_aligned(struct emitter *emitter);
uint32_t emit_jump_if_aligned(struct emitter *emitter, unsigned condition);
/* Lets the jump at `place` lead to the buffer's end. */
void emit_land(struct emitter *emitter, uint32_t place);
/* ... or to another place of it. */
void emit_land_at(struct emitter *emitter, uint32_t place, uint32_t target);

/* No-operations, so that what follows the next `bytes` is on a 4-byte boundary. */
void emit_padding(struct emitter *emitter, unsigned bytes);
/* No-operations up to a multiple of `alignment`. */
void emit_align(struct emitter *emitter, unsigned alignment);

/* Flags into parked_flags and back; S1 is lost. */
void emit_park_flags(struct emitter *emitter);
void emit_unpark_flags(struct emitter *emitter);

#endif
