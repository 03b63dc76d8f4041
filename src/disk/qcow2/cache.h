/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded cache of metadata in pages of 4 KiB, or of a cluster where that is smaller. Its owner
 * serialises all calls.
 */
#ifndef NACRE_DISK_QCOW2_CACHE_H
#define NACRE_DISK_QCOW2_CACHE_H

#include "disk/file.h"

struct cache_page {
    uint64_t offset; /* in the file; CACHE_NOTHING: free */
    uint64_t used;   /* clock of the last use */
    bool dirty;
    int next; /* in its hash chain; -1: last */
};

#define CACHE_NOTHING UINT64_MAX
#define CACHE_CHAINS  256

struct cache {
    struct file *file;
    unsigned page_size, page_count;
    unsigned dirty_count;
    uint64_t clock;
    struct cache_page *pages;
    uint8_t *bytes;
    int chains[CACHE_CHAINS];
    /* Makes every page clean, in the order that a crash demands: when a dirty one must go. */
    int (*clean)(void *opaque);
    void *opaque;
};

/* -ENOMEM. */
int cache_create(struct cache *cache, struct file *file, unsigned page_size, unsigned page_count,
                 int (*clean)(void *opaque), void *opaque);
void cache_destroy(struct cache *cache);
/* The bytes at offset, up to the page's end; valid until the next call. -errno. */
int cache_load(struct cache *cache, uint64_t offset, uint8_t **bytes);
/* As cache_load, for a change: the page is dirty from here on. */
int cache_change(struct cache *cache, uint64_t offset, uint8_t **bytes);
/* Without reading the file: NULL when the page is not there. */
const uint8_t *cache_peek(struct cache *cache, uint64_t offset);
/* Writes every dirty page. */
int cache_write_back(struct cache *cache);
/* Drops what is cached of the range, changes included. */
void cache_forget(struct cache *cache, uint64_t offset, uint64_t length);

#endif
