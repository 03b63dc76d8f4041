/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intel SDM vol. 2 §2.3 (VEX), §2.7 (EVEX). The bits that extend register numbers are inverted.
 * Only these and the operand bytes change; map, width, length, mask and rounding are the guest's
 * own.
 */
#include "cpu/translate/rewrite_vex.h"

#define VEX2 0xc5
#define VEX3 0xc4

/* First payload byte of VEX3 and EVEX: extensions of ModRM.reg, of an index, of ModRM.rm. */
#define NOT_R      0x80
#define NOT_X      0x40
#define NOT_B      0x20
#define NOT_R_HIGH 0x10 /* EVEX */
#define MAP_0F     1
#define VVVV_SHIFT 3 /* in the second byte */
#define VVVV       (15 << VVVV_SHIFT)
#define NOT_V_HIGH 8 /* in EVEX's third byte */

/* A prefix as EVEX has it, of which VEX uses a part. */
struct prefix {
    uint8_t extensions, second, third;
};

static void set_bit(uint8_t *byte, uint8_t bit, bool value)
{
    *byte = (uint8_t)(value ? *byte | bit : *byte & ~bit);
}

static void replace_registers(struct prefix *prefix, const struct vex_registers *registers)
{
    if (registers->reg != NO_REGISTER) {
        set_bit(&prefix->extensions, NOT_R, !(registers->reg & 8));
        set_bit(&prefix->extensions, NOT_R_HIGH, true);
    }
    if (registers->vvvv != NO_REGISTER) {
        prefix->second =
            (uint8_t)((prefix->second & ~VVVV) | ((unsigned)~registers->vvvv << VVVV_SHIFT & VVVV));
        prefix->third |= NOT_V_HIGH;
    }
    if (registers->rm != NO_REGISTER) {
        set_bit(&prefix->extensions, NOT_B, !(registers->rm & 8));
        prefix->extensions |= NOT_X; /* no index, and no upper half of the vector registers */
    }
}

/* Takes the prefix apart. Returns the bytes up to the opcode. */
static unsigned read_prefix(const uint8_t *bytes, struct prefix *prefix)
{
    unsigned at = 0;
    while (rewrite_is_prefix(bytes[at])) /* a segment or an address size */
        at++;
    const uint8_t *payload = bytes + at + 1;
    switch (bytes[at]) {
    case VEX2: /* R, vvvv, L and pp in one byte */
        prefix->extensions = (uint8_t)((payload[0] & NOT_R) | NOT_X | NOT_B | MAP_0F);
        prefix->second = payload[0] & 0x7f;
        return at + 2;
    case VEX3:
        prefix->extensions = payload[0];
        prefix->second = payload[1];
        return at + 3;
    default:
        prefix->extensions = payload[0];
        prefix->second = payload[1];
        prefix->third = payload[2];
        return at + 4;
    }
}

void rewrite_vex(struct emitter *emitter, const struct instruction *instruction,
                 const struct vex_registers *registers, int32_t displacement)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    bool evex = decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
    struct prefix prefix = {0};
    unsigned opcode = read_prefix(instruction->bytes, &prefix);
    uint8_t map = prefix.extensions & (evex ? 0x0f : 0x1f);
    replace_registers(&prefix, registers);
    if (!evex)
        prefix.extensions = (uint8_t)((prefix.extensions & (NOT_R | NOT_X | NOT_B)) | map);
    const uint8_t bytes[] = {evex ? 0x62 : VEX3, prefix.extensions, prefix.second, prefix.third};
    emit_bytes(emitter, bytes, evex ? 4 : 3);
    emit_byte(emitter, instruction->bytes[opcode]);
    unsigned reg = registers->reg != NO_REGISTER ? registers->reg : decoded->raw.modrm.reg;
    unsigned rm = registers->rm != NO_REGISTER ? registers->rm : decoded->raw.modrm.rm;
    rewrite_operands(emitter, instruction, reg, rm, displacement);
}
