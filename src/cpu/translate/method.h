/* SPDX-License-Identifier: Apache-2.0 */
/* How each instruction is translated. */
#ifndef NACRE_CPU_TRANSLATE_METHOD_H
#define NACRE_CPU_TRANSLATE_METHOD_H

#include "cpu/translate/scan.h"

/* The method for an instruction whose other fields are filled in. mode: CODE_MODE_*. */
enum method method_choose(const struct instruction *instruction, const struct cpu_model *model,
                          uint32_t mode);

/* Does the instruction always go elsewhere, or change what code after it means? */
bool method_ends_run(const struct instruction *instruction);

/* Does it save or load the vector registers, by a handler that works on vcpu->xsave? */
bool method_saves_vectors(ZydisISASet isa_set);

#endif
