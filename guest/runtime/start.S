/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PVH entry (32-bit protected mode, paging off, flat segments) of the small guests. A 64-bit guest
 * builds an identity map of the first 4 GiB in 2 MiB pages and goes to long mode.
 */
#include "runtime/layout.h"

    .section .note.pvh, "a", @note
    .long 4, 4, 18 /* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long start

    .section .text.start, "ax"
    .code32
    .globl start
start:
    cli
    cld
    mov $stack_end, %esp
    lgdt gdt_pointer
#ifndef __x86_64__
    ljmp $SELECTOR_CODE, $1f
1:  call segments_load
    call runtime_main
#else
    mov $page_directories, %edi /* 4 directories of 512 2 MiB pages */
    mov $0x83, %eax
1:  mov %eax, (%edi)
    movl $0, 4(%edi)
    add $8, %edi
    add $0x200000, %eax
    jnc 1b
    mov $page_directories + 3, %eax
    mov $page_pointers, %edi
    mov $4, %ecx
2:  mov %eax, (%edi)
    add $0x1000, %eax
    add $8, %edi
    loop 2b
    movl $page_pointers + 3, page_root
    mov $page_root, %eax
    mov %eax, %cr3
    call long_mode
    .code64
    lea stack_end(%rip), %rsp
    call runtime_main
    .code32

/* Turns on long mode with CR3 as it is and returns to the caller in 64-bit code. Also for the
 * other processors, which come from real mode. */
    .globl long_mode
long_mode:
    mov %cr4, %eax
    or $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x901, %eax /* SCE, LME, NXE */
    wrmsr
    mov %cr0, %eax
    and $~0xc, %eax
    or $0x80010022, %eax /* PG, WP, NE, MP */
    mov %eax, %cr0
    pop %ecx
    ljmp $SELECTOR_CODE, $3f
    .code64
3:  mov $SELECTOR_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    jmp *%rcx
#endif

#ifndef __x86_64__
segments_load:
    mov $SELECTOR_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    ret
#endif

    .data
    .balign 16
    .globl gdt, gdt_pointer
gdt:
    .quad 0
#ifdef __x86_64__
    .quad 0x00af9b000000ffff /* SELECTOR_CODE */
    .quad 0x00cf93000000ffff /* SELECTOR_DATA */
    .quad 0x00cffb000000ffff /* SELECTOR_USER_CODE32: SYSRET wants this order */
    .quad 0x00cff3000000ffff /* SELECTOR_USER_DATA */
    .quad 0x00affb000000ffff /* SELECTOR_USER_CODE */
#else
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00cffb000000ffff
    .quad 0x00cff3000000ffff
    .quad 0x00cffb000000ffff
#endif
    .fill 26, 8, 0 /* SELECTOR_TSS (two entries) and what tests put here */
gdt_pointer:
    .word . - gdt - 1
    .long gdt
    .long 0

    .bss
    .balign 4096
    .globl page_root, page_directories, stack_end
#ifdef __x86_64__
page_root:
    .skip 4096
page_pointers:
    .skip 4096
page_directories:
    .skip 4 * 4096
#endif
    .skip 32768
stack_end:
    .section .note.GNU-stack, "", @progbits
