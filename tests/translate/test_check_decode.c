/* SPDX-License-Identifier: Apache-2.0 */
/* The checker's own decoder says what Zydis says, over every opcode, ModRM byte and prefix it
 * knows. */
#include "cpu/bare.h"
#include "cpu/translate/check_decode.h"

static const uint8_t prefixes[][3] = {
    {0},    {0x66}, {0x48}, {0x41},       {0x45},       {0x4d},       {0x44},      {0x40},
    {0x4f}, {0x49}, {0x4c}, {0x66, 0x41}, {0x66, 0x45}, {0x66, 0x48}, {0x66, 0x4d}};

static bool facts_agree(const struct host_facts *common, const struct host_facts *any)
{
    /* Zydis knows when the registers of a write are read as well; more reads are on the safe side,
     * fewer are not. */
    return common->length == any->length && common->base == any->base &&
           common->size == any->size && common->stores == any->stores &&
           common->may_fault == any->may_fault && common->bit_register == any->bit_register &&
           common->live == any->live && (any->reads & ~common->reads) == 0 &&
           common->writes == any->writes && common->constant == any->constant;
}

static unsigned compare(const ZydisDecoder *decoder, const uint8_t *bytes)
{
    struct host_facts common, any;
    if (host_decode_common(bytes, 16, &common) != DECODE_ALLOWED)
        return 0;
    enum decode_result result = host_decode_any(decoder, bytes, 16, &any);
    if (result != DECODE_ALLOWED || !facts_agree(&common, &any))
        fail_msg("%02x %02x %02x %02x %02x %02x: lengths %u %u, base %u %u, size %u %u, stores %u "
                 "%u, reads %x %x, writes %x %x, result %u",
                 bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], common.length,
                 any.length, common.base, any.base, common.size, any.size, common.stores,
                 any.stores, common.reads, any.reads, common.writes, any.writes, result);
    return 1;
}

static unsigned compare_opcode(const ZydisDecoder *decoder, const uint8_t *prefix, unsigned map,
                               unsigned opcode)
{
    static const uint8_t sibs[] = {0x24, 0x25, 0xe4, 0x3e, 0xf6};
    unsigned known = 0;
    for (unsigned modrm = 0; modrm < 256; modrm++) {
        for (unsigned i = 0; i < ((modrm & 7) == 4 ? ARRAY_SIZE(sibs) : 1); i++) {
            uint8_t bytes[16] = {0};
            unsigned at = 0;
            for (unsigned j = 0; prefix[j]; j++)
                bytes[at++] = prefix[j];
            if (map)
                bytes[at++] = 0x0f;
            bytes[at++] = (uint8_t)opcode;
            bytes[at++] = (uint8_t)modrm;
            bytes[at++] = (modrm & 7) == 4 ? sibs[i] : 0x11;
            memset(bytes + at, 0x12, sizeof(bytes) - at);
            known += compare(decoder, bytes);
        }
    }
    return known;
}

static void common_decoder_agrees_with_zydis(void **state)
{
    ZydisDecoder decoder;
    unsigned known = 0;
    (void)state;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (unsigned i = 0; i < ARRAY_SIZE(prefixes); i++)
        for (unsigned map = 0; map < 2; map++)
            for (unsigned opcode = 0; opcode < 256; opcode++)
                known += compare_opcode(&decoder, prefixes[i], map, opcode);
    assert_true(known > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(common_decoder_agrees_with_zydis)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
