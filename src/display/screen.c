/* SPDX-License-Identifier: Apache-2.0 */
#include "display/screen.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#define TRIES 1000

_Static_assert(offsetof(struct screen, memory) == 4096, "video memory is mapped by pages");

/* Words that may change meanwhile: the sequence number tells. */
#define REGISTER_WORDS (sizeof(struct screen_registers) / sizeof(uint32_t))
_Static_assert(sizeof(struct screen_registers) % sizeof(uint32_t) == 0, "copied by words");

struct screen *screen_create(struct error *error)
{
    /* Shared: a view's process, forked later, sees the same. No name, no descriptor: nobody else.
     */
    struct screen *screen = mmap(NULL, sizeof(*screen), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (screen != MAP_FAILED)
        return screen;
    error_set(error, errno, "video memory: cannot map %llu MiB: %s",
              (unsigned long long)SCREEN_MEMORY_SIZE >> 20, strerror(errno));
    return NULL;
}

void screen_destroy(struct screen *screen)
{
    if (screen)
        munmap(screen, sizeof(*screen));
}

void screen_publish(struct screen *screen, const struct screen_registers *registers)
{
    uint32_t *to = (uint32_t *)(void *)&screen->registers;
    atomic_fetch_add(&screen->sequence, 1);
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < REGISTER_WORDS; i++)
        __atomic_store_n(to + i, (uint32_t)load_le((const uint8_t *)registers + i * 4, 4),
                         __ATOMIC_RELAXED);
    atomic_fetch_add(&screen->sequence, 1);
}

bool screen_registers(const struct screen *screen, struct screen_registers *registers)
{
    const uint32_t *from = (const uint32_t *)(const void *)&screen->registers;
    for (unsigned i = 0; i < TRIES; i++) {
        uint32_t before = atomic_load(&screen->sequence);
        for (unsigned word = 0; word < REGISTER_WORDS; word++)
            store_le((uint8_t *)registers + word * 4,
                     __atomic_load_n(from + word, __ATOMIC_RELAXED), 4);
        atomic_thread_fence(memory_order_acquire);
        if (!(before & 1) && atomic_load(&screen->sequence) == before)
            return true;
    }
    return false;
}

int screen_protect(struct screen *screen)
{
    return mprotect(screen, sizeof(*screen), PROT_READ) < 0 ? -errno : 0;
}
