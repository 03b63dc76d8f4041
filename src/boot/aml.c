/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/aml.h"

#include "base/bits.h"

#include <ctype.h>

enum {
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_EXTENDED = 0x5b,
    OP_LOCAL_0 = 0x60,
    OP_ARGUMENT_0 = 0x68,
    OP_STORE = 0x70,
    OP_DEVICE = 0x82,
    OP_AND = 0x7b,
    OP_REGION = 0x80, /* this and the next: behind OP_EXTENDED */
    OP_FIELD = 0x81,
    OP_NOTIFY = 0x86,
    OP_IF = 0xa0,
    OP_RETURN = 0xa4,
};
#define RESOURCE_END_TAG 0x79

/* The tables are small and made by us: what does not fit is cut, and the checksum test would tell.
 */
static void put(struct aml *aml, const void *bytes, size_t count)
{
    if (aml->length + count > AML_SIZE_MAX)
        return;
    memcpy(aml->bytes + aml->length, bytes, count);
    aml->length += count;
}

static void put_byte(struct aml *aml, uint8_t value)
{
    put(aml, &value, 1);
}

static void put_number(struct aml *aml, uint64_t value, unsigned size)
{
    put(aml, &value, size);
}

/* PkgLength: one byte up to 63, else a lead byte with four bits and the count of bytes that follow.
 */
void aml_end(struct aml *aml, size_t begin)
{
    size_t content = aml->length - begin;
    unsigned bytes = content + 1 < 64 ? 1 : content + 2 < 4096 ? 2 : 3;
    size_t total = content + bytes;
    uint8_t prefix[3] = {(uint8_t)total};
    if (bytes > 1) {
        prefix[0] = (uint8_t)((bytes - 1) << 6 | (total & 0xf));
        prefix[1] = (uint8_t)(total >> 4);
        prefix[2] = (uint8_t)(total >> 12);
    }
    if (aml->length + bytes > AML_SIZE_MAX)
        return;
    memmove(aml->bytes + begin + bytes, aml->bytes + begin, content);
    memcpy(aml->bytes + begin, prefix, bytes);
    aml->length += bytes;
}

size_t aml_begin_scope(struct aml *aml, const char *name)
{
    put_byte(aml, OP_SCOPE);
    size_t begin = aml->length;
    put(aml, name, strlen(name));
    return begin;
}

size_t aml_begin_device(struct aml *aml, const char *name)
{
    put_byte(aml, OP_EXTENDED);
    put_byte(aml, OP_DEVICE);
    size_t begin = aml->length;
    put(aml, name, 4);
    return begin;
}

size_t aml_begin_package(struct aml *aml, unsigned element_count)
{
    put_byte(aml, OP_PACKAGE);
    size_t begin = aml->length;
    put_byte(aml, (uint8_t)element_count);
    return begin;
}

size_t aml_begin_method(struct aml *aml, const char *name, unsigned argument_count)
{
    put_byte(aml, OP_METHOD);
    size_t begin = aml->length;
    put(aml, name, strlen(name));
    put_byte(aml, (uint8_t)argument_count);
    return begin;
}

size_t aml_begin_if(struct aml *aml, const char *name)
{
    put_byte(aml, OP_IF);
    size_t begin = aml->length;
    put(aml, name, strlen(name));
    return begin;
}

void aml_store_argument(struct aml *aml, const char *name)
{
    put_byte(aml, OP_STORE);
    put_byte(aml, OP_ARGUMENT_0);
    put(aml, name, strlen(name));
}

#define TWO_NAMES 0x2e /* the next eight letters are a path of two */

void aml_notify(struct aml *aml, const char *scope, const char *device, unsigned value)
{
    put_byte(aml, OP_NOTIFY);
    put_byte(aml, '\\');
    put_byte(aml, TWO_NAMES);
    put(aml, scope, 4);
    put(aml, device, 4);
    aml_integer(aml, value);
}

void aml_notify_near(struct aml *aml, const char *device, unsigned value)
{
    put_byte(aml, OP_NOTIFY);
    put(aml, device, 4);
    aml_integer(aml, value);
}

#define MANY_NAMES 0x2f /* a byte says of how many the path consists */

void aml_call(struct aml *aml, const char *a, const char *b, const char *method)
{
    put_byte(aml, '\\');
    put_byte(aml, MANY_NAMES);
    put_byte(aml, 3);
    put(aml, a, 4);
    put(aml, b, 4);
    put(aml, method, 4);
}

void aml_store_local(struct aml *aml, const char *name)
{
    put_byte(aml, OP_STORE);
    put(aml, name, 4);
    put_byte(aml, OP_LOCAL_0);
}

void aml_store_integer(struct aml *aml, uint64_t value, const char *name)
{
    put_byte(aml, OP_STORE);
    aml_integer(aml, value);
    put(aml, name, 4);
}

size_t aml_begin_if_local(struct aml *aml, uint64_t mask)
{
    put_byte(aml, OP_IF);
    size_t begin = aml->length;
    put_byte(aml, OP_AND);
    put_byte(aml, OP_LOCAL_0);
    aml_integer(aml, mask);
    put_byte(aml, 0); /* the result is kept nowhere */
    return begin;
}

#define REGION_PORTS  1
#define FIELD_DWORDS  3 /* accesses of 32 bits; no lock; what is not written stays */
#define FIELD_BITS_32 32

void aml_port_region(struct aml *aml, const char *name, uint16_t port, unsigned length)
{
    put_byte(aml, OP_EXTENDED);
    put_byte(aml, OP_REGION);
    put(aml, name, 4);
    put_byte(aml, REGION_PORTS);
    aml_integer(aml, port);
    aml_integer(aml, length);
}

void aml_fields32(struct aml *aml, const char *region, const char *const *names, unsigned count)
{
    put_byte(aml, OP_EXTENDED);
    put_byte(aml, OP_FIELD);
    size_t begin = aml->length;
    put(aml, region, 4);
    put_byte(aml, FIELD_DWORDS);
    for (unsigned i = 0; i < count; i++) {
        put(aml, names[i], 4);
        put_byte(aml, FIELD_BITS_32);
    }
    aml_end(aml, begin);
}

void aml_return(struct aml *aml, const char *name)
{
    put_byte(aml, OP_RETURN);
    put(aml, name, strlen(name));
}

void aml_name(struct aml *aml, const char *name)
{
    put_byte(aml, OP_NAME);
    put(aml, name, strlen(name));
}

void aml_integer(struct aml *aml, uint64_t value)
{
    if (value < 2) { /* ZeroOp, OneOp */
        put_byte(aml, (uint8_t)value);
    } else if (value < 0x100) {
        put_byte(aml, OP_BYTE);
        put_number(aml, value, 1);
    } else if (value < 0x10000) {
        put_byte(aml, OP_WORD);
        put_number(aml, value, 2);
    } else {
        put_byte(aml, OP_DWORD);
        put_number(aml, value, 4);
    }
}

void aml_string(struct aml *aml, const char *text)
{
    put_byte(aml, OP_STRING);
    put(aml, text, strlen(text) + 1);
}

static uint32_t hex_digit(char digit)
{
    return (uint32_t)(isdigit((unsigned char)digit) ? digit - '0' : digit - 'A' + 10);
}

/* Three letters of five bits, four hexadecimal digits, stored big-endian. */
void aml_eisa_id(struct aml *aml, const char *id)
{
    uint32_t value = 0;
    for (int i = 0; i < 3; i++)
        value = value << 5 | (uint32_t)(id[i] - '@');
    for (int i = 3; i < 7; i++)
        value = value << 4 | hex_digit(id[i]);
    put_byte(aml, OP_DWORD);
    put_number(aml, __builtin_bswap32(value), 4);
}

/* The buffer's size is a word integer in front of its bytes, filled in at the end. */
size_t aml_begin_resources(struct aml *aml)
{
    aml_name(aml, "_CRS");
    put_byte(aml, OP_BUFFER);
    size_t begin = aml->length;
    put_byte(aml, OP_WORD);
    put_number(aml, 0, 2);
    return begin;
}

void aml_end_resources(struct aml *aml, size_t begin)
{
    put_byte(aml, RESOURCE_END_TAG);
    put_byte(aml, 0); /* checksum not used */
    store_le(aml->bytes + begin + 1, aml->length - begin - 3, 2);
    aml_end(aml, begin);
}

void aml_io(struct aml *aml, uint16_t base, uint8_t length)
{
    put_byte(aml, 0x47);
    put_byte(aml, 1); /* decodes 16 bits */
    put_number(aml, base, 2);
    put_number(aml, base, 2);
    put_byte(aml, 1);
    put_byte(aml, length);
}

void aml_irq(struct aml *aml, unsigned line)
{
    put_byte(aml, 0x22);
    put_number(aml, 1u << line, 2);
}

void aml_memory_fixed(struct aml *aml, uint32_t base, uint32_t size)
{
    put_byte(aml, 0x86);
    put_number(aml, 9, 2);
    put_byte(aml, 1); /* can be written */
    put_number(aml, base, 4);
    put_number(aml, size, 4);
}

/* Address space descriptors: kind, flags, then granularity, first, last, translation, length. */
static void put_range(struct aml *aml, uint8_t tag, unsigned width, uint8_t kind, uint8_t specific,
                      uint64_t first, uint64_t last)
{
    put_byte(aml, tag);
    put_number(aml, 3 + 5 * width, 2);
    put_byte(aml, kind);
    put_byte(aml, 0x0c); /* both ends fixed, positive decode */
    put_byte(aml, specific);
    put_number(aml, 0, width);
    put_number(aml, first, width);
    put_number(aml, last, width);
    put_number(aml, 0, width);
    put_number(aml, last - first + 1, width);
}

void aml_bus_range(struct aml *aml, uint16_t first, uint16_t last)
{
    put_range(aml, 0x88, 2, 2, 0, first, last);
}

void aml_io_range(struct aml *aml, uint16_t first, uint16_t last)
{
    put_range(aml, 0x88, 2, 1, 3, first, last);
}

void aml_memory_range(struct aml *aml, uint32_t first, uint32_t last)
{
    put_range(aml, 0x87, 4, 0, 1, first, last);
}

void aml_memory_range64(struct aml *aml, uint64_t first, uint64_t last)
{
    put_range(aml, 0x8a, 8, 0, 1, first, last);
}
