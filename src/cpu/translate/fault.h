/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host signals raised by guest instructions that run natively: a division by zero, an operand that
 * is not aligned. The instruction is given to the interpreter, which raises what the guest must
 * see.
 */
#ifndef NACRE_CPU_TRANSLATE_FAULT_H
#define NACRE_CPU_TRANSLATE_FAULT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* Installs the process's handlers; once for all translators. -errno with *error. */
int fault_handlers_install(struct error *error);

/* Prepares the calling thread to run emitted code for the vcpu: a stack for signals, and only those
 * signals. -errno with *error. */
int fault_thread_prepare(struct vcpu *vcpu, struct error *error);
void fault_thread_release(struct vcpu *vcpu);

/* The thread's GS base, where the kernel lets programs change it (Linux 5.9). */
bool gs_base_usable(void);
void gs_base_write(uint64_t base);
uint64_t gs_base_read(void);

#endif
