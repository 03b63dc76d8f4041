/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raising and delivering exceptions and interrupts: IVT, 16/32-bit gates, task gates, 64-bit gates
 * with IST. APM vol. 2 §8. A helper that fails raises (records) the exception and returns false;
 * the engine then sets vcpu->rip to the faulting instruction and delivers.
 */
#ifndef NACRE_CPU_EXCEPTION_H
#define NACRE_CPU_EXCEPTION_H

#include "cpu/vcpu.h"

/* Each records the exception in vcpu->exception and returns false. */
bool raise_exception(struct vcpu *vcpu, unsigned vector);
bool raise_error(struct vcpu *vcpu, unsigned vector, uint32_t error_code);
bool raise_page_fault(struct vcpu *vcpu, uint64_t gva, uint32_t error_code);
bool raise_debug(struct vcpu *vcpu, uint64_t dr6_bits);

/* The recorded exception was met at an operand in SS: a non-canonical address there is #SS, where
 * the MMU says #GP. APM vol. 2 §8.2.13 */
void exception_in_stack(struct vcpu *vcpu);

enum interrupt_kind { INTERRUPT_EXTERNAL, INTERRUPT_EXCEPTION, INTERRUPT_SOFTWARE };

/*
 * Delivers the recorded exception; nested faults become double and triple faults (APM vol. 2
 * §8.2.9). False on a triple fault: the engine returns VCPU_EXIT_SHUTDOWN.
 */
bool exception_deliver(struct vcpu *vcpu);

/*
 * Delivers interrupt `vector` (external, NMI, or INT n with the rip to push already in vcpu->rip).
 * Faults met on the way are delivered as exceptions, except that for INTERRUPT_SOFTWARE a first
 * fault is only recorded and false returned, so that the caller reports it with the RIP of the INT.
 */
bool interrupt_deliver(struct vcpu *vcpu, unsigned vector, enum interrupt_kind kind);

/*
 * What an engine calls between instructions when vcpu->requests is not zero: takes INIT, SIPI, NMI,
 * interrupts, TLB flush, code mailbox. Returns VCPU_EXIT_NONE to carry on, or the exit to return
 * (VCPU_EXIT_HALT where the vcpu is still halted behind it);
 * *stop is set when the engine must return to its caller even for VCPU_EXIT_NONE.
 */
enum vcpu_exit vcpu_service_requests(struct vcpu *vcpu, bool *stop);

/* RFLAGS bits that IRET and POPF may change when executed at level cpl. APM vol. 3 POPF. */
uint64_t flags_writable(const struct vcpu *vcpu, unsigned cpl, unsigned operand_size);

/* IRET, any mode. operand_size: 2, 4 or 8. False: recorded. APM vol. 3 IRET. */
bool interrupt_return(struct vcpu *vcpu, unsigned operand_size);

#endif
