/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/qcow2/cache.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

static int *chain_of(struct cache *cache, uint64_t offset)
{
    uint64_t number = offset / cache->page_size;
    return &cache->chains[(number ^ number >> 6) % CACHE_CHAINS];
}

static struct cache_page *find(struct cache *cache, uint64_t offset)
{
    for (int i = *chain_of(cache, offset); i >= 0; i = cache->pages[i].next)
        if (cache->pages[i].offset == offset)
            return &cache->pages[i];
    return NULL;
}

static uint8_t *bytes_of(const struct cache *cache, const struct cache_page *page)
{
    return cache->bytes + (size_t)(page - cache->pages) * cache->page_size;
}

static void set_dirty(struct cache *cache, struct cache_page *page, bool dirty)
{
    cache->dirty_count += (unsigned)dirty - (unsigned)page->dirty;
    page->dirty = dirty;
}

static void drop(struct cache *cache, struct cache_page *page)
{
    int index = (int)(page - cache->pages);
    int *link = chain_of(cache, page->offset);
    while (*link != index)
        link = &cache->pages[*link].next;
    *link = page->next;
    set_dirty(cache, page, false);
    page->offset = CACHE_NOTHING;
    page->used = 0;
}

static struct cache_page *least_used(struct cache *cache, bool clean_only)
{
    struct cache_page *best = NULL;
    for (unsigned i = 0; i < cache->page_count; i++) {
        struct cache_page *page = &cache->pages[i];
        if (!(clean_only && page->dirty) && (!best || page->used < best->used))
            best = page;
    }
    return best;
}

/* A page to fill. Clean ones go first, as long as a quarter is clean; then all become clean. */
static int make_room(struct cache *cache, struct cache_page **page)
{
    if (cache->dirty_count > cache->page_count / 4 * 3) {
        int result = cache->clean(cache->opaque);
        if (result < 0)
            return result;
    }
    *page = least_used(cache, true);
    if (!*page)
        return -EIO;
    if ((*page)->offset != CACHE_NOTHING)
        drop(cache, *page);
    return 0;
}

static int load_page(struct cache *cache, uint64_t offset, struct cache_page **found)
{
    uint64_t start = align_down(offset, cache->page_size);
    struct cache_page *page = find(cache, start);
    if (!page) {
        int result = make_room(cache, &page);
        if (result == 0)
            result = file_read(cache->file, start, bytes_of(cache, page), cache->page_size);
        if (result < 0)
            return result;
        int *chain = chain_of(cache, start);
        page->offset = start;
        page->next = *chain;
        *chain = (int)(page - cache->pages);
    }
    page->used = ++cache->clock;
    *found = page;
    return 0;
}

int cache_load(struct cache *cache, uint64_t offset, uint8_t **bytes)
{
    struct cache_page *page;
    int result = load_page(cache, offset, &page);
    if (result == 0)
        *bytes = bytes_of(cache, page) + offset % cache->page_size;
    return result;
}

int cache_change(struct cache *cache, uint64_t offset, uint8_t **bytes)
{
    struct cache_page *page;
    int result = load_page(cache, offset, &page);
    if (result < 0)
        return result;
    set_dirty(cache, page, true);
    *bytes = bytes_of(cache, page) + offset % cache->page_size;
    return 0;
}

const uint8_t *cache_peek(struct cache *cache, uint64_t offset)
{
    struct cache_page *page = find(cache, align_down(offset, cache->page_size));
    if (!page)
        return NULL;
    page->used = ++cache->clock;
    return bytes_of(cache, page) + offset % cache->page_size;
}

int cache_write_back(struct cache *cache)
{
    for (unsigned i = 0; i < cache->page_count && cache->dirty_count; i++) {
        struct cache_page *page = &cache->pages[i];
        if (!page->dirty)
            continue;
        int result = file_write(cache->file, page->offset, bytes_of(cache, page), cache->page_size);
        if (result < 0)
            return result;
        set_dirty(cache, page, false);
    }
    return 0;
}

void cache_forget(struct cache *cache, uint64_t offset, uint64_t length)
{
    for (uint64_t at = offset; at < offset + length; at += cache->page_size) {
        struct cache_page *page = find(cache, at);
        if (page)
            drop(cache, page);
    }
}

int cache_create(struct cache *cache, struct file *file, unsigned page_size, unsigned page_count,
                 int (*clean)(void *opaque), void *opaque)
{
    *cache = (struct cache){.file = file,
                            .page_size = page_size,
                            .page_count = page_count,
                            .clean = clean,
                            .opaque = opaque};
    cache->pages = calloc(page_count, sizeof(*cache->pages));
    /* Pages may go to the file past the host's page cache. */
    cache->bytes = aligned_alloc(4096, align_up((uint64_t)page_size * page_count, 4096));
    if (!cache->pages || !cache->bytes) {
        cache_destroy(cache);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < page_count; i++)
        cache->pages[i].offset = CACHE_NOTHING;
    for (unsigned i = 0; i < CACHE_CHAINS; i++)
        cache->chains[i] = -1;
    return 0;
}

void cache_destroy(struct cache *cache)
{
    free(cache->pages);
    free(cache->bytes);
    cache->pages = NULL;
    cache->bytes = NULL;
}
