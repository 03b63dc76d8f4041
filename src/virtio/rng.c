/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng: virtio 1.2 §5.4. */
#include "virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define TYPE_ENTROPY 4
#define REQUEST_MAX  4096 /* bytes one request gets; the driver asks again */

static void process(struct virtio_device *virtio, unsigned queue)
{
    struct virtqueue_chain chain;
    uint8_t bytes[REQUEST_MAX];
    while (virtio_take(virtio, queue, &chain)) {
        uint64_t size = chain.writable_size < REQUEST_MAX ? chain.writable_size : REQUEST_MAX;
        ssize_t got = getrandom(bytes, size, 0);
        uint64_t written = vector_write(chain.writable, chain.writable_count, 0, bytes,
                                        got > 0 ? (uint64_t)got : 0);
        vector_note_write(virtio_memory(virtio), chain.writable, chain.writable_count);
        virtio_give(virtio, queue, chain.head, (uint32_t)written);
    }
}

static void destroy(struct virtio_device *virtio)
{
    virtio_release(virtio);
    free(virtio);
}

static const struct virtio_ops rng_ops = {.type = TYPE_ENTROPY,
                                          .class_code = 0x00ff00,
                                          .queue_count = 1,
                                          .process = process,
                                          .destroy = destroy};

int virtio_rng_create(struct pci_bus *bus, struct error *error)
{
    struct virtio_device *virtio = calloc(1, sizeof(*virtio));
    if (!virtio)
        return error_set(error, ENOMEM, "virtio-rng: out of memory");
    return virtio_add(bus, virtio, "rng0", &rng_ops, &virtio_device_state, error);
}
