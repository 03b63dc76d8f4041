/* SPDX-License-Identifier: Apache-2.0 */
/* bench --init: the least that can be a guest's first program, to time its first line. */
#include "bench.h"

#include <stdio.h>
#include <unistd.h>

void bench_init(void)
{
    puts("init: first line");
    for (;;)
        pause();
}
