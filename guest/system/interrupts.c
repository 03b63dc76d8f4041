/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts on one processor: local APIC timer and self IPIs, priorities, the shadow of STI, HLT,
 * NMI and its blocking, 8259 with the PIT, IOAPIC. Intel SDM vol. 3 §6, §11; 8259A, 8254 data
 * sheets.
 */
#include "runtime/runtime.h"

#define APIC_MSR 0x1b
enum {
    APIC_ID = 0x20,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    SVR = 0xf0,
    ISR1 = 0x110,
    IRR1 = 0x210,
    ICR = 0x300
};
enum {
    LVT_TIMER = 0x320,
    LVT_LINT0 = 0x350,
    TIMER_INITIAL = 0x380,
    TIMER_CURRENT = 0x390,
    TIMER_DIVIDE = 0x3e0
};

static volatile uint32_t *apic_register(unsigned offset)
{
    return (uint32_t *)(uintptr_t)(0xfee00000u + offset);
}

static volatile unsigned count[VECTOR_COUNT];
static volatile unsigned order[8], order_length;
static volatile word last_ip;

static void note(struct trap_frame *frame)
{
    count[frame->vector]++;
    order[order_length++ & 7] = (unsigned)frame->vector;
    last_ip = frame->ip;
}

static void take(struct trap_frame *frame)
{
    note(frame);
    *apic_register(EOI) = 0;
}

static void wait_for(unsigned vector, unsigned wanted)
{
    __asm__ volatile("sti");
    for (unsigned long spin = 0; count[vector] < wanted && spin < 2000000000; spin++)
        __asm__ volatile("pause");
    __asm__ volatile("cli");
}

static void self_ipi(unsigned vector)
{
    *apic_register(ICR) = 0x44000 | vector; /* self, assert */
}

static void check_apic(void)
{
    trap_hook(0x51, take);
    trap_hook(0x61, take);
    *apic_register(SVR) = 0x1ff;
    self_ipi(0x51);
    check(*apic_register(IRR1 + 0x10 * (0x51 / 32 - 1)) & 1u << (0x51 % 32),
          "a self IPI waits in IRR while IF is clear");
    self_ipi(0x61);
    wait_for(0x51, 1);
    check(order[0] == 0x61 && order[1] == 0x51, "the higher vector is taken first");
    *apic_register(TPR) = 0x60;
    self_ipi(0x61);
    __asm__ volatile("sti; nop; nop; cli");
    check_equal(count[0x61], 1, "TPR holds back its own class");
    *apic_register(TPR) = 0;
    wait_for(0x61, 2);
    check_equal(count[0x61], 2, "... and lets go");
    trap_hook(0x61, note); /* no EOI */
    self_ipi(0x61);
    wait_for(0x61, 3);
    self_ipi(0x51);
    __asm__ volatile("sti; nop; nop; cli");
    check_equal(count[0x51], 1, "an interrupt in service holds back lower ones");
    check_equal(*apic_register(PPR) & 0xf0, 0x60, "PPR shows it");
    *apic_register(EOI) = 0;
    wait_for(0x51, 2);
    check_equal(count[0x51], 2, "... until EOI");
    trap_hook(0x61, take);
}

static void check_shadow(void)
{
    word after;
    self_ipi(0x51);
    __asm__ volatile("lea 1f(%%rip), %0; sti; nop; 1: nop; nop; cli" : "=r"(after)::"memory");
    check_equal(last_ip, after, "STI delays by one instruction");
    self_ipi(0x51);
    unsigned before = count[0x51];
    __asm__ volatile("sti; cli; nop; nop" ::: "memory");
    check_equal(count[0x51], before, "STI; CLI takes nothing");
    __asm__ volatile("lea 1f(%%rip), %0; sti; hlt; 1: cli" : "=r"(after)::"memory");
    check(count[0x51] == before + 1 && last_ip == after, "STI; HLT with one pending goes past HLT");
    self_ipi(0x51);
    __asm__ volatile("lea 1f(%%rip), %0; pushf; orl $0x200, (%%rsp); popf; 1: nop; cli"
                     : "=r"(after)::"memory");
    check_equal(last_ip, after, "POPF has no shadow");
}

static void check_timer(void)
{
    *apic_register(TIMER_DIVIDE) = 0xb;
    *apic_register(LVT_TIMER) = 0x51;
    unsigned before = count[0x51];
    *apic_register(TIMER_INITIAL) = 1000000;
    check(*apic_register(TIMER_CURRENT) <= 1000000, "the timer counts down");
    wait_for(0x51, before + 1);
    check_equal(count[0x51], before + 1, "one shot");
    check_equal(*apic_register(TIMER_CURRENT), 0, "... leaves zero");
    *apic_register(LVT_TIMER) = 0x20051;
    *apic_register(TIMER_INITIAL) = 1000000;
    wait_for(0x51, before + 4);
    check(count[0x51] >= before + 4, "periodic");
    *apic_register(TIMER_INITIAL) = 0;
    before = count[0x51];
    *apic_register(LVT_TIMER) = 0x10051;
    *apic_register(TIMER_INITIAL) = 1000;
    for (unsigned spin = 0; spin < 100000; spin++)
        __asm__ volatile("pause");
    __asm__ volatile("sti; nop; nop; cli");
    check(count[0x51] <= before + 1, "a masked timer is silent");
    before = count[0x51];
    if (cpuid_get(1, 0).c & 1 << 24) {
        *apic_register(LVT_TIMER) = 0x40051;
        __asm__ volatile("mfence");
        msr_set(0x6e0, __builtin_ia32_rdtsc() + 10000000);
        check(msr_get(0x6e0) != 0, "the TSC deadline is armed");
        wait_for(0x51, before + 1);
        check_equal(count[0x51], before + 1, "TSC deadline");
        check_equal(msr_get(0x6e0), 0, "... disarms itself");
    }
    *apic_register(LVT_TIMER) = 0x51;
    *apic_register(TIMER_INITIAL) = 5000000;
    before = count[0x51];
    __asm__ volatile("sti; hlt; cli");
    check_equal(count[0x51], before + 1, "HLT sleeps until the timer");
}

static volatile unsigned nested, deepest;

static void nmi(struct trap_frame *frame)
{
    nested++;
    deepest = nested > deepest ? nested : deepest;
    if (count[TRAP_NMI]++ == 0) {
        *apic_register(ICR) = 0x44400; /* NMI to itself: blocked until IRET */
        for (unsigned spin = 0; spin < 10000; spin++)
            __asm__ volatile("pause");
    }
    nested--;
}

static void check_nmi(void)
{
    trap_hook(TRAP_NMI, nmi);
    *apic_register(ICR) = 0x44400;
    for (unsigned long spin = 0; count[TRAP_NMI] < 2 && spin < 100000000; spin++)
        __asm__ volatile("pause");
    check_equal(count[TRAP_NMI], 2, "NMI is taken with IF clear; the next one after IRET");
    check_equal(deepest, 1, "... and not inside the handler");
}

static void pic_take(struct trap_frame *frame)
{
    note(frame);
    port_write8(0x20, 0x20);
}

static void check_pic(void)
{
    static const uint8_t initialise[] = {0x11, 0x40, 0x04, 0x01};
    port_write8(0x20, initialise[0]);
    for (int i = 1; i < 4; i++)
        port_write8(0x21, initialise[i]);
    port_write8(0x21, 0xfe); /* IRQ 0 only */
    check_equal(port_read8(0x21), 0xfe, "the 8259's mask reads back");
    trap_hook(0x40, pic_take);
    *apic_register(LVT_LINT0) = 0x700; /* ExtINT */
    port_write8(0x43, 0x34);           /* counter 0, both bytes, mode 2 */
    port_write8(0x40, 0xa9);
    port_write8(0x40, 0x04); /* 1 kHz */
    wait_for(0x40, 3);
    check(count[0x40] >= 3, "PIT through the 8259 and LINT0");
    port_write8(0x21, 0xff);
    unsigned before = count[0x40];
    for (unsigned spin = 0; spin < 1000000; spin++)
        __asm__ volatile("pause");
    __asm__ volatile("sti; nop; nop; cli");
    check(count[0x40] <= before + 1, "masked, it is silent");
}

static void ioapic_write(unsigned index, uint32_t value)
{
    *(volatile uint32_t *)0xfec00000 = index;
    *(volatile uint32_t *)0xfec00010 = value;
}

static void check_ioapic(void)
{
    trap_hook(0x71, take);
    *(volatile uint32_t *)0xfec00000 = 1;
    check_equal(*(volatile uint32_t *)0xfec00010 >> 16 & 0xff, 23, "the IOAPIC has 24 pins");
    ioapic_write(0x10 + 2 * 2 + 1, 0);
    ioapic_write(0x10 + 2 * 2, 0x71); /* pin 2: where the PIT comes in; edge */
    wait_for(0x71, 2);
    check(count[0x71] >= 2, "PIT through the IOAPIC");
    ioapic_write(0x10 + 2 * 2, 0x10071);
}

static void check_x2apic(void)
{
    if (!(cpuid_get(1, 0).c & 1 << 21))
        return;
    msr_set(APIC_MSR, msr_get(APIC_MSR) | 0xc00);
    check_equal(msr_get(0x80f) & 0xff, 0xff, "x2APIC shows the same registers");
    unsigned before = count[0x61];
    __asm__ volatile("sti");
    trap_hook(0x61, note);
    msr_set(0x83f, 0x61);
    for (unsigned spin = 0; count[0x61] == before && spin < 1000000; spin++)
        __asm__ volatile("pause");
    __asm__ volatile("cli");
    check_equal(count[0x61], before + 1, "x2APIC self IPI");
    msr_set(0x80b, 0);
}

void guest_main(void)
{
    port_write8(0x21, 0xff);
    port_write8(0xa1, 0xff);
    check_equal(msr_get(APIC_MSR) & 0xfffff900, 0xfee00900, "APIC base: enabled, boot processor");
    check_apic();
    check_shadow();
    check_timer();
    check_nmi();
    check_pic();
    check_ioapic();
    check_x2apic();
}
