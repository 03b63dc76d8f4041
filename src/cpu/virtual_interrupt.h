/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may touch the interrupt flag, and what happens instead: privilege and IOPL, and the virtual
 * interrupts of CR4.VME (virtual-8086 tasks) and CR4.PVI (protected mode, level 3), which put VIF
 * in IF's place. APM vol. 2 §8.10; Intel SDM vol. 3 §20.3.
 */
#ifndef NACRE_CPU_VIRTUAL_INTERRUPT_H
#define NACRE_CPU_VIRTUAL_INTERRUPT_H

#include "cpu/vcpu.h"

/* All return false with the exception recorded, and nothing changed. rflags is up to date. */

/* CLI, STI. STI's shadow is set when IF went from 0 to 1. */
bool interrupt_flag_clear(struct vcpu *vcpu);
bool interrupt_flag_set(struct vcpu *vcpu);

/* PUSHF: the image to push. size: operand size in bytes. */
bool flags_push_image(struct vcpu *vcpu, unsigned size, uint64_t *image);
/* POPF, with RF cleared; IRET of a virtual-8086 task, which may set it. */
bool flags_pop(struct vcpu *vcpu, uint64_t image, unsigned size);
bool flags_return_v86(struct vcpu *vcpu, uint64_t image, unsigned size);

/* INT n with the rip to push in vcpu->rip: through the IDT, or in a virtual-8086 task through its
 * own vector table, as the redirection bitmap in the TSS says. */
bool interrupt_numbered_deliver(struct vcpu *vcpu, unsigned vector);

#endif
