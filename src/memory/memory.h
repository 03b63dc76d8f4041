/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM: private memory of this process, mapped so that a guest physical address is a plain
 * offset: hva = memory->base + gpa, with a hole of no access where the guest has no RAM. Why it is
 * private: docs/decisions/snapshots.md.
 *
 *   0 ................ low_size          RAM below the PCI hole (at most 3 GiB)
 *   low_size ......... 4 GiB             hole: devices, APICs; at its end the firmware's ROM
 *   4 GiB ............ 4 GiB + high_size the rest of RAM
 *
 * The video window (640 to 768 KiB) belongs to devices: RAM behind it is never seen. Devices open
 * windows onto memory of their own (a frame buffer), through which the guest reaches it without
 * their help.
 *
 * Every RAM page has a flag byte; engines set MEMORY_PAGE_CODE on pages whose instructions they
 * have cached, and note which bytes those are. Whoever writes such a page must say so with
 * memory_note_write(): a write beside the instructions harms nothing, as in firmware and boot
 * loaders, which keep data between their code.
 */
#ifndef NACRE_MEMORY_MEMORY_H
#define NACRE_MEMORY_MEMORY_H

#include "base/bits.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  UINT64_C(4096)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define MEMORY_LOW_MAX    GIB(3)
#define MEMORY_HIGH_START GIB(4)
#define MEMORY_VIDEO      KIB(640)
#define MEMORY_VIDEO_SIZE KIB(128)
#define MEMORY_SIZE_MIN   MIB(1)
#define MEMORY_SIZE_MAX   GIB(1000) /* leaves room below 40 bits for PCI */

enum memory_page_flag {
    MEMORY_PAGE_CODE = 1 << 0,  /* an engine holds decoded or translated code of this page */
    MEMORY_PAGE_DIRTY = 1 << 1, /* written since the dirty log was last read (when logging) */
    MEMORY_PAGE_ROM = 1 << 2,   /* guest writes go to the bus */
    MEMORY_PAGE_CACHED_WRITE = 1 << 3, /* some vcpu's TLB has had a write entry for it */
};

/* Memory of a device that the guest accesses directly. */
struct memory_window {
    _Atomic uint64_t gpa; /* MEMORY_WINDOW_CLOSED: nowhere */
    uint8_t *_Atomic hva;
    uint64_t size; /* fixed: no vcpu can find an old size beside a new hva */
};

#define MEMORY_WINDOW_CLOSED (~UINT64_C(0))
#define MEMORY_WINDOWS_MAX   4

/* Told after the bytes of a page that held code have changed. May be called on any thread. */
struct memory_observer {
    void (*code_written)(void *opaque, uint64_t gpa_page);
    void *opaque;
    struct memory_observer *next;
};

struct memory {
    uint8_t *base;                     /* hva of gpa 0 */
    uint64_t low_size;                 /* bytes of RAM from gpa 0 */
    uint64_t high_size;                /* bytes of RAM from gpa 4 GiB */
    uint64_t rom_start;                /* gpa of the firmware's ROM, which ends at 4 GiB */
    uint64_t rom_size;                 /* bytes; 0: none */
    uint64_t end;                      /* first gpa past all RAM and ROM: size of the reservation */
    atomic_bool a20_closed;            /* address line 20 is held low: see memory_line_mask() */
    _Atomic uint8_t *page_flags;       /* one byte a page, indexed by gpa >> PAGE_SHIFT */
    _Atomic uint64_t *code_bytes;      /* one bit a byte: an engine holds code of it */
    _Atomic uint32_t *code_misses;     /* one count a page: see memory_code_hit() */
    struct memory_observer *observers; /* fixed before the first vcpu runs, as the next two */
    struct memory_window windows[MEMORY_WINDOWS_MAX];
    unsigned window_count;
};

/* size: bytes, a multiple of 4096 from 1 MiB to 1000 GiB. NULL with *error on failure. */
struct memory *memory_create(uint64_t size, struct error *error);
/*
 * As memory_create, with what memory_write_image() wrote to a file in it, which the caller may
 * close then. A page is read when it is touched and copied when it is written; the file must stay
 * as it is for as long. Processes that open one file share what none of them has written. -1: no
 * image.
 */
struct memory *memory_open_image(int image, uint64_t size, struct error *error);
void memory_destroy(struct memory *memory);
void memory_add_observer(struct memory *memory, struct memory_observer *observer);
void memory_remove_observer(struct memory *memory, struct memory_observer *observer);

/* The address lines that leave a processor. With A20 closed the second megabyte is the first, as on
 * the first PCs; who changes it calls bus_mapping_changed(). Devices are not behind that gate. */
static inline uint64_t memory_line_mask(const struct memory *memory)
{
    return atomic_load_explicit(&memory->a20_closed, memory_order_relaxed) ? ~BIT(20)
                                                                           : ~UINT64_C(0);
}

/* Reads of the page come from host memory: RAM or ROM. */
static inline bool memory_is_ram(const struct memory *memory, uint64_t gpa)
{
    return (gpa < memory->low_size && gpa - MEMORY_VIDEO >= MEMORY_VIDEO_SIZE) ||
           gpa - MEMORY_HIGH_START < memory->high_size ||
           gpa - memory->rom_start < memory->rom_size;
}

/*
 * The host address of [gpa, gpa + length), or NULL unless all of it is RAM. Whoever writes through
 * it calls memory_note_write() afterwards. The guest may change the bytes at any moment: copy
 * once, then check.
 */
void *memory_hva(const struct memory *memory, uint64_t gpa, uint64_t length);

/* Copies; -EFAULT when any byte lies outside RAM (memory_read: and outside ROM), and then nothing
 * is copied. memory_write notes the write. */
int memory_read(const struct memory *memory, uint64_t gpa, void *bytes, uint64_t length);
int memory_write(struct memory *memory, uint64_t gpa, const void *bytes, uint64_t length);
/* As memory_write, with zeroes. */
int memory_clear(struct memory *memory, uint64_t gpa, uint64_t length);

static inline uint8_t memory_page_flags(const struct memory *memory, uint64_t gpa)
{
    return atomic_load_explicit(&memory->page_flags[gpa >> PAGE_SHIFT], memory_order_acquire);
}

/* Sets flag bits on the RAM page of gpa; returns what was set before. */
static inline uint8_t memory_set_page_flags(struct memory *memory, uint64_t gpa, uint8_t flags)
{
    _Atomic uint8_t *page = &memory->page_flags[gpa >> PAGE_SHIFT];
    uint8_t before = atomic_load_explicit(page, memory_order_acquire);
    /* Mostly set already: look before taking the cache line for writing. */
    return (before & flags) == flags ? before : atomic_fetch_or(page, flags);
}

/* Notes that an engine holds code of [gpa, gpa + length), inside a RAM page; true when the page
 * held none before. Then the bytes are to be read, once more. */
bool memory_mark_code(struct memory *memory, uint64_t gpa, uint64_t length);

/* Drops all code of the page: tells every observer. */
void memory_code_changed(struct memory *memory, uint64_t gpa);

/*
 * After a CPU's store inside a page with MEMORY_PAGE_CODE: true when code was dropped. A store
 * beside the code drops it, too, when there have been many: the page may be used for data now, and
 * stores to it are slow as long as it holds code.
 */
bool memory_code_hit(struct memory *memory, uint64_t gpa, uint64_t length);

/* To be called after [gpa, gpa + length), all RAM, was written: drops code cached from it. */
void memory_note_write(struct memory *memory, uint64_t gpa, uint64_t length);

/* A new window of `size` bytes, closed. Before the first vcpu runs. NULL with *error. */
struct memory_window *memory_add_window(struct memory *memory, uint64_t size, struct error *error);

/*
 * Opens a window at gpa, page-aligned, onto the bytes at hva, which stay the caller's and must
 * outlive the machine's vcpus; or closes it (gpa MEMORY_WINDOW_CLOSED). Where there is RAM as well,
 * the guest sees that. True when that is a change: TLBs may still hold what was, see
 * bus_mapping_changed(). Any thread.
 */
bool memory_window_move(struct memory_window *window, uint64_t gpa, uint8_t *hva);

/* The host address of a gpa that is not RAM but in a window; else NULL. */
uint8_t *memory_window_hva(struct memory *memory, uint64_t gpa);

/* Makes [gpa, gpa + length) read-only for the guest (firmware). Page-aligned. TLBs may still hold
 * what was: see bus_mapping_changed(). */
void memory_set_rom(struct memory *memory, uint64_t gpa, uint64_t length, bool rom);

#define MEMORY_ROM_MAX MIB(16)

/* Puts a ROM with these bytes below 4 GiB; size: whole pages, up to MEMORY_ROM_MAX. Before the
 * first vcpu runs, once. -errno with *error. */
int memory_add_rom(struct memory *memory, const void *bytes, uint64_t size, struct error *error);

#endif
