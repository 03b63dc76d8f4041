/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which instructions may run on the host as they are, but for their registers and memory operand:
 * those that only compute, on what they name, and that the guest's model has.
 */
#ifndef NACRE_CPU_TRANSLATE_PLAIN_H
#define NACRE_CPU_TRANSLATE_PLAIN_H

#include "cpu/translate/scan.h"

/* mode: CODE_MODE_*. */
bool plain_instruction(const struct instruction *instruction, const struct cpu_model *model,
                       uint32_t mode);

/* Neither a segment register nor one that only kernels have. */
bool plain_register(ZydisRegister name);

#endif
