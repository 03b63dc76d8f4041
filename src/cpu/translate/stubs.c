/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/stubs.h"

#include "cpu/translate/emit.h"
#include "cpu/vector_image.h"

#define MXCSR_LOAD  2 /* in 0F AE /2 and /3 */
#define MXCSR_STORE 3
#define STUBS_MAX   KIB(8)

/* Which of the guest's vector registers are in the host's. */
enum live { LIVE_XMM, LIVE_YMM, LIVE_ZMM };

static void emit_part(struct emitter *emitter, enum vector_part part, unsigned number, bool store)
{
    uint8_t code[VECTOR_MOVE_MAX];
    unsigned length =
        vector_move_encode(code, part, number, store, IMAGE_AT_GS, (uint32_t)VCPU(xsave));
    emit_bytes(emitter, code, length);
}

/* All registers of the set between the host's and vcpu->xsave, and MXCSR. */
static void emit_vectors(struct emitter *emitter, enum live live, bool store)
{
    static const uint8_t vzeroupper[] = {0xc5, 0xf8, 0x77};
    for (unsigned i = 0; i < 16; i++) {
        emit_part(emitter, live == LIVE_XMM ? PART_XMM : PART_LOW, i, store);
        if (live >= LIVE_YMM)
            emit_part(emitter, PART_YMM_HIGH, i, store);
        if (live == LIVE_ZMM) {
            emit_part(emitter, PART_ZMM_HIGH, i, store);
            emit_part(emitter, PART_ZMM, 16 + i, store);
        }
    }
    for (unsigned i = 0; live == LIVE_ZMM && i < 8; i++)
        emit_part(emitter, PART_OPMASK, i, store);
    if (store && live != LIVE_XMM) /* SSE code of C would be slow */
        emit_bytes(emitter, vzeroupper, sizeof(vzeroupper));
    const uint8_t control[] = {0x65, 0x0f, 0xae,
                               (uint8_t)(4 | (store ? MXCSR_STORE : MXCSR_LOAD) << 3), 0x25};
    emit_bytes(emitter, control, sizeof(control));
    emit_u32(emitter, (uint32_t)(VCPU(xsave) + XSAVE_MXCSR));
}

/* Those that are live. */
static void emit_live_vectors(struct emitter *emitter, bool store)
{
    emit_test_byte(emitter, VCPU(translate.xmm_live));
    uint32_t none = emit_jump_if(emitter, CONDITION_E);
    emit_test_byte(emitter, VCPU(translate.ymm_live));
    uint32_t more = emit_jump_if(emitter, CONDITION_NE);
    emit_vectors(emitter, LIVE_XMM, store);
    uint32_t done = emit_jump(emitter);
    emit_land(emitter, more);
    emit_test_byte(emitter, VCPU(translate.zmm_live));
    uint32_t most = emit_jump_if(emitter, CONDITION_NE);
    emit_vectors(emitter, LIVE_YMM, store);
    uint32_t done_too = emit_jump(emitter);
    emit_land(emitter, most);
    emit_vectors(emitter, LIVE_ZMM, store);
    emit_land(emitter, none);
    emit_land(emitter, done);
    emit_land(emitter, done_too);
}

static void emit_guest_registers(struct emitter *emitter, enum emit_opcode opcode)
{
    for (unsigned i = 0; i < 16; i++)
        if (i != S0 && i != S1 && i != GPR_RAX)
            emit_vcpu(emitter, opcode, true, i, VCPU_REGISTER(i));
}

/* Everything of the guest's into the host's registers, then on to the target. */
static void emit_resume(struct emitter *emitter)
{
    emit_live_vectors(emitter, false);
    emit_guest_registers(emitter, OPCODE_LOAD);
    emit_vcpu(emitter, OPCODE_LOAD, true, GPR_RAX, VCPU_REGISTER(GPR_RAX));
    emit_vcpu(emitter, OPCODE_LOAD, true, S0, VCPU(translate.address));
    emit_jump_vcpu(emitter, VCPU(translate.target));
}

static void emit_call_event(struct emitter *emitter)
{
    static const uint8_t call_rax[] = {0xff, 0xd0};
    static const uint8_t test_rax[] = {0x48, 0x85, 0xc0};
    emit_vcpu(emitter, OPCODE_LOAD, true, GPR_RDI, VCPU(translate.self));
    emit_move(emitter, GPR_RSI, S1);
    emit_move(emitter, GPR_RDX, S0);
    emit_constant(emitter, GPR_RAX, (uintptr_t)translate_event);
    emit_bytes(emitter, call_rax, sizeof(call_rax));
    emit_bytes(emitter, test_rax, sizeof(test_rax));
}

void stubs_emit(struct translator *translator)
{
    static const uint8_t prologue[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41,
                                       0x56, 0x41, 0x57, 0x48, 0x83, 0xec, 0x08};
    static const uint8_t epilogue[] = {0x48, 0x83, 0xc4, 0x08, 0x41, 0x5f, 0x41, 0x5e,
                                       0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3};
    static const uint8_t lahf_seto[] = {0x9f, 0x0f, 0x90, 0xc0};
    static const uint8_t store_ax[] = {0x66, 0x65, 0x89, 0x04, 0x25};
    struct emitter emitter = {.bytes = translator->writable, .capacity = STUBS_MAX};
    translator->enter = emitter.length;
    emit_bytes(&emitter, prologue, sizeof(prologue));
    emit_vcpu(&emitter, OPCODE_STORE, true, GPR_RSP, VCPU(translate.host_rsp));
    uint32_t to_resume = emit_jump(&emitter);

    translator->event_native = emitter.length;
    emit_vcpu(&emitter, OPCODE_STORE, true, GPR_RAX, VCPU_REGISTER(GPR_RAX));
    emit_bytes(&emitter, lahf_seto, sizeof(lahf_seto));
    emit_bytes(&emitter, store_ax, sizeof(store_ax));
    emit_u32(&emitter, (uint32_t)VCPU(translate.parked_flags));
    uint32_t to_common = emit_jump(&emitter);
    translator->event_parked = emitter.length;
    emit_vcpu(&emitter, OPCODE_STORE, true, GPR_RAX, VCPU_REGISTER(GPR_RAX));
    emit_land(&emitter, to_common);
    emit_guest_registers(&emitter, OPCODE_STORE);
    emit_vcpu(&emitter, OPCODE_LOAD, true, GPR_RSP, VCPU(translate.host_rsp));
    emit_live_vectors(&emitter, true);
    emit_call_event(&emitter);
    uint32_t to_leave = emit_jump_if(&emitter, CONDITION_E);
    emit_vcpu(&emitter, OPCODE_STORE, true, GPR_RAX, VCPU(translate.target));
    emit_land(&emitter, to_resume);
    emit_resume(&emitter);
    emit_land(&emitter, to_leave);
    emit_bytes(&emitter, epilogue, sizeof(epilogue));

    translator->stubs_end = (uint32_t)align_up(emitter.length, 64);
    translator->used = translator->stubs_end;
}
