/* SPDX-License-Identifier: Apache-2.0 */
/* Which instructions there are: the general ones from their table, those on vector registers found
 * by asking Zydis for every mnemonic in every shape. */
#include "differential/catalogue.h"

#include <stdio.h>

#define ENTRIES_MAX 16384

static struct entry entries[ENTRIES_MAX];
static unsigned entry_count;

/* Weight: how often a group is chosen when none is asked for. */
static struct group {
    const char *name;
    unsigned weight, first, count;
} groups[] = {
    {"alu", 10, 0, 0},    {"shift", 8, 0, 0},  {"multiply", 4, 0, 0}, {"bit", 4, 0, 0},
    {"move", 8, 0, 0},    {"flags", 2, 0, 0},  {"atomic", 6, 0, 0},   {"string", 6, 0, 0},
    {"stack", 5, 0, 0},   {"branch", 6, 0, 0}, {"bcd", 1, 0, 0},      {"misc", 1, 0, 0},
    {"segment", 4, 0, 0}, {"xsave", 2, 0, 0},  {"x87", 8, 0, 0},      {"mmx", 4, 0, 0},
    {"sse", 12, 0, 0},    {"bmi", 4, 0, 0},    {"avx", 10, 0, 0},     {"avx512", 10, 0, 0},
    {"sha", 2, 0, 0},
};

/* Which group and feature an extension of Zydis's list belongs to. */
static const struct {
    ZydisISAExt extension;
    const char *group;
    enum feature feature;
} extensions[] = {
    {ZYDIS_ISA_EXT_X87, "x87", FEATURE_NONE},
    {ZYDIS_ISA_EXT_MMX, "mmx", FEATURE_NONE},
    {ZYDIS_ISA_EXT_SSE, "sse", FEATURE_NONE},
    {ZYDIS_ISA_EXT_SSE2, "sse", FEATURE_NONE},
    {ZYDIS_ISA_EXT_SSE3, "sse", FEATURE_NONE},
    {ZYDIS_ISA_EXT_SSSE3, "sse", FEATURE_NONE},
    {ZYDIS_ISA_EXT_SSE4, "sse", FEATURE_NONE},
    {ZYDIS_ISA_EXT_AES, "sse", FEATURE_NONE},
    {ZYDIS_ISA_EXT_PCLMULQDQ, "sse", FEATURE_NONE},
    {ZYDIS_ISA_EXT_BMI1, "bmi", FEATURE_BMI1},
    {ZYDIS_ISA_EXT_BMI2, "bmi", FEATURE_BMI2},
    {ZYDIS_ISA_EXT_LZCNT, "bmi", FEATURE_LZCNT},
    {ZYDIS_ISA_EXT_ADOX_ADCX, "bmi", FEATURE_ADX},
    {ZYDIS_ISA_EXT_AVX, "avx", FEATURE_AVX},
    {ZYDIS_ISA_EXT_AVXAES, "avx", FEATURE_AVX},
    {ZYDIS_ISA_EXT_AVX2, "avx", FEATURE_AVX2},
    {ZYDIS_ISA_EXT_F16C, "avx", FEATURE_F16C},
    {ZYDIS_ISA_EXT_FMA, "avx", FEATURE_FMA},
    {ZYDIS_ISA_EXT_VAES, "avx", FEATURE_VAES},
    {ZYDIS_ISA_EXT_VPCLMULQDQ, "avx", FEATURE_VPCLMULQDQ},
    {ZYDIS_ISA_EXT_GFNI, "avx", FEATURE_GFNI},
    {ZYDIS_ISA_EXT_SHA, "sha", FEATURE_SHA},
    {ZYDIS_ISA_EXT_AVX512EVEX, "avx512", FEATURE_AVX512},
    {ZYDIS_ISA_EXT_AVX512VEX, "avx512", FEATURE_AVX512},
};

/* Left out of the search: in the table, or their result is not defined by their inputs. */
static const ZydisMnemonic excluded[] = {
    ZYDIS_MNEMONIC_FXSAVE,    ZYDIS_MNEMONIC_FXSAVE64, ZYDIS_MNEMONIC_FXRSTOR,
    ZYDIS_MNEMONIC_FXRSTOR64, ZYDIS_MNEMONIC_LDMXCSR,  ZYDIS_MNEMONIC_VLDMXCSR,
    ZYDIS_MNEMONIC_PAUSE,     ZYDIS_MNEMONIC_CRC32,    ZYDIS_MNEMONIC_POPCNT,
};

/* Shapes to try; see struct entry. */
static const char *const legacy_shapes[] = {
    "",    "xx",  "xm",  "mx",  "xxb", "xmb", "mxb", "xb", "xd", "xq", "dx", "qx",  "dm",  "qm",
    "xdb", "xqb", "dxb", "qxb", "xxX", "xmX", "px",  "xp", "pp", "pm", "mp", "ppb", "pmb", "pb",
    "pd",  "pq",  "dp",  "qp",  "dpb", "pdb", "m",   "s",  "0s", "s0", "A",  "dd",  "qq",
};
static const char *const vex_shapes[] = {
    "",     "xx",   "yy",   "xy",   "yx",   "xm",   "ym",   "mx",   "my",   "xxx", "yyy",
    "xxm",  "yym",  "mxx",  "myy",  "xxb",  "yyb",  "xmb",  "ymb",  "mxb",  "myb", "xyb",
    "xxxb", "yyyb", "xxmb", "yymb", "yyxb", "xxxx", "yyyy", "xxmx", "yymy", "xd",  "xq",
    "dx",   "qx",   "dy",   "dm",   "qm",   "xxd",  "xxq",  "xxdb", "xxqb", "dxb", "ddd",
    "qqq",  "ddm",  "qqm",  "dmd",  "qmq",  "dd",   "qq",   "ddb",  "qqb",  "dmb", "qmb",
    "kk",   "kkk",  "km",   "mk",   "kd",   "kq",   "dk",   "qk",   "kkb",
};
static const char *const evex_shapes[] = {
    "xkx",  "yky",   "zkz",   "xkm",   "ykm",   "zkm",   "mkx",   "mky",   "mkz",   "xkxx",
    "ykyy", "zkzz",  "xkxm",  "ykym",  "zkzm",  "xkxb",  "ykyb",  "zkzb",  "xkmb",  "ykmb",
    "zkmb", "xkxxb", "ykyyb", "zkzzb", "xkxmb", "ykymb", "zkzmb", "kkxx",  "kkyy",  "kkzz",
    "kkxm", "kkym",  "kkzm",  "kkxxb", "kkyyb", "kkzzb", "kkxmb", "kkymb", "kkzmb", "xky",
    "xkz",  "ykx",   "ykz",   "zkx",   "zky",   "mkyb",  "mkzb",  "zkzxb", "zkzyb", "ykyxb",
    "xkyb", "xkzb",  "ykzb",  "xkd",   "ykd",   "zkd",   "xkq",   "ykq",   "zkq",   "kkxb",
    "kkyb", "kkzb",  "kkmb",  "xk",    "yk",    "zk",    "kx",    "ky",    "kz",
};
static const uint8_t memory_sizes[] = {1, 2, 4, 8, 10, 16, 28, 32, 64, 108};

static bool try_mode(const struct entry *entry, enum code_mode mode, struct test_case *test)
{
    struct random random = {88172645463325252u};
    struct builder builder = {.random = &random, .test = test};
    for (unsigned i = 0; i < 4; i++) { /* AH, CH, DH with REX cannot be */
        test->mode = mode;
        test->length = test->boundary_count = 0;
        test->address = CODE_ADDRESS + CODE_START;
        if (builder_add(&builder, entry))
            return true;
    }
    return false;
}

/* Adds the entry if it can be encoded in any mode. test: the last instance that was. */
static bool add_entry(struct entry *entry, struct test_case *test)
{
    entry->modes = 0;
    for (unsigned mode = MODE_COUNT; mode-- > 0;)
        if (try_mode(entry, mode, test))
            entry->modes |= (uint8_t)BIT(mode);
    if (!entry->modes || entry_count == ENTRIES_MAX)
        return false;
    entries[entry_count++] = *entry;
    return true;
}

/* The shape that a row's text begins with, kept. Advances *text to the next one. */
static const char *next_shape(const char **text)
{
    static char shapes[64][8];
    size_t length = strcspn(*text, " ");
    char shape[8] = {0};
    if (length < sizeof(shape) && **text != '-')
        memcpy(shape, *text, length);
    *text += length + ((*text)[length] == ' ');
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        if (i > 0 && !*shapes[i])
            memcpy(shapes[i], shape, sizeof(shape));
        if (!strcmp(shapes[i], shape)) /* the first is the empty one */
            return shapes[i];
    }
    return NULL;
}

static void add_row(const struct row *row)
{
    static const uint16_t sizes[] = {1, 2, 4, 8, 16, 512};
    struct test_case test = {0};
    for (const char *text = row->shapes; *text;) {
        const char *shape = next_shape(&text);
        bool sized = shape && strpbrk(shape, "rmif");
        for (unsigned i = 0; shape && i < (sized ? ARRAY_SIZE(sizes) : 1); i++) {
            struct entry entry = {.group = row->group,
                                  .shape = shape,
                                  .mnemonic = row->mnemonic,
                                  .undefined = row->undefined,
                                  .size = sized ? sizes[i] : 0,
                                  .setup = row->setup,
                                  .encoding = ZYDIS_ENCODABLE_ENCODING_LEGACY,
                                  .lockable = row->lockable,
                                  .repeatable = row->repeatable};
            add_entry(&entry, &test);
        }
    }
}

/* AVX-512 as all but Xeon Phi have it, and as Zen 4 and Ice Lake do; without FP16, BF16 and
 * VP2INTERSECT. */
static enum feature avx512_feature(ZydisISASet set)
{
    static const struct {
        const char *prefix;
        enum feature feature;
    } sets[] = {
        {"AVX512F_", FEATURE_AVX512},
        {"AVX512BW_", FEATURE_AVX512},
        {"AVX512DQ_", FEATURE_AVX512},
        {"AVX512CD_", FEATURE_AVX512},
        {"AVX512_BITALG_", FEATURE_AVX512_LATER},
        {"AVX512_GFNI_", FEATURE_AVX512_LATER},
        {"AVX512_IFMA_", FEATURE_AVX512_LATER},
        {"AVX512_VAES_", FEATURE_AVX512_LATER},
        {"AVX512_VBMI", FEATURE_AVX512_LATER}, /* and VBMI2 */
        {"AVX512_VNNI_", FEATURE_AVX512_LATER},
        {"AVX512_VPCLMULQDQ_", FEATURE_AVX512_LATER},
        {"AVX512_VPOPCNTDQ_", FEATURE_AVX512_LATER},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(sets); i++)
        if (!strncmp(ZydisISASetGetString(set), sets[i].prefix, strlen(sets[i].prefix)))
            return sets[i].feature;
    return FEATURE_NONE;
}

/* Group, feature and open flags of what was just encoded. False: not to be compared. */
static bool classify(struct entry *entry, const struct test_case *test)
{
    ZydisDecoder decoder = decoder_of(test->mode);
    ZydisDecodedInstruction instruction;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, ZYAN_NULL, test->code, test->length,
                                                    &instruction)))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(extensions); i++) {
        if (extensions[i].extension != instruction.meta.isa_ext)
            continue;
        entry->group = extensions[i].group;
        entry->feature = extensions[i].feature;
        entry->undefined = instruction.cpu_flags ? instruction.cpu_flags->undefined : 0;
        if (entry->feature == FEATURE_AVX512)
            entry->feature = avx512_feature(instruction.meta.isa_set);
        return extensions[i].feature == FEATURE_NONE || entry->feature != FEATURE_NONE;
    }
    return false;
}

static bool is_excluded(ZydisMnemonic mnemonic)
{
    for (unsigned i = 0; i < ARRAY_SIZE(excluded); i++)
        if (excluded[i] == mnemonic)
            return true;
    return false;
}

static void search_entry(struct entry *entry)
{
    struct test_case test = {0};
    if (!try_mode(entry, MODE_64, &test) || !classify(entry, &test))
        return;
    if (entry->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
        entry->mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ||
        entry->mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU)
        entry->setup = SETUP_DI;
    add_entry(entry, &test);
}

static void search(const char *const *shapes, unsigned shape_count, ZydisEncodableEncoding encoding)
{
    for (ZydisMnemonic mnemonic = 1; mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE; mnemonic++) {
        if (is_excluded(mnemonic))
            continue;
        for (unsigned i = 0; i < shape_count; i++) {
            bool sized = strchr(shapes[i], 'm');
            for (unsigned size = 0; size < (sized ? ARRAY_SIZE(memory_sizes) : 1); size++) {
                struct entry entry = {.group = "",
                                      .shape = shapes[i],
                                      .mnemonic = mnemonic,
                                      .size = sized ? memory_sizes[size] : 0,
                                      .encoding = encoding};
                search_entry(&entry);
            }
        }
    }
}

/* Brings each group's entries together. */
static void sort_groups(void)
{
    static struct entry sorted[ENTRIES_MAX];
    unsigned next = 0;
    for (unsigned g = 0; g < ARRAY_SIZE(groups); g++) {
        groups[g].first = next;
        for (unsigned i = 0; i < entry_count; i++)
            if (!strcmp(entries[i].group, groups[g].name))
                sorted[next++] = entries[i];
        groups[g].count = next - groups[g].first;
    }
    memcpy(entries, sorted, sizeof(entries));
}

void catalogue_create(void)
{
    for (unsigned i = 0; i < general_row_count; i++)
        add_row(&general_rows[i]);
    search(legacy_shapes, ARRAY_SIZE(legacy_shapes), ZYDIS_ENCODABLE_ENCODING_LEGACY);
    search(vex_shapes, ARRAY_SIZE(vex_shapes), ZYDIS_ENCODABLE_ENCODING_VEX);
    search(evex_shapes, ARRAY_SIZE(evex_shapes), ZYDIS_ENCODABLE_ENCODING_EVEX);
    sort_groups();
}

static const struct group *pick_group(struct random *random)
{
    unsigned total = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
        total += groups[i].weight;
    unsigned which = pick(random, total);
    for (unsigned i = 0;; i++) {
        if (which < groups[i].weight)
            return &groups[i];
        which -= groups[i].weight;
    }
}

static const struct group *find_group(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
        if (!strcmp(groups[i].name, name))
            return &groups[i];
    return NULL;
}

const struct entry *catalogue_pick(struct random *random, const char *group,
                                   const struct test_case *test, uint64_t features)
{
    for (unsigned i = 0; i < 200; i++) {
        const struct group *chosen = group ? find_group(group) : pick_group(random);
        if (!chosen || !chosen->count)
            continue;
        const struct entry *entry = &entries[chosen->first + pick(random, chosen->count)];
        /* POPA keeps what it read before a fault, or does not. */
        if (test->place != PLACE_SCRATCH &&
            (entry->mnemonic == ZYDIS_MNEMONIC_POPA || entry->mnemonic == ZYDIS_MNEMONIC_POPAD))
            continue;
        /* Of a far transfer from a 16-bit stack that faults, Linux makes an endless loop; and the
         * order of their checks is the processor's own. */
        if ((test->mode == MODE_16 || test->place != PLACE_SCRATCH) && entry->setup >= SETUP_FAR)
            continue;
        if (entry->modes & BIT(test->mode) && features & BIT(entry->feature))
            return entry;
    }
    return NULL;
}

bool catalogue_has(const char *group)
{
    return find_group(group);
}

void catalogue_print(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
        printf("%-10s %u forms\n", groups[i].name, groups[i].count);
}
