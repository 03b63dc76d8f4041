/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A translator with planted mistakes: real translations of random guest code, changed in one place.
 * Changes that break a rule are refused; of random ones, what is accepted is harmless to the eyes
 * of another judge.
 */
#include "corpus.h"
#include "oracle.h"

#include <stdlib.h>

enum { TRANSLATIONS = 3000, FLIPS = 100 };

/* A copy of a translation that can be spoilt. The sites stay where they are: the code points at
 * them. */
struct copy {
    struct translation translation;
    uint8_t code[SCAN_CODE_MAX];
    uint32_t length;
};

static void copy_make(struct copy *copy, const struct corpus *corpus,
                      const struct translation *translation)
{
    copy->translation = *translation;
    copy->length = translation->end - translation->start;
    memcpy(copy->code, corpus_code(corpus, translation), copy->length);
    /* So that the sites' pointer back is right. */
    for (unsigned i = 0; i < translation->site_count; i++)
        translation->sites[i].translation = &copy->translation;
}

static enum check_rule verdict(struct corpus *corpus, const struct copy *copy)
{
    struct check_refusal refusal;
    return check_translation(corpus->translator->checker, corpus->translator, &copy->translation,
                             copy->code, &refusal)
               ? CHECK_ACCEPTED
               : refusal.rule;
}

/* --- sequences in real code --- */

#define ACCESS_LENGTH 53

/* Offset of the next look-up from `at`, or -1. */
static int find_access(const struct copy *copy, uint32_t at)
{
    static const uint8_t start[] = {0xc4, 0x43, 0xfb, 0xf0, 0xfe, 0x07, 0x65, 0x44, 0x23};
    for (; at + ACCESS_LENGTH <= copy->length; at++)
        if (!memcmp(copy->code + at, start, sizeof(start)))
            return (int)at;
    return -1;
}

static bool is_write(const struct copy *copy, int access)
{
    uint64_t tag = load_le(copy->code + access + 19, 4);
    return (tag - VCPU(tlb_entries)) % sizeof(struct tlb_entry) == MMU_WRITE * sizeof(uint64_t);
}

static bool add_at(struct copy *copy, uint32_t place, int32_t value)
{
    store_le(copy->code + place, (uint32_t)load_le(copy->code + place, 4) + (uint32_t)value, 4);
    return true;
}

static bool fill(struct copy *copy, uint32_t place, unsigned count)
{
    memset(copy->code + place, 0x90, count);
    return true;
}

/* --- planted mistakes: each in the look-up at `at`; false: does not apply --- */

static bool drop_comparison(struct copy *copy, uint32_t at)
{
    return fill(copy, at + 32, 7);
}

static bool drop_miss(struct copy *copy, uint32_t at)
{
    return fill(copy, at + 39, 6);
}

static bool drop_look_up(struct copy *copy, uint32_t at)
{
    return fill(copy, at, ACCESS_LENGTH);
}

static bool drop_mask(struct copy *copy, uint32_t at)
{
    return fill(copy, at + 6, 9);
}

static bool drop_generation(struct copy *copy, uint32_t at)
{
    return fill(copy, at + 23, 9);
}

static bool reverse_miss(struct copy *copy, uint32_t at)
{
    copy->code[at + 40] ^= 1;
    return true;
}

static bool miss_elsewhere(struct copy *copy, uint32_t at)
{
    return add_at(copy, at + 41, 1);
}

static bool miss_short(struct copy *copy, uint32_t at)
{
    store_le(copy->code + at + 41, 0, 4);
    return true;
}

static bool fetch_tag(struct copy *copy, uint32_t at)
{
    return add_at(copy, at + 19, is_write(copy, (int)at) ? 8 : 16);
}

static bool page_as_tag(struct copy *copy, uint32_t at)
{
    return add_at(copy, at + 19, is_write(copy, (int)at) ? 16 : 24);
}

static bool tag_as_page(struct copy *copy, uint32_t at)
{
    return add_at(copy, at + 49, -24);
}

static bool next_mode(struct copy *copy, uint32_t at)
{
    return add_at(copy, at + 11, sizeof(struct tlb)) && add_at(copy, at + 28, sizeof(struct tlb)) &&
           add_at(copy, at + 19, TLB_SIZE_MAX * sizeof(struct tlb_entry)) &&
           add_at(copy, at + 49, TLB_SIZE_MAX * sizeof(struct tlb_entry));
}

static bool no_size(struct copy *copy, uint32_t at)
{
    store_le(copy->code + at + 35, PAGE_SIZE, 4);
    return true;
}

static bool negative_size(struct copy *copy, uint32_t at)
{
    store_le(copy->code + at + 35, 0xffffffff, 4);
    return true;
}

static bool larger_limit(struct copy *copy, uint32_t at)
{
    store_le(copy->code + at + 35, PAGE_SIZE + 4096, 4);
    return true;
}

static const struct {
    const char *name;
    bool (*plant)(struct copy *copy, uint32_t at);
} mistakes[] = {
    {"comparison dropped", drop_comparison},
    {"jump to the miss dropped", drop_miss},
    {"look-up dropped", drop_look_up},
    {"index not masked", drop_mask},
    {"generation left out", drop_generation},
    {"condition of the miss reversed", reverse_miss},
    {"miss leads one byte too far", miss_elsewhere},
    {"miss leads to the access", miss_short},
    {"tag for fetches", fetch_tag},
    {"page compared as tag", page_as_tag},
    {"tag added as page", tag_as_page},
    {"another mode's table", next_mode},
    {"size of nothing", no_size},
    {"negative size", negative_size},
    {"size past the page", larger_limit},
};

static void planted_mistakes_are_refused(void **state)
{
    struct corpus *corpus = *state;
    struct copy *copy = malloc(sizeof(*copy));
    unsigned planted[ARRAY_SIZE(mistakes)] = {0};
    assert_non_null(copy);
    for (unsigned i = 0; i < TRANSLATIONS; i++) {
        const struct translation *translation = corpus_translate(corpus);
        if (!translation)
            continue;
        copy_make(copy, corpus, translation);
        assert_int_equal(verdict(corpus, copy), CHECK_ACCEPTED);
        int at = find_access(copy, 0);
        for (unsigned j = 0; at >= 0 && j < ARRAY_SIZE(mistakes); j++) {
            if (!mistakes[j].plant(copy, (uint32_t)at))
                continue;
            if (verdict(corpus, copy) == CHECK_ACCEPTED)
                fail_msg("%s: accepted", mistakes[j].name);
            planted[j]++;
            copy_make(copy, corpus, translation);
        }
    }
    for (unsigned j = 0; j < ARRAY_SIZE(mistakes); j++)
        assert_true(planted[j] > TRANSLATIONS / 4);
    free(copy);
}

/* The look-up for writing becomes one for reading: refused where something is written, that is,
 * always but where an instruction writes for some values only. */
static void reading_is_not_enough_for_writing(void **state)
{
    struct corpus *corpus = *state;
    struct copy *copy = malloc(sizeof(*copy));
    unsigned planted = 0, accepted = 0;
    assert_non_null(copy);
    while (planted < TRANSLATIONS) {
        const struct translation *translation = corpus_translate(corpus);
        if (!translation)
            continue;
        copy_make(copy, corpus, translation);
        for (int at = find_access(copy, 0); at >= 0; at = find_access(copy, (uint32_t)at + 1)) {
            if (!is_write(copy, at))
                continue;
            add_at(copy, (uint32_t)at + 19, -8);
            planted++;
            accepted += verdict(corpus, copy) == CHECK_ACCEPTED;
            add_at(copy, (uint32_t)at + 19, 8);
        }
    }
    assert_int_equal(accepted, 0);
    free(copy);
}

static void every_site_pointer_matters(void **state)
{
    struct corpus *corpus = *state;
    struct copy *copy = malloc(sizeof(*copy));
    unsigned planted = 0;
    assert_non_null(copy);
    while (planted < TRANSLATIONS) {
        const struct translation *translation = corpus_translate(corpus);
        if (!translation)
            continue;
        copy_make(copy, corpus, translation);
        for (uint32_t at = 0; at + 15 <= copy->length; at++) {
            uint64_t pointer = load_le(copy->code + at + 2, 8);
            if (copy->code[at] != 0x49 || copy->code[at + 1] != 0xbf ||
                pointer - (uintptr_t)translation->sites >=
                    translation->site_count * sizeof(struct site))
                continue;
            const uint64_t wrong[] = {0, pointer + 1,
                                      (uintptr_t)(translation->sites + translation->site_count),
                                      (uintptr_t)translation->sites - sizeof(struct site)};
            for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
                store_le(copy->code + at + 2, wrong[i], 8);
                assert_int_equal(verdict(corpus, copy), CHECK_SITE);
            }
            store_le(copy->code + at + 2, pointer, 8);
            add_at(copy, at + 11, 1); /* past the stub's first byte */
            assert_int_equal(verdict(corpus, copy), CHECK_JUMP);
            add_at(copy, at + 11, -1);
            planted++;
        }
    }
    free(copy);
}

/* Bits flipped anywhere: an instruction that says something else may be as good, but not more. */
static void flipped_bits_do_no_harm(void **state)
{
    struct corpus *corpus = *state;
    struct copy *copy = malloc(sizeof(*copy));
    unsigned refused = 0, accepted = 0;
    assert_non_null(copy);
    for (unsigned i = 0; i < TRANSLATIONS; i++) {
        const struct translation *translation = corpus_translate(corpus);
        if (!translation)
            continue;
        copy_make(copy, corpus, translation);
        for (unsigned j = 0; j < FLIPS; j++) {
            uint32_t at = random_pick(&corpus->random, copy->length), offset;
            uint8_t bit = (uint8_t)(1u << random_pick(&corpus->random, 8));
            copy->code[at] ^= bit;
            bool good = verdict(corpus, copy) == CHECK_ACCEPTED;
            const char *complaint =
                good ? oracle_complaint(corpus->translator, &copy->translation, copy->code, &offset)
                     : NULL;
            if (complaint)
                fail_msg("byte %u, bit %#x: accepted, but: %s at %u", at, bit, complaint, offset);
            refused += !good;
            accepted += good;
            copy->code[at] ^= bit;
        }
    }
    assert_true(refused > 2 * accepted && accepted > 100);
    free(copy);
}

/* Before anything is flipped, the other judge agrees. */
static void the_oracle_accepts_what_is_translated(void **state)
{
    struct corpus *corpus = *state;
    for (unsigned i = 0; i < TRANSLATIONS; i++) {
        uint32_t offset;
        const struct translation *translation = corpus_translate(corpus);
        const char *complaint = translation
                                    ? oracle_complaint(corpus->translator, translation,
                                                       corpus_code(corpus, translation), &offset)
                                    : NULL;
        if (complaint)
            fail_msg("%s at %u", complaint, offset);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, corpus_setup, corpus_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_oracle_accepts_what_is_translated),
        TEST(planted_mistakes_are_refused),
        TEST(reading_is_not_enough_for_writing),
        TEST(every_site_pointer_matters),
        TEST(flipped_bits_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
