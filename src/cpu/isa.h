/* SPDX-License-Identifier: Apache-2.0 */
/* Which feature of a CPU model an instruction belongs to, in the decoder's terms. */
#ifndef NACRE_CPU_ISA_H
#define NACRE_CPU_ISA_H

#include <Zydis/Zydis.h>

#include <stdbool.h>

struct cpu_model;

/* Has the model this instruction set? Only for sets that need a feature bit: false for all others.
 * Whether the guest has enabled AVX's registers is another question. */
bool isa_set_available(const struct cpu_model *model, ZydisISASet set);

#endif
