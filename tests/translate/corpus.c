/* SPDX-License-Identifier: Apache-2.0 */
#include "corpus.h"

#include "cpu/translate/jump.h"

#include <stdlib.h>

unsigned random_pick(struct random *random, unsigned count)
{
    random->state ^= random->state << 13; /* xorshift64 */
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return (unsigned)((random->state * UINT64_C(0x2545f4914f6cdd1d) >> 33) % count);
}

int corpus_setup(void **state)
{
    struct error error = {0};
    struct corpus *corpus = calloc(1, sizeof(*corpus));
    void *bare;
    if (!corpus || bare_setup(&bare) < 0)
        return -1;
    corpus->bare = bare;
    corpus->vcpu = corpus->bare->vcpu;
    corpus->random.state = 1;
    log_init(&corpus->log, stderr, LOG_WARNING);
    corpus->bare->bus.log = &corpus->log;
    bare_take_host_model(corpus->bare);
    bare_enter_long(corpus->bare);
    corpus->vcpu->cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
    *state = corpus;
    if (engine_translate.create(corpus->vcpu, &error) < 0)
        return -1;
    corpus->translator = corpus->vcpu->translate.shared;
    return 0;
}

int corpus_teardown(void **state)
{
    struct corpus *corpus = *state;
    void *bare = corpus->bare;
    engine_translate.destroy(corpus->vcpu);
    log_destroy(&corpus->log);
    free(corpus);
    return bare_teardown(&bare);
}

/* --- guest code --- */

enum { MODRM = 1, IMMEDIATE8 = 2, IMMEDIATE32 = 4, RARE = 8, VECTOR = 16 };

/* Ranges of opcodes; the ModRM byte's register field is `reg` where that is not ANY. */
enum { ANY = 8 };
static const struct shape {
    uint8_t map, first, last, flags, reg;
} shapes[] = {
    {0, 0x00, 0x03, MODRM, ANY},
    {0, 0x28, 0x2b, MODRM, ANY},
    {0, 0x30, 0x33, MODRM, ANY},
    {0, 0x06, 0x07, RARE, ANY},
    {0, 0x10, 0x13, MODRM | RARE, ANY},
    {0, 0x38, 0x3b, MODRM, ANY},
    {0, 0x50, 0x5f, 0, ANY},
    {0, 0x63, 0x63, MODRM, ANY},
    {0, 0x68, 0x68, IMMEDIATE32 | RARE, ANY},
    {0, 0x6b, 0x6b, MODRM | IMMEDIATE8, ANY},
    {0, 0x70, 0x7f, IMMEDIATE8, ANY},
    {0, 0x80, 0x80, MODRM | IMMEDIATE8, ANY},
    {0, 0x81, 0x81, MODRM | IMMEDIATE32, ANY},
    {0, 0x83, 0x83, MODRM | IMMEDIATE8, ANY},
    {0, 0x84, 0x87, MODRM, ANY},
    {0, 0x88, 0x8b, MODRM, ANY},
    {0, 0x89, 0x8b, MODRM, ANY},
    {0, 0x8d, 0x8d, MODRM, ANY},
    {0, 0x90, 0x99, 0, ANY},
    {0, 0xa0, 0xa3, IMMEDIATE32 | RARE, ANY},
    {0, 0xa4, 0xa7, RARE, ANY},
    {0, 0xaa, 0xaf, RARE, ANY},
    {0, 0x9c, 0x9f, RARE, ANY},
    {0, 0xa8, 0xa8, IMMEDIATE8, ANY},
    {0, 0xb0, 0xb7, IMMEDIATE8, ANY},
    {0, 0xb8, 0xbf, IMMEDIATE32, ANY},
    {0, 0xc0, 0xc1, MODRM | IMMEDIATE8, ANY},
    {0, 0xc3, 0xc3, RARE, ANY},
    {0, 0xc6, 0xc6, MODRM | IMMEDIATE8, 0},
    {0, 0xc7, 0xc7, MODRM | IMMEDIATE32, 0},
    {0, 0xc9, 0xc9, RARE, ANY},
    {0, 0xd0, 0xd3, MODRM, ANY},
    {0, 0xd8, 0xdf, MODRM | RARE, ANY},
    {0, 0xe0, 0xe3, IMMEDIATE8 | RARE, ANY},
    {0, 0xe8, 0xe9, IMMEDIATE32 | RARE, ANY},
    {0, 0xf6, 0xf7, MODRM | IMMEDIATE8 | RARE, 0},
    {0, 0xf6, 0xf7, MODRM, 2},
    {0, 0xf6, 0xf7, MODRM, 3},
    {0, 0xf6, 0xf7, MODRM, 4},
    {0, 0xf6, 0xf7, MODRM, 6},
    {0, 0xf8, 0xfb, RARE, ANY},
    {0, 0xff, 0xff, MODRM, 0},
    {0, 0xff, 0xff, MODRM | RARE, ANY},
    {1, 0x10, 0x17, MODRM | VECTOR, ANY},
    {1, 0x28, 0x2f, MODRM | VECTOR, ANY},
    {1, 0x40, 0x4f, MODRM, ANY},
    {1, 0x50, 0x76, MODRM | VECTOR, ANY},
    {1, 0x7c, 0x7f, MODRM | VECTOR, ANY},
    {1, 0x80, 0x8f, IMMEDIATE32 | RARE, ANY},
    {1, 0x90, 0x9f, MODRM, ANY},
    {1, 0xa0, 0xa1, RARE, ANY},
    {1, 0xa3, 0xa5, MODRM | RARE, ANY},
    {1, 0xa3, 0xa3, MODRM, ANY},
    {1, 0xab, 0xad, MODRM, ANY},
    {1, 0xae, 0xae, MODRM | RARE, ANY},
    {1, 0xaf, 0xb1, MODRM, ANY},
    {1, 0xb3, 0xb3, MODRM, ANY},
    {1, 0xb6, 0xb7, MODRM, ANY},
    {1, 0xb8, 0xb8, MODRM | VECTOR, ANY},
    {1, 0xba, 0xba, MODRM | IMMEDIATE8, ANY},
    {1, 0xbb, 0xc1, MODRM, ANY},
    {1, 0xc2, 0xc6, MODRM | IMMEDIATE8 | VECTOR, ANY},
    {1, 0xc7, 0xc7, MODRM | RARE, ANY},
    {1, 0xc8, 0xcf, 0, ANY},
    {1, 0xd0, 0xff, MODRM | VECTOR, ANY},
    {2, 0x00, 0x41, MODRM | VECTOR, ANY},
    {2, 0x42, 0xc8, MODRM | VECTOR | RARE, ANY},
    {2, 0xdb, 0xf7, MODRM | VECTOR, ANY},
    {3, 0x08, 0x63, MODRM | IMMEDIATE8 | VECTOR, ANY},
};

/* An instruction is at most 1 + 1 + 3 + 1 + 1 + 4 + 4 bytes. */
#define SHAPE_MAX 15

static unsigned add_operand(struct random *random, uint8_t *bytes, unsigned reg)
{
    unsigned mod = random_pick(random, 4), rm = random_pick(random, 8), length = 0;
    bytes[length++] = (uint8_t)(mod << 6 | (reg == ANY ? random_pick(random, 8) : reg) << 3 | rm);
    bool sib = mod != 3 && rm == 4;
    if (sib)
        bytes[length++] = (uint8_t)random_pick(random, 256);
    bool wide = mod == 2 || (!mod && (rm == 5 || (sib && (bytes[length - 1] & 7) == 5)));
    for (unsigned i = 0; i < (wide ? 4u : mod == 1); i++)
        bytes[length++] = (uint8_t)random_pick(random, 256);
    return length;
}

static unsigned add_prefixes(struct random *random, uint8_t *bytes, bool vector)
{
    static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x65, 0x64, 0x67};
    unsigned length = 0;
    if (!random_pick(random, vector ? 2 : 10))
        bytes[length++] = prefixes[random_pick(random, vector ? 3 : ARRAY_SIZE(prefixes))];
    if (random_pick(random, 3))
        bytes[length++] = (uint8_t)(0x40 | random_pick(random, 16));
    return length;
}

/* The same operation with a VEX or EVEX prefix. */
static unsigned add_wide_instruction(struct random *random, const struct shape *shape,
                                     uint8_t *bytes)
{
    bool evex = random_pick(random, 2);
    unsigned length = 0;
    bytes[length++] = evex ? 0x62 : 0xc4;
    bytes[length++] = (uint8_t)((random_pick(random, 32) << 3 & (evex ? 0xf0 : 0xe0)) | shape->map);
    bytes[length++] =
        (uint8_t)((random_pick(random, 2) << 7) | (random_pick(random, 2) ? 0x78 : 0x70) |
                  (evex ? 4 : random_pick(random, 2) << 2) | random_pick(random, 4));
    if (evex)
        bytes[length++] = (uint8_t)(random_pick(random, 256) | 8);
    bytes[length++] =
        (uint8_t)(shape->first + random_pick(random, shape->last - shape->first + 1u));
    length += add_operand(random, bytes + length, shape->reg);
    if (shape->flags & IMMEDIATE8)
        bytes[length++] = (uint8_t)random_pick(random, 256);
    return length;
}

static unsigned add_instruction(struct random *random, uint8_t *bytes)
{
    static const uint8_t maps[][2] = {{0}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};
    const struct shape *shape;
    do
        shape = &shapes[random_pick(random, ARRAY_SIZE(shapes))];
    while (shape->flags & RARE && random_pick(random, 8));
    if (shape->flags & VECTOR && random_pick(random, 2))
        return add_wide_instruction(random, shape, bytes);
    unsigned length = add_prefixes(random, bytes, shape->flags & VECTOR);
    for (unsigned i = 0; i < 2 && maps[shape->map][i]; i++)
        bytes[length++] = maps[shape->map][i];
    bytes[length++] =
        (uint8_t)(shape->first + random_pick(random, shape->last - shape->first + 1u));
    if (shape->flags & MODRM)
        length += add_operand(random, bytes + length, shape->reg);
    unsigned immediate = shape->flags & IMMEDIATE8 ? 1 : shape->flags & IMMEDIATE32 ? 4 : 0;
    for (unsigned i = 0; i < immediate; i++)
        bytes[length++] = (uint8_t)random_pick(random, 256);
    return length;
}

void corpus_guest_code(struct random *random, uint8_t *bytes, size_t size)
{
    uint8_t instruction[SHAPE_MAX + 1];
    for (size_t at = 0; at < size;) {
        unsigned length = add_instruction(random, instruction);
        size_t part = length < size - at ? length : size - at;
        memcpy(bytes + at, instruction, part);
        at += part;
    }
}

/* --- translations --- */

static void set_mode(struct corpus *corpus, bool user, bool ac, bool wide)
{
    struct vcpu *vcpu = corpus->vcpu;
    uint16_t *code = &vcpu->segments[SEG_CS].attributes;
    *code = (*code & ~(SEGMENT_LONG | SEGMENT_BIG)) | (wide ? SEGMENT_LONG : SEGMENT_BIG);
    vcpu->segments[SEG_FS].attributes = 0; /* a null selector: for a handler in 32-bit code */
    static const uint64_t without = XSTATE_AVX | XSTATE_AVX512;
    vcpu->cpl = user ? 3 : 0;
    vcpu->xcr0 = vcpu->model->xcr0_supported;
    if (!random_pick(&corpus->random, 3)) /* not all, or none, of AVX */
        vcpu->xcr0 &= random_pick(&corpus->random, 2) ? ~XSTATE_AVX512 : ~without;
    vcpu->rflags = (vcpu->rflags & ~RFLAGS_AC) | (ac && !user ? RFLAGS_AC : 0);
    vcpu_update_mode(vcpu);
}

static struct translation *translate(struct corpus *corpus, unsigned offset, unsigned available)
{
    struct translator *translator = corpus->translator;
    struct vcpu *vcpu = corpus->vcpu;
    assert_true(jump_mode_known(vcpu));
    uint32_t mode = jump_mode(vcpu) & ~(uint32_t)CODE_MODE_NO_FPU;
    if (translator_is_full(translator))
        translator_empty(translator);
    pthread_mutex_lock(&translator->lock);
    struct translation *translation = NULL;
    if (scan_run(translator->scan, vcpu->model, mode, offset, available, SCAN_INSTRUCTIONS_MAX))
        translation = build_translation(translator, vcpu, CODE + offset, NO_PAGE, mode);
    pthread_mutex_unlock(&translator->lock);
    return translation;
}

struct translation *corpus_translate(struct corpus *corpus)
{
    struct random *random = &corpus->random;
    unsigned offset = random_pick(random, PAGE_SIZE);
    unsigned size = (unsigned)PAGE_SIZE - offset;
    size = size > 256 ? 256 : size;
    set_mode(corpus, random_pick(random, 2), !random_pick(random, 4), random_pick(random, 3));
    corpus_guest_code(random, corpus->translator->scan->bytes + offset, size);
    return translate(corpus, offset, size);
}

struct translation *corpus_translate_code(struct corpus *corpus, const uint8_t *code, size_t size,
                                          bool wide)
{
    set_mode(corpus, true, false, wide);
    memcpy(corpus->translator->scan->bytes, code, size);
    return translate(corpus, 0, (unsigned)size);
}

const uint8_t *corpus_code(const struct corpus *corpus, const struct translation *translation)
{
    return corpus->translator->writable + translation->start;
}
