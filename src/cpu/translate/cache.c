/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/cache.h"

#include "cpu/translate/build.h"
#include "cpu/translate/check.h"
#include "cpu/translate/stubs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA_CHUNK           KIB(512)
#define BYTES_PER_TRANSLATION 128 /* a lower bound of their average */

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    uint8_t bytes[] __attribute__((aligned(16)));
};

static int map_cache(struct translator *translator, uint64_t size, struct error *error)
{
    translator->fd = memfd_create("nacre-code", MFD_CLOEXEC);
    if (translator->fd < 0 || ftruncate(translator->fd, (off_t)size) < 0)
        return error_set(error, errno, "translator: cannot make a code cache of %llu bytes: %s",
                         (unsigned long long)size, strerror(errno));
    void *writable = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, translator->fd, 0);
    void *executable = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, translator->fd, 0);
    translator->writable = writable == MAP_FAILED ? NULL : writable;
    translator->executable = executable == MAP_FAILED ? NULL : executable;
    translator->size = (uint32_t)size;
    translator->ordered_capacity = (uint32_t)(size / BYTES_PER_TRANSLATION);
    translator->ordered = calloc(translator->ordered_capacity, sizeof(translator->ordered[0]));
    if (!translator->ordered)
        return error_set(error, ENOMEM, "translator: out of memory");
    if (!writable || !executable || writable == MAP_FAILED || executable == MAP_FAILED)
        return error_set(error, errno,
                         "translator: cannot map executable memory: %s; use --engine interpret",
                         strerror(errno));
    return 0;
}

struct translator *translator_create(uint64_t code_bytes, const struct cpu_model *model,
                                     struct error *error)
{
    struct translator *translator = calloc(1, sizeof(*translator));
    if (!translator) {
        error_set(error, ENOMEM, "translator: out of memory");
        return NULL;
    }
    translator->fd = -1;
    pthread_mutex_init(&translator->lock, NULL);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&translator->inside, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    translator->scan = scan_create(model);
    translator->builder = malloc(sizeof(struct builder));
    translator->checker = checker_create();
    bool memory = translator->scan && translator->builder && translator->checker;
    if (!memory || map_cache(translator, align_up(code_bytes, PAGE_SIZE), error) < 0) {
        if (!memory)
            error_set(error, ENOMEM, "translator: out of memory");
        translator_destroy(translator);
        return NULL;
    }
    stubs_emit(translator);
    return translator;
}

struct arena_mark translator_mark(const struct translator *translator)
{
    struct arena_chunk *chunk = translator->chunks;
    return (struct arena_mark){chunk, chunk ? chunk->used : 0};
}

void translator_release(struct translator *translator, struct arena_mark mark)
{
    while (translator->chunks != mark.chunk) {
        struct arena_chunk *next = translator->chunks->next;
        free(translator->chunks);
        translator->chunks = next;
        translator->arena_bytes -= ARENA_CHUNK;
    }
    if (mark.chunk)
        mark.chunk->used = mark.used;
}

static void arena_free(struct translator *translator)
{
    translator_release(translator, (struct arena_mark){NULL, 0});
}

void translator_destroy(struct translator *translator)
{
    if (!translator)
        return;
    arena_free(translator);
    free(translator->ordered);
    scan_destroy(translator->scan);
    free(translator->builder);
    checker_destroy(translator->checker);
    if (translator->writable)
        munmap(translator->writable, translator->size);
    if (translator->executable)
        munmap((void *)translator->executable, translator->size);
    if (translator->fd >= 0)
        close(translator->fd);
    if (translator->perf_map)
        (void)fclose(translator->perf_map);
    pthread_mutex_destroy(&translator->lock);
    pthread_rwlock_destroy(&translator->inside);
    free(translator);
}

void *translator_take(struct translator *translator, size_t size)
{
    size = align_up(size, 16);
    struct arena_chunk *chunk = translator->chunks;
    if (size > ARENA_CHUNK)
        return NULL;
    if (!chunk || chunk->used + size > ARENA_CHUNK) {
        chunk = malloc(sizeof(*chunk) + ARENA_CHUNK);
        if (!chunk)
            return NULL;
        chunk->next = translator->chunks;
        chunk->used = 0;
        translator->chunks = chunk;
        translator->arena_bytes += ARENA_CHUNK;
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memory;
}

static unsigned hash_gpa(uint64_t gpa, uint32_t mode)
{
    return (unsigned)((gpa ^ gpa >> 16 ^ (uint64_t)mode << 7) % TRANSLATION_HASH);
}

static struct page_link **page_list(struct translator *translator, uint64_t gpa_page)
{
    return &translator->pages[(gpa_page >> PAGE_SHIFT) % TRANSLATION_PAGES];
}

struct translation *translation_find(const struct translator *translator, uint64_t gpa,
                                     uint64_t second_page, uint32_t mode)
{
    struct translation *translation = translator->hash[hash_gpa(gpa, mode)];
    while (translation && (translation->gpa != gpa || translation->mode != mode ||
                           translation->second_page != second_page))
        translation = translation->hash_next;
    return translation;
}

void translation_add(struct translator *translator, struct translation *translation)
{
    struct translation **bucket = &translator->hash[hash_gpa(translation->gpa, translation->mode)];
    translation->hash_next = *bucket;
    *bucket = translation;
    const uint64_t pages[] = {translation->gpa & PAGE_MASK, translation->second_page};
    for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
        if (pages[i] == NO_PAGE)
            continue;
        struct page_link **list = page_list(translator, pages[i]);
        translation->links[i] =
            (struct page_link){.translation = translation, .page = pages[i], .next = *list};
        *list = &translation->links[i];
    }
    uint32_t count = atomic_load(&translator->ordered_count);
    translator->ordered[count] = translation;
    atomic_store(&translator->ordered_count, count + 1);
    translation->valid = true;
    translator->translations++;
    translator->instructions += translation->instruction_count;
}

/* Directs a jump: the four bytes are aligned, so that a vcpu running them sees the old or the new
 * target. */
static void patch_jump(struct translator *translator, uint32_t place, uint32_t target)
{
    uint32_t displacement = target - (place + 4);
    atomic_store((_Atomic uint32_t *)(void *)(translator->writable + place), displacement);
}

void site_link(struct translator *translator, struct site *site, struct translation *to)
{
    if (site->linked)
        return;
    /* A loop has a branch that leads back: only those, and what comes from elsewhere, need the
     * checks at the start. */
    bool forward = (to->gpa & ~PAGE_MASK) > site->offset && !to->x87 && !to->xmm;
    uint32_t target = site->run                  ? to->parked
                      : forward && !site->parked ? to->body
                      : site->parked             ? to->parked
                                                 : to->native;
    site->linked = to;
    site->next_incoming = to->incoming;
    to->incoming = site;
    atomic_fetch_add_explicit(&translator->links, 1, memory_order_release);
    patch_jump(translator, site->patch, target);
}

static void unlink_incoming(struct translator *translator, struct translation *translation)
{
    for (struct site *site = translation->incoming, *next; site; site = next) {
        next = site->next_incoming;
        site->linked = NULL;
        site->next_incoming = NULL;
        patch_jump(translator, site->patch, site->stub);
    }
    translation->incoming = NULL;
}

/* Takes a dead translation's own branches out of the lists of those they lead to. */
static void unlink_outgoing(struct translation *translation)
{
    for (unsigned i = 0; i < translation->site_count; i++) {
        struct site *site = &translation->sites[i];
        if (!site->linked)
            continue;
        struct site **link = &site->linked->incoming;
        while (*link && *link != site)
            link = &(*link)->next_incoming;
        if (*link)
            *link = site->next_incoming;
        site->linked = NULL;
    }
}

/* Jump slots may still lead to a dead translation: its entry becomes a jump to the event that asks
 * for requests, which sees that it is dead. What a vcpu inside it does is not disturbed. */
static void bury_entry(struct translator *translator, const struct translation *translation)
{
    uint8_t *entry = translator->writable + translation->parked;
    uint32_t event = translation->sites[0].stub;
    uint64_t bytes = load_le(entry, 8);
    uint64_t jump = 0xe9 | (uint64_t)(event - (translation->parked + 5)) << 8;
    bytes = (bytes & ~UINT64_C(0xffffffffff)) | (jump & UINT64_C(0xffffffffff));
    atomic_store((_Atomic uint64_t *)(void *)entry, bytes);
}

static void translation_drop(struct translator *translator, struct translation *translation)
{
    struct translation **link = &translator->hash[hash_gpa(translation->gpa, translation->mode)];
    while (*link && *link != translation)
        link = &(*link)->hash_next;
    if (*link)
        *link = translation->hash_next;
    unlink_incoming(translator, translation);
    unlink_outgoing(translation);
    bury_entry(translator, translation);
    translation->valid = false;
    translator->dropped++;
}

void translator_drop_page(struct translator *translator, uint64_t gpa_page)
{
    struct page_link **link = page_list(translator, gpa_page);
    while (*link) {
        struct page_link *found = *link;
        if (found->page != gpa_page) {
            link = &found->next;
            continue;
        }
        *link = found->next;
        if (found->translation->valid) /* else dropped before, by its other page */
            translation_drop(translator, found->translation);
    }
}

void translator_drop_all(struct translator *translator)
{
    uint32_t count = atomic_load(&translator->ordered_count);
    for (uint32_t i = 0; i < count; i++)
        if (translator->ordered[i]->valid)
            translation_drop(translator, translator->ordered[i]);
    memset(translator->pages, 0, sizeof(translator->pages));
}

void translator_empty(struct translator *translator)
{
    memset(translator->hash, 0, sizeof(translator->hash));
    memset(translator->pages, 0, sizeof(translator->pages));
    atomic_store(&translator->ordered_count, 0);
    arena_free(translator);
    translator->used = translator->stubs_end;
    translator->flushes++;
}

bool translator_is_full(const struct translator *translator)
{
    return translator->used + SCAN_CODE_MAX > translator->size ||
           atomic_load(&translator->ordered_count) == translator->ordered_capacity;
}

const struct translation *translator_at(const struct translator *translator, uint64_t pc)
{
    uint64_t offset = pc - (uintptr_t)translator->executable;
    uint32_t low = 0, high = atomic_load(&translator->ordered_count);
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (translator->ordered[middle]->end <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == atomic_load(&translator->ordered_count) || translator->ordered[low]->start > offset)
        return NULL;
    return translator->ordered[low];
}
