/* SPDX-License-Identifier: Apache-2.0 */
/* IN, OUT, INS, OUTS. String forms do one element a turn, so that interrupts can come in between.
 */
#include "bus/bus.h"
#include "cpu/breakpoint.h"
#include "cpu/interpret/operand.h"
#include "cpu/interpret/string_element.h"
#include "cpu/interpret/system.h"
#include "cpu/segmentation.h"

/* op->extra: 1 when the port is the immediate, else it is in DX. */
static uint16_t port_number(const struct vcpu *vcpu, const struct op *op)
{
    return (uint16_t)(op->extra ? op->immediate : vcpu->registers[GPR_RDX]);
}

static void set_accumulator(struct vcpu *vcpu, uint64_t value, unsigned size)
{
    if (size == 1)
        register_set8(vcpu, 0, (uint8_t)value);
    else if (size == 2)
        register_set16(vcpu, 0, (uint16_t)value);
    else
        register_set32(vcpu, 0, (uint32_t)value);
}

static void port_in(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size;
    uint16_t port = port_number(vcpu, op);
    if (!port_allowed(vcpu, port, size))
        FAULT(vcpu, op);
    breakpoints_note_port(vcpu, port, size);
    set_accumulator(vcpu, bus_read(vcpu->bus, BUS_PORT, port, size), size);
    LEAVE(vcpu, op);
}

static void port_out(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size;
    uint16_t port = port_number(vcpu, op);
    if (!port_allowed(vcpu, port, size))
        FAULT(vcpu, op);
    breakpoints_note_port(vcpu, port, size);
    bus_write(vcpu->bus, BUS_PORT, port, vcpu->registers[GPR_RAX] & bytes_mask(size), size);
    LEAVE(vcpu, op);
}

/* One element between memory and port. False: fault recorded. */
static bool transfer(struct vcpu *vcpu, const struct op *op, bool in)
{
    unsigned size = op->operand_size, index = in ? GPR_RDI : GPR_RSI;
    uint16_t port = (uint16_t)vcpu->registers[GPR_RDX];
    uint64_t linear, value = 0;
    if (!port_allowed(vcpu, port, size) || !string_linear(vcpu, op, index, in, &linear))
        return false;
    if (in) {
        if (!mmu_probe_write(vcpu, linear, size, vcpu->mmu_mode))
            return false;
        value = bus_read(vcpu->bus, BUS_PORT, port, size);
        mmu_write(vcpu, linear, &value, size, vcpu->mmu_mode);
    } else {
        if (mmu_read(vcpu, linear, &value, size, vcpu->mmu_mode) == MMU_FAULT)
            return false;
        bus_write(vcpu->bus, BUS_PORT, port, value, size);
    }
    breakpoints_note_port(vcpu, port, size);
    op_advance(vcpu, op, index, string_step(vcpu, op));
    return true;
}

static void port_string(struct vcpu *vcpu, const struct op *op)
{
    bool in = op->condition, repeat = op->flags & (OP_REPEAT | OP_REPEAT_NE);
    if (repeat && !(vcpu->registers[GPR_RCX] & op_address_mask(op)))
        LEAVE(vcpu, op);
    if (!transfer(vcpu, op, in))
        FAULT(vcpu, op);
    if (!repeat)
        LEAVE(vcpu, op);
    op_advance(vcpu, op, GPR_RCX, -1);
    if (!(vcpu->registers[GPR_RCX] & op_address_mask(op)))
        LEAVE(vcpu, op);
    vcpu->rflags |= RFLAGS_RF; /* a breakpoint here has had its turn */
    FAULT(vcpu, op);           /* nothing is raised: the same instruction again */
}

static op_handler *select_port_string(struct selection *selection, bool in)
{
    selection->op->condition = in;
    selection_implicit_memory(selection);
    return port_string;
}

op_handler *select_port(struct selection *selection)
{
    struct op *op = selection->op;
    const ZydisDecodedOperand *operands = selection->operands;
    bool in = selection->instruction.mnemonic == ZYDIS_MNEMONIC_IN;
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_OUT: {
        const ZydisDecodedOperand *port = &operands[in ? 1 : 0];
        op->extra = port->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
        op->immediate = op->extra ? port->imm.value.u & 0xff : 0;
        op->operand_size = (uint8_t)(operands[in ? 0 : 1].size / 8);
        return in ? port_in : port_out;
    }
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
        return select_port_string(selection, true);
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
        return select_port_string(selection, false);
    default:
        return NULL;
    }
}
