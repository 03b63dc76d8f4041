/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows onto devices' memory. A look into them is part of every TLB miss outside RAM and takes no
 * lock: a window that moves is closed first, and the host's memory behind it never goes away, so
 * that the worst a vcpu can see is where the window was.
 */
#include "memory/memory.h"

#include <errno.h>

struct memory_window *memory_add_window(struct memory *memory, uint64_t size, struct error *error)
{
    if (memory->window_count == MEMORY_WINDOWS_MAX) {
        error_set(error, ENOSPC, "guest memory: no more than %d windows", MEMORY_WINDOWS_MAX);
        return NULL;
    }
    struct memory_window *window = &memory->windows[memory->window_count++];
    atomic_store(&window->gpa, MEMORY_WINDOW_CLOSED);
    window->size = size;
    return window;
}

bool memory_window_move(struct memory_window *window, uint64_t gpa, uint8_t *hva)
{
    uint64_t before = atomic_load(&window->gpa);
    if (before == gpa && (gpa == MEMORY_WINDOW_CLOSED || atomic_load(&window->hva) == hva))
        return false;
    atomic_store(&window->gpa, MEMORY_WINDOW_CLOSED);
    atomic_store(&window->hva, hva);
    atomic_store(&window->gpa, gpa);
    return true;
}

uint8_t *memory_window_hva(struct memory *memory, uint64_t gpa)
{
    for (unsigned i = 0; i < memory->window_count; i++) {
        const struct memory_window *window = &memory->windows[i];
        uint64_t start = atomic_load(&window->gpa);
        uint8_t *hva = atomic_load(&window->hva);
        if (start != MEMORY_WINDOW_CLOSED && gpa >= start && gpa - start < window->size &&
            atomic_load(&window->gpa) == start)
            return hva + (gpa - start);
    }
    return NULL;
}
