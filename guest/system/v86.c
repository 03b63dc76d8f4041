/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual-8086 mode: entry by IRET, real-mode addressing, what traps to the monitor, interrupts and
 * ports. Intel SDM vol. 3 §20.
 */
#include "runtime/runtime.h"

enum { SEGMENT = 0x2000, STACK = 0x3000 };

/* IRET to virtual-8086 code at SEGMENT:0; it comes back by a trap. */
static void enter(void *opaque)
{
    uint32_t flags = 0x20002 | *(uint32_t *)opaque;
    __asm__ volatile("push $0\npush $0\npush $0x2000\npush $0x2000\npush %0\npush $0xfffe\npush "
                     "%1\npush %2\npush $0\niret"
                     :
                     : "i"(STACK), "r"(flags), "i"(SEGMENT)
                     : "memory");
}

static struct trap run_flags(const char *code, unsigned length, uint32_t flags)
{
    volatile uint8_t *at = (uint8_t *)(SEGMENT << 4);
    for (unsigned i = 0; i < length; i++)
        at[i] = (uint8_t)code[i];
    return trap_catch(enter, &flags);
}

#define RUN(bytes)              run_flags(bytes, sizeof(bytes) - 1, 0)
#define RUN_FLAGS(bytes, flags) run_flags(bytes, sizeof(bytes) - 1, flags)

void guest_main(void)
{
    for (unsigned i = 0; i < sizeof(task_state.io_bits); i++)
        task_state.io_bits[i] = 0xff;
    task_state.io_map = offsetof(struct task_state, io_bits);

    struct trap trap = RUN("\xb8\x34\x12\xf4"); /* mov $0x1234, %ax; hlt */
    check_trap(trap, TRAP_GP, 0, "HLT leaves virtual-8086 mode by #GP");
    check_equal(trap.ax & 0xffff, 0x1234, "... after 16-bit code ran");
    check(trap.flags & 0x20000, "... with VM in the saved flags");
    check_equal(trap.cs, SEGMENT, "... and a real-mode CS");
    check_equal(trap.ip, 3, "... and IP");

    *(volatile uint16_t *)((SEGMENT << 4) + 0x100) = 0xbeef;
    trap = RUN("\xa1\x00\x01\xf4"); /* mov 0x100, %ax; hlt */
    check_equal(trap.ax & 0xffff, 0xbeef, "data at segment * 16");
    trap = RUN("\x8c\xc8\x8e\xc0\x26\xa1\x00\x01\xf4"); /* mov %cs, %ax; mov %ax, %es; mov
                                                           %es:0x100, %ax */
    check_equal(trap.ax & 0xffff, 0xbeef, "a segment load needs no descriptor");
    trap = RUN("\x68\x78\x56\x58\xf4"); /* push $0x5678; pop %ax; hlt */
    check_equal(trap.ax & 0xffff, 0x5678, "16-bit stack");
    trap = RUN("\x66\xb8\xff\xff\x00\x00\x67\x66\x8b\x40\x01\xf4"); /* 32-bit address past 64 KiB */
    check_trap(trap, TRAP_GP, 0, "an offset past 64 KiB");
    check_equal(trap.ip, 6, "... at that instruction");

    check_trap(RUN("\xfa\xf4"), TRAP_GP, 0, "CLI with IOPL 0");
    trap = RUN_FLAGS("\xfa\xf4", 0x3000);
    check_trap(trap, TRAP_GP, 0, "CLI with IOPL 3 passes");
    check_equal(trap.ip, 1, "... and HLT traps");
    check_trap(RUN("\x9c\xf4"), TRAP_GP, 0, "PUSHF with IOPL 0");
    trap = RUN_FLAGS("\x9c\x58\xf4", 0x3000); /* pushf; pop %ax; hlt */
    check_equal(trap.ip, 2, "PUSHF with IOPL 3");
    check_trap(RUN("\xcd\x21"), TRAP_GP, 0, "INT n with IOPL 0");
    check_trap(RUN_FLAGS("\xcd\x21", 0x3000), TRAP_GP, 0x21 * 8 + 2,
               "INT n with IOPL 3 and a ring-0 gate");
    trap = RUN_FLAGS("\xcd\x30", 0x3000);
    check_trap(trap, VECTOR_USER_EXIT, 0, "INT n with IOPL 3 through a ring-3 gate");
    check_trap(RUN("\xcc"), TRAP_BP, 0, "INT3");
    check_trap(RUN("\xe4\x80\xf4"), TRAP_GP, 0, "IN of a forbidden port");
    task_state.io_bits[0x80 / 8] &= ~1;
    trap = RUN("\xe4\x80\xf4");
    check_equal(trap.ip, 2, "IN of an allowed port");
    check_trap(RUN("\x0f\x00\xc8"), TRAP_UD, 0, "STR is undefined in this mode");
    check_trap(RUN("\x0f\x20\xc0"), TRAP_GP, 0, "MOV from CR0");
    check_trap(RUN("\x63\xc0"), TRAP_UD, 0, "ARPL is undefined in this mode");
    check_trap(RUN("\x31\xc9\xf7\xf1"), TRAP_DE, 0, "division by zero");
    trap = RUN("\xea\x06\x00\x00\x20\xf4\xb0\x77\xf4"); /* ljmp $0x2000, $6; hlt; mov $0x77, %al */
    check(trap.ip == 8 && (trap.ax & 0xff) == 0x77, "far jump");
}
