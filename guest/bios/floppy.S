/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A boot floppy in real mode that uses what BIOSes offer and Linux does not: loads itself by INT 13h,
 * prints by INT 10h. For each thing it checks it prints "PASS name" or "FAIL name", then "END", and
 * powers off. tests/boot/test_storage.py makes the medium: this code, then sectors that begin with
 * their own number.
 */
.code16
.section .text
.global _start

.set LOAD_ADDRESS, 0x7c00
.set BUFFER,       0x8000
.set SECTORS,      18 /* of a track */
.set CODE_SECTORS, 4
.set POWER_PORT,   0x604  /* PM1a control: sleep type and go */
.set POWER_OFF,    0x3400

_start:
    ljmp $0, $entry
entry:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $LOAD_ADDRESS, %sp
    sti
    cld
    movb %dl, drive
    movw $0x0200 + CODE_SECTORS - 1, %ax /* the rest of this code */
    movw $0x0002, %cx
    xorb %dh, %dh
    movw $LOAD_ADDRESS + 512, %bx
    int $0x13
    jc 1f
    jmp main
1:  movw $text_load, %si
    call print
    jmp power_off

drive: .byte 0
text_load: .asciz "FAIL load\r\n"

/* Prints the string at SI. */
print:
    lodsb
    testb %al, %al
    jz 1f
    movb $0x0e, %ah
    movw $0x0007, %bx
    int $0x10
    jmp print
1:  ret

/* A BIOS whose screen is a serial port sends the last letters with its timer. */
power_off:
    movw $8, %cx
1:  hlt
    loop 1b
    movw $POWER_PORT, %dx
    movw $POWER_OFF, %ax
    outw %ax, %dx
2:  hlt
    jmp 2b

.org 510
.word 0xaa55

/* --- from here on in the sectors behind the first --- */

/* Says whether the check whose name is at DI went well: carry clear. */
report:
    movw $text_pass, %si
    jnc 1f
    movw $text_fail, %si
1:  call print
    movw %di, %si
    call print
    movw $text_end_of_line, %si
    jmp print

/* Reads AL sectors from cylinder CH, head DH, sector CL into BUFFER. Carry: it failed. */
read:
    movb $0x02, %ah
    movb drive, %dl
    movw $BUFFER, %bx
    int $0x13
    ret

.macro check name, text
    movw $\name, %di
    call report
    .pushsection .text, 1
\name: .asciz "\text"
    .popsection
.endm

/* Sets carry unless the word at BUFFER + offset is `value`. */
.macro expect offset, value
    cmpw $\value, BUFFER + \offset
    je 9f
    stc
    jmp 8f
9:  clc
8:
.endm

main:
    /* The last sector of the second track: head 1. */
    movb $1, %al
    movw $0x0012, %cx
    movb $1, %dh
    call read
    jc 1f
    expect 0, 35
1:  check name_head, "read of the second side"

    /* Five sectors of cylinder 79. */
    movb $5, %al
    movw $0x4f01, %cx
    xorb %dh, %dh
    call read
    jc 1f
    expect 4*512, 79*36+4
1:  check name_far, "read of the last cylinder"

    /* Sector 19 does not exist. */
    movb $1, %al
    movw $0x0013, %cx
    xorb %dh, %dh
    call read
    cmc
    check name_beyond, "no sector 19"

    /* Writes a sector and reads it back from the medium. */
    movw $0x1234, BUFFER
    movw $0x0301, %ax
    movb drive, %dl
    movw $0x2805, %cx
    movb $1, %dh
    movw $BUFFER, %bx
    int $0x13
    jc 1f
    movw $0, BUFFER
    movb $1, %al
    movw $0x2805, %cx
    movb $1, %dh
    call read
    jc 1f
    expect 0, 0x1234
1:  check name_write, "write and read back"

    /* The drive's geometry: sectors in CL, last head in DH. */
    movb $0x08, %ah
    movb drive, %dl
    xorw %di, %di
    int $0x13
    pushw $0
    popw %es
    jc 1f
    cmpw $0x4f12, %cx
    jne 2f
    cmpb $1, %dh
    je 1f
2:  stc
1:  check name_geometry, "80 cylinders, 2 heads, 18 sectors"

    /* Memory below 1 MiB: 639 or 640 KiB. */
    int $0x12
    cmpw $600, %ax /* carry: less */
    check name_memory, "conventional memory"

    /* The clock ticks: INT 08h comes by the 8254 and the 8259. */
    xorb %ah, %ah
    int $0x1a
    movw %dx, %si
    movw $200, %bp
1:  hlt
    xorb %ah, %ah
    int $0x1a
    cmpw %si, %dx
    jne 2f
    decw %bp
    jnz 1b
    stc
    jmp 3f
2:  clc
3:  check name_ticks, "timer ticks"

    movw $text_end, %si
    call print
    jmp power_off

text_pass: .asciz "PASS "
text_fail: .asciz "FAIL "
text_end_of_line: .asciz "\r\n"
text_end: .asciz "END\r\n"
