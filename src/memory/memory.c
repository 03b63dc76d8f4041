/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *map_anonymous(uint64_t size, int protection)
{
    return mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

/* Of which next to nothing is ever touched. */
static void *map_table(uint64_t size, struct error *error)
{
    void *table = map_anonymous(size, PROT_READ | PROT_WRITE);
    if (table != MAP_FAILED)
        return table;
    error_set(error, errno, "guest memory: cannot map its page flags: %s", strerror(errno));
    return NULL;
}

/* Lays RAM over a part of the reservation: from offset of an image, or zeroes. */
static bool map_part(uint8_t *place, uint64_t size, int image, uint64_t offset)
{
    int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (image < 0 ? MAP_ANONYMOUS : 0);
    return !size ||
           mmap(place, size, PROT_READ | PROT_WRITE, flags, image, (off_t)offset) != MAP_FAILED;
}

/* image: -1 for none. */
static int memory_map(struct memory *memory, int image, struct error *error)
{
    uint8_t *base = map_anonymous(memory->end, PROT_NONE);
    if (base == MAP_FAILED)
        return error_set(error, errno, "guest memory: cannot reserve addresses: %s",
                         strerror(errno));
    memory->base = base;
    if (!map_part(base, memory->low_size, image, 0) ||
        !map_part(base + MEMORY_HIGH_START, memory->high_size, image, memory->low_size))
        return error_set(error, errno, "guest memory: cannot map %llu MiB: %s; try less --memory",
                         (unsigned long long)((memory->low_size + memory->high_size) >> 20),
                         strerror(errno));
    memory->page_flags = map_table(memory->end >> PAGE_SHIFT, error);
    memory->code_bytes = map_table(memory->end / 8, error);
    memory->code_misses = map_table((memory->end >> PAGE_SHIFT) * sizeof(uint32_t), error);
    return memory->page_flags && memory->code_bytes && memory->code_misses ? 0 : -ENOMEM;
}

struct memory *memory_create(uint64_t size, struct error *error)
{
    return memory_open_image(-1, size, error);
}

struct memory *memory_open_image(int image, uint64_t size, struct error *error)
{
    if (size < MEMORY_SIZE_MIN || size > MEMORY_SIZE_MAX || size % PAGE_SIZE) {
        error_set(error, EINVAL, "guest memory of %llu bytes: must be 1M to 1000G in whole pages",
                  (unsigned long long)size);
        return NULL;
    }
    struct memory *memory = calloc(1, sizeof(*memory));
    if (!memory) {
        error_set(error, ENOMEM, "guest memory: out of memory");
        return NULL;
    }
    memory->low_size = size < MEMORY_LOW_MAX ? size : MEMORY_LOW_MAX;
    memory->high_size = size - memory->low_size;
    memory->end = MEMORY_HIGH_START + memory->high_size;
    if (memory_map(memory, image, error) < 0) {
        memory_destroy(memory);
        return NULL;
    }
    return memory;
}

void memory_destroy(struct memory *memory)
{
    if (!memory)
        return;
    if (memory->page_flags)
        munmap((void *)memory->page_flags, memory->end >> PAGE_SHIFT);
    if (memory->code_bytes)
        munmap((void *)memory->code_bytes, memory->end / 8);
    if (memory->code_misses)
        munmap((void *)memory->code_misses, (memory->end >> PAGE_SHIFT) * sizeof(uint32_t));
    if (memory->base)
        munmap(memory->base, memory->end);
    free(memory);
}

void memory_add_observer(struct memory *memory, struct memory_observer *observer)
{
    observer->next = memory->observers;
    memory->observers = observer;
}

void memory_remove_observer(struct memory *memory, struct memory_observer *observer)
{
    for (struct memory_observer **link = &memory->observers; *link; link = &(*link)->next) {
        if (*link == observer) {
            *link = observer->next;
            return;
        }
    }
}

void *memory_hva(const struct memory *memory, uint64_t gpa, uint64_t length)
{
    bool low = range_within(gpa, length, memory->low_size) &&
               (gpa >= MEMORY_VIDEO + MEMORY_VIDEO_SIZE || gpa + length <= MEMORY_VIDEO);
    bool high = gpa >= MEMORY_HIGH_START &&
                range_within(gpa - MEMORY_HIGH_START, length, memory->high_size);
    return low || high ? memory->base + gpa : NULL;
}

int memory_read(const struct memory *memory, uint64_t gpa, void *bytes, uint64_t length)
{
    const void *hva = memory_hva(memory, gpa, length);
    if (gpa >= memory->rom_start && range_within(gpa - memory->rom_start, length, memory->rom_size))
        hva = memory->base + gpa;
    if (!hva)
        return -EFAULT;
    memcpy(bytes, hva, length);
    return 0;
}

int memory_write(struct memory *memory, uint64_t gpa, const void *bytes, uint64_t length)
{
    void *hva = memory_hva(memory, gpa, length);
    if (!hva)
        return -EFAULT;
    memcpy(hva, bytes, length);
    memory_note_write(memory, gpa, length);
    return 0;
}

int memory_clear(struct memory *memory, uint64_t gpa, uint64_t length)
{
    void *hva = memory_hva(memory, gpa, length);
    if (!hva)
        return -EFAULT;
    memset(hva, 0, length);
    memory_note_write(memory, gpa, length);
    return 0;
}

#define WORD_BITS 64

/* Of the word's bits, those of bytes [gpa, gpa + length); the first byte lies in the word. */
static uint64_t word_mask(uint64_t gpa, uint64_t length)
{
    unsigned first = gpa % WORD_BITS;
    uint64_t mask = ~UINT64_C(0) << first;
    return first + length < WORD_BITS ? mask & ~(~UINT64_C(0) << (first + length)) : mask;
}

bool memory_mark_code(struct memory *memory, uint64_t gpa, uint64_t length)
{
    for (uint64_t end = gpa + length, next; gpa < end; gpa = next) {
        next = align_down(gpa, WORD_BITS) + WORD_BITS;
        atomic_fetch_or(&memory->code_bytes[gpa / WORD_BITS], word_mask(gpa, end - gpa));
    }
    return !(memory_set_page_flags(memory, gpa - 1, MEMORY_PAGE_CODE) & MEMORY_PAGE_CODE);
}

void memory_code_changed(struct memory *memory, uint64_t gpa)
{
    /* Bits of code that somebody caches meanwhile may be lost; it is dropped with the rest. */
    const uint64_t first = (gpa & PAGE_MASK) / WORD_BITS;
    atomic_fetch_and(&memory->page_flags[gpa >> PAGE_SHIFT], (uint8_t)~MEMORY_PAGE_CODE);
    for (unsigned i = 0; i < PAGE_SIZE / WORD_BITS; i++)
        atomic_store_explicit(&memory->code_bytes[first + i], 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    for (struct memory_observer *observer = memory->observers; observer; observer = observer->next)
        observer->code_written(observer->opaque, gpa & PAGE_MASK);
}

static bool code_overlaps(const struct memory *memory, uint64_t gpa, uint64_t length)
{
    uint64_t found = 0;
    for (uint64_t end = gpa + length, next; gpa < end && !found; gpa = next) {
        next = align_down(gpa, WORD_BITS) + WORD_BITS;
        found = atomic_load(&memory->code_bytes[gpa / WORD_BITS]) & word_mask(gpa, end - gpa);
    }
    return found;
}

/* A page's misses: in the low bits how many since its code was dropped, above how often that was.
 * Each time it takes twice as many. */
#define MISSES_LEVEL_SHIFT 24
#define MISSES_LEVEL_MAX   12
#define MISSES_FIRST       16u

static bool too_many_misses(struct memory *memory, uint64_t gpa)
{
    _Atomic uint32_t *misses = &memory->code_misses[gpa >> PAGE_SHIFT];
    uint32_t value = atomic_fetch_add_explicit(misses, 1, memory_order_relaxed) + 1;
    uint32_t level = value >> MISSES_LEVEL_SHIFT;
    if ((value & (BIT(MISSES_LEVEL_SHIFT) - 1)) < MISSES_FIRST << level)
        return false;
    level += level < MISSES_LEVEL_MAX;
    atomic_store_explicit(misses, level << MISSES_LEVEL_SHIFT, memory_order_relaxed);
    return true;
}

bool memory_code_hit(struct memory *memory, uint64_t gpa, uint64_t length)
{
    if (!code_overlaps(memory, gpa, length) && !too_many_misses(memory, gpa))
        return false;
    memory_code_changed(memory, gpa);
    return true;
}

void memory_note_write(struct memory *memory, uint64_t gpa, uint64_t length)
{
    /* The data must be visible before the flag is read: whoever sets the flag reads the bytes after
     * it. */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint64_t end = gpa + length, next; gpa < end; gpa = next) {
        next = (gpa & PAGE_MASK) + PAGE_SIZE;
        uint64_t part = (next < end ? next : end) - gpa;
        if (memory_page_flags(memory, gpa) & MEMORY_PAGE_CODE && code_overlaps(memory, gpa, part))
            memory_code_changed(memory, gpa);
    }
}

void memory_set_rom(struct memory *memory, uint64_t gpa, uint64_t length, bool rom)
{
    for (uint64_t page = gpa; page < gpa + length; page += PAGE_SIZE) {
        _Atomic uint8_t *flags = &memory->page_flags[page >> PAGE_SHIFT];
        if (rom)
            atomic_fetch_or(flags, MEMORY_PAGE_ROM);
        else
            atomic_fetch_and(flags, (uint8_t)~MEMORY_PAGE_ROM);
    }
}

int memory_add_rom(struct memory *memory, const void *bytes, uint64_t size, struct error *error)
{
    uint64_t start = MEMORY_HIGH_START - size;
    void *rom = mmap(memory->base + start, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (rom == MAP_FAILED)
        return error_set(error, errno, "firmware ROM: cannot map %llu KiB: %s",
                         (unsigned long long)(size >> 10), strerror(errno));
    memcpy(rom, bytes, size);
    memory->rom_start = start;
    memory->rom_size = size;
    memory_set_rom(memory, start, size, true);
    return 0;
}
