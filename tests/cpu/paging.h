/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables for unit tests: one path from root to leaf in any paging mode, written by hand. */
#ifndef NACRE_TESTS_CPU_PAGING_H
#define NACRE_TESTS_CPU_PAGING_H

#include "bare.h"
#include "cpu/mmu.h"

/* The tables of a mode as the manuals draw them. */
struct paging_shape {
    const char *name;
    unsigned levels, entry_size, index_bits;
    uint64_t cr4, efer;
    uint64_t upper; /* bits of an entry that leads to a table */
    uint64_t root;  /* the same in the topmost table */
};

extern const struct paging_shape paging_32bit, paging_pae, paging_long;

/* Physical address of the entry for gva in the table of `level`; 1 is the lowest. */
uint64_t paging_entry(const struct paging_shape *shape, uint64_t gva, unsigned level);

/* Maps one page by an entry of `level`, with the tables above it. */
void paging_map(struct bare *bare, const struct paging_shape *shape, uint64_t gva, unsigned level,
                uint64_t leaf);

uint64_t paging_read(struct bare *bare, const struct paging_shape *shape, uint64_t gva,
                     unsigned level);
void paging_write(struct bare *bare, const struct paging_shape *shape, uint64_t gva, unsigned level,
                  uint64_t entry);

/* Switches paging on, level 0; in long mode the code is 64-bit. cr0 and cr4: more bits to set. */
void paging_enter(struct bare *bare, const struct paging_shape *shape, uint64_t cr0, uint64_t cr4);

#endif
