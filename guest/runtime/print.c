/* SPDX-License-Identifier: Apache-2.0 */
/* Serial output and verdicts. */
#include "runtime/runtime.h"

#include <stdarg.h>

static void put(char character)
{
    while (!(port_read8(0x3fd) & 0x20))
        ;
    port_write8(0x3f8, (uint8_t)character);
}

static void put_text(const char *text)
{
    while (*text)
        put(*text++);
}

static void put_hexadecimal(uint64_t value)
{
    int shift = 60;
    put_text("0x");
    while (shift > 0 && !(value >> shift & 15))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

/* Knows %s, %x (unsigned), %lx (word) and %llx only. */
void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        unsigned longs = 0;
        while (*++format == 'l')
            longs++;
        if (*format == 's')
            put_text(va_arg(arguments, const char *));
        else if (longs == 2)
            put_hexadecimal(va_arg(arguments, unsigned long long));
        else
            put_hexadecimal(longs ? va_arg(arguments, word) : va_arg(arguments, unsigned));
    }
    va_end(arguments);
}

void check(bool passed, const char *name)
{
    print("%s %s\n", passed ? "PASS" : "FAIL", name);
}

void check_equal(uint64_t got, uint64_t wanted, const char *name)
{
    if (got == wanted)
        check(true, name);
    else
        print("FAIL %s: got %llx, wanted %llx\n", name, (unsigned long long)got,
              (unsigned long long)wanted);
}

void check_trap(struct trap trap, unsigned vector, word error, const char *name)
{
    if (trap.vector == vector && trap.error == error)
        check(true, name);
    else
        print("FAIL %s: got vector %x error %lx at %lx address %lx, wanted vector %x error %lx\n",
              name, trap.vector, trap.error, trap.ip, trap.address, vector, error);
}
