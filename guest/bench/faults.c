/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's memory management: fresh pages, and mappings that come and go. */
#include "bench.h"

#include <sys/mman.h>

enum { PAGE = 4096 };

static uint8_t *map_pages(unsigned pages)
{
    void *area = mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        bench_fail("mmap");
    return area;
}

static double touch(unsigned divisor)
{
    enum { PAGES = 64 * 1024 * 1024 / PAGE, ROUNDS = 5 };
    unsigned pages = bench_share(PAGES, divisor);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint8_t *area = map_pages(pages);
        madvise(area, (size_t)pages * PAGE, MADV_NOHUGEPAGE);
        for (unsigned i = 0; i < pages; i++)
            area[(size_t)i * PAGE] = 1;
        munmap(area, (size_t)pages * PAGE);
    }
    return (double)pages / PAGES;
}

/* Map four pages, touch each, forbid and allow writing, unmap: what allocators and loaders do. */
static double map_storm(unsigned divisor)
{
    enum { ROUNDS = 10000, PAGES = 4 };
    unsigned rounds = bench_share(ROUNDS, divisor);
    for (unsigned round = 0; round < rounds; round++) {
        uint8_t *area = map_pages(PAGES);
        for (unsigned i = 0; i < PAGES; i++)
            area[i * PAGE] = 1;
        if (mprotect(area, PAGE, PROT_READ) || mprotect(area, PAGE, PROT_READ | PROT_WRITE))
            bench_fail("mprotect");
        area[0]++;
        bench_keep(area[0]);
        munmap(area, PAGES * PAGE);
    }
    return (double)rounds / ROUNDS;
}

const struct bench_test bench_faults[] = {
    {"touch", "touch 64 MB of fresh 4K pages x 5", touch},
    {"mmap", "mmap, 4 faults, mprotect, munmap x 10 k", map_storm},
    {NULL, NULL, NULL},
};
