/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM vol. 2 appendix A: INC and DEC of one byte (40 to 4F), MOV with the address in the
 * instruction (A0 to A3). */
#include "cpu/translate/recode.h"

#include "base/bits.h"

#define PREFIX_FS           0x64
#define PREFIX_GS           0x65
#define PREFIX_OPERAND_SIZE 0x66
#define PREFIX_ADDRESS_SIZE 0x67
#define GROUP5              0xff
#define MODRM_REGISTER      0xc0

static unsigned copy_size_prefix(const ZydisDecodedInstruction *decoded, uint8_t *recoded)
{
    if (!(decoded->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE))
        return 0;
    recoded[0] = PREFIX_OPERAND_SIZE;
    return 1;
}

static unsigned recode_increment(const ZydisDecodedInstruction *decoded, uint8_t *recoded)
{
    unsigned length = copy_size_prefix(decoded, recoded);
    recoded[length++] = GROUP5;
    recoded[length++] = (uint8_t)(MODRM_REGISTER | (decoded->opcode & 15)); /* /0 or /1 */
    return length;
}

static unsigned recode_address(const ZydisDecodedInstruction *decoded,
                               const ZydisDecodedOperand *operands, uint8_t *recoded)
{
    static const uint8_t opcodes[] = {0x8a, 0x8b, 0x88, 0x89};
    const ZydisDecodedOperand *memory =
        &operands[operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? 0 : 1];
    unsigned length = copy_size_prefix(decoded, recoded);
    if (memory->mem.segment == ZYDIS_REGISTER_FS)
        recoded[length++] = PREFIX_FS;
    if (memory->mem.segment == ZYDIS_REGISTER_GS)
        recoded[length++] = PREFIX_GS;
    recoded[length++] = PREFIX_ADDRESS_SIZE;
    recoded[length++] = opcodes[decoded->opcode & 3];
    recoded[length++] = 0x04; /* EAX, SIB */
    recoded[length++] = 0x25; /* neither base nor index */
    uint64_t mask = decoded->address_width == 16 ? 0xffff : 0xffffffff;
    store_le(recoded + length, (uint64_t)memory->mem.disp.value & mask, 4);
    return length + 4;
}

unsigned recode(const ZydisDecodedInstruction *decoded, const ZydisDecodedOperand *operands,
                uint8_t recoded[RECODED_MAX])
{
    if (decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
        decoded->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
        return 0;
    if ((decoded->opcode & 0xf0) == 0x40)
        return recode_increment(decoded, recoded);
    if ((decoded->opcode & 0xfc) == 0xa0)
        return recode_address(decoded, operands, recoded);
    return 0;
}
