/* SPDX-License-Identifier: Apache-2.0 */
/* Segment registers, descriptor tables, far transfers, task switches, SYSCALL and friends. APM vol.
 * 2 §4, §6, §12. */
#ifndef NACRE_CPU_SEGMENTATION_H
#define NACRE_CPU_SEGMENTATION_H

#include "cpu/vcpu.h"

/* All return false with the exception recorded; state is then unchanged unless the architecture
 * says otherwise. */

/* MOV/POP/Lxx to ES, SS, DS, FS, GS (not CS). */
bool segment_load(struct vcpu *vcpu, unsigned segment, uint16_t selector);
bool segment_load_ldtr(struct vcpu *vcpu, uint16_t selector);
bool segment_load_tr(struct vcpu *vcpu, uint16_t selector);

/* Far JMP, CALL, RET. next_rip: address after the instruction (pushed by CALL). operand_size: 2,
 * 4, 8. */
bool far_jump(struct vcpu *vcpu, uint16_t selector, uint64_t offset, unsigned operand_size,
              uint64_t next_rip);
bool far_call(struct vcpu *vcpu, uint16_t selector, uint64_t offset, unsigned operand_size,
              uint64_t next_rip);
bool far_return(struct vcpu *vcpu, unsigned operand_size, uint16_t release);

enum task_switch_reason { TASK_SWITCH_JUMP, TASK_SWITCH_CALL, TASK_SWITCH_IRET, TASK_SWITCH_GATE };
/*
 * True once the new task runs. A fault met after that belongs to it: it is then pending in
 * vcpu->exception, and rip and rflags are the new task's. False: recorded, the old task goes on.
 */
bool task_switch(struct vcpu *vcpu, uint16_t selector, enum task_switch_reason reason,
                 uint64_t next_rip, bool has_error_code, uint32_t error_code);

bool syscall_enter(struct vcpu *vcpu, uint64_t next_rip);
bool syscall_return(struct vcpu *vcpu, unsigned operand_size);
bool sysenter_enter(struct vcpu *vcpu);
bool sysenter_exit(struct vcpu *vcpu, unsigned operand_size);

/* LAR, LSL, VERR, VERW: *ok is what goes to ZF. */
bool segment_query_rights(struct vcpu *vcpu, uint16_t selector, uint32_t *rights, bool *ok);
bool segment_query_limit(struct vcpu *vcpu, uint16_t selector, uint32_t *limit, bool *ok);
bool segment_verify(struct vcpu *vcpu, uint16_t selector, bool write, bool *ok);

/*
 * Linear address of [offset, offset + size) in `segment`, with limit, type and canonical checks
 * for the mode the vcpu is in. offset already wrapped to the address size.
 */
bool segment_linear(struct vcpu *vcpu, unsigned segment, uint64_t offset, unsigned size, bool write,
                    uint64_t *linear);

/* May CPL use this port? Checks IOPL and the TSS bitmap; raises #GP. */
bool port_allowed(struct vcpu *vcpu, uint16_t port, unsigned size);

/* Sets a segment register's hidden part from a real-mode or virtual-8086 selector. */
void segment_set_real(struct vcpu *vcpu, unsigned segment, uint16_t selector);

#endif
