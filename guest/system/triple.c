/* SPDX-License-Identifier: Apache-2.0 */
/* A triple fault: no IDT, so that nothing can be delivered. The machine must say so and stop. */
#include "runtime/runtime.h"

void guest_main(void)
{
    static const struct {
        uint16_t limit;
        word base;
    } __attribute__((packed)) none = {0, 0};
    print("about to fault three times\n");
    __asm__ volatile("lidt %0; ud2" : : "m"(none));
}
