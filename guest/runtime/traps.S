/* SPDX-License-Identifier: Apache-2.0 */
/* Entry of all 256 vectors: saves the registers as struct trap_frame and calls trap_handle(). */
#include "runtime/layout.h"

    .text
    .globl trap_entries
    .balign 16
trap_entries: /* 16 bytes each */
    vector = 0
    .rept VECTOR_COUNT
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21
    .else
    push $0
    .endif
    push $vector
    jmp trap_common
    vector = vector + 1
    .endr

trap_common:
#ifdef __x86_64__
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov %rsp, %rdi
    mov %rsp, %rbx
    and $~15, %rsp
    call trap_handle
    mov %rbx, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq
#else
    pusha
    push %ds
    push %es
    mov $SELECTOR_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    cld
    push %esp
    call trap_handle
    add $4, %esp
    pop %es
    pop %ds
    popa
    add $8, %esp
    iret
#endif

/* user_enter(code, stack, argument): to ring 3, flags as now; comes back only by a trap. */
    .globl user_enter
user_enter:
#ifdef __x86_64__
    push $SELECTOR_USER_DATA
    push %rsi
    pushf
    push $SELECTOR_USER_CODE
    push %rdi
    mov %rdx, %rdi
    iretq
#else
    mov 4(%esp), %ecx
    mov 8(%esp), %edx
    mov $SELECTOR_USER_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    push $SELECTOR_USER_DATA
    push %edx
    pushf
    push $SELECTOR_USER_CODE
    push %ecx
    iret
#endif
    .section .note.GNU-stack, "", @progbits
