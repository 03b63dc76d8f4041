/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A boot sector that goes through the kinds of picture a VGA BIOS can set, by INT 10h, and draws
 * something in each that tests/boot/test_screen.py knows; a key leads to the next.
 */
.intel_syntax noprefix
.code16
.globl _start
_start:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    cld

    /* Text: white on blue at the cursor. */
    mov ax, 0x0003
    int 0x10
    mov si, offset greeting
1:  lodsb
    test al, al
    jz 2f
    mov ah, 0x0e
    int 0x10
    jmp 1b
2:  call next

    /* 640x480 in 16 colours: planes 0 and 2 of the first 16 lines, so magenta; by the BIOS a dot. */
    mov ax, 0x0012
    int 0x10
    call window
    mov dx, 0x3c4
    mov ax, 0x0502
    out dx, ax
    mov cx, 80 * 16
    mov al, 0xff
    rep stosb
    mov ax, 0x0c0e /* yellow */
    xor bx, bx
    mov cx, 100
    mov dx, 200
    int 0x10
    call next

    /* 320x200 in 256 colours: each line counts. */
    mov ax, 0x0013
    int 0x10
    call window
    xor ax, ax
1:  mov cx, 320
    rep stosb
    inc ax
    cmp al, 200
    jb 1b
    call next

    /* VBE: 640x480 in 256 colours, by banks: the second one's first bytes. */
    mov bx, 0x101
    call vbe
    mov ax, 0x4f05
    xor bx, bx
    mov dx, 1
    int 0x10
    call window
    mov al, 0x0c /* light red */
    mov cx, 1000
    rep stosb
    call next

    /* VBE: 1024x768 with 32 bits a dot: the first line in a colour of its own. */
    mov bx, 0x144
    call vbe
    call window
    mov cx, 1024
    mov eax, 0x00204060
    rep stosd
    call next
    jmp _start

vbe:
    mov ax, 0x4f02
    int 0x10
    cmp ax, 0x004f
    je 1f
    mov si, offset failure
2:  lodsb
    mov ah, 0x0e
    int 0x10
    test al, al
    jnz 2b
    hlt
1:  ret

window:
    mov ax, 0xa000
    mov es, ax
    xor di, di
    ret

next:
    xor ax, ax
    int 0x16
    ret

greeting:
    .asciz "Modes of a VGA: text\r\n"
failure:
    .asciz "this VGA BIOS lacks the mode"

.org 510
    .word 0xaa55
