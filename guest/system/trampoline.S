/* SPDX-License-Identifier: Apache-2.0 */
/* Where a started processor begins: real mode at a page below 1 MiB (copied there), then long mode
 * on the boot processor's page tables and GDT, then processor_main() on the stack it was given. */
#include "runtime/layout.h"

    .data
    .globl trampoline, trampoline_end, trampoline_stack
    .code16
trampoline:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl gdt_copy - trampoline
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $SELECTOR_FREE, $protected
gdt_copy:
    .word 32 * 8 - 1
    .long gdt
trampoline_end:

    .text
    .code32
protected:
    mov $SELECTOR_DATA, %eax
    mov %eax, %ds
    mov %eax, %ss
    mov trampoline_stack, %esp
    mov $page_root, %eax
    mov %eax, %cr3
    call long_mode
    .code64
    call processor_main
1:  hlt
    jmp 1b

    .data
    .balign 8
trampoline_stack:
    .quad 0
    .section .note.GNU-stack, "", @progbits
