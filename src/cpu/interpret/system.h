/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_CPU_INTERPRET_SYSTEM_H
#define NACRE_CPU_INTERPRET_SYSTEM_H

#include "cpu/interpret/groups.h"

/* op->extra of system instructions. */
#define OPERAND_MEMORY 1u /* the operand lies in memory */
#define OPERAND_SECOND 2u /* a register source is the second operand */

/* IN, OUT, INS, OUTS (port.c). */
select_function select_port;

#endif
