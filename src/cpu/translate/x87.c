/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FLDCW: C's conversion of a floating-point number to an integer has two of them where there is no
 * SSE. While all exceptions stay masked, it is the host's own; on a copy, which nobody changes
 * after the look at its masks.
 */
#include "cpu/interpret/vector_state.h"
#include "cpu/translate/build.h"

void build_load_control(struct builder *builder)
{
    static const uint8_t movzx_s1_s0[] = {0x45, 0x0f, 0xb7, 0x3e}; /* movzx r15d, word [r14] */
    static const uint8_t fldcw_vcpu[] = {0x65, 0xd9, 0x2c, 0x25};
    struct emitter *emitter = &builder->emitter;
    build_operand_access(builder);
    emit_bytes(emitter, movzx_s1_s0, sizeof(movzx_s1_s0));
    emit_vcpu(emitter, OPCODE_STORE, true, S1, VCPU(translate.spill));
    emit_and_constant(emitter, S1, FCW_MASKS);
    emit_compare_constant(emitter, S1, FCW_MASKS);
    build_detour(builder, emit_jump_if(emitter, CONDITION_NE), build_site(builder, SITE_INTERPRET),
                 true);
    emit_bytes(emitter, fldcw_vcpu, sizeof(fldcw_vcpu));
    emit_u32(emitter, (uint32_t)VCPU(translate.spill));
}
