/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory this process could ever have. */
#ifndef NACRE_MEMORY_HOST_H
#define NACRE_MEMORY_HOST_H

#include <stdint.h>

/* Bytes: the host's RAM, or what its control groups allow this process, and all swap. ~0 when
 * unknown. */
uint64_t host_memory_most(void);

#endif
