/* SPDX-License-Identifier: Apache-2.0 */
/* The functions that gcc calls by itself. */
#include <stddef.h>
#include <stdint.h>

void *memset(void *to, int value, size_t size);
void *memset(void *to, int value, size_t size)
{
    volatile uint8_t *bytes = to;
    while (size--)
        *bytes++ = (uint8_t)value;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    volatile uint8_t *bytes = to;
    const uint8_t *source = from;
    while (size--)
        *bytes++ = *source++;
    return to;
}
