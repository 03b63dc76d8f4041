/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console: virtio 1.2 §5.3. One port; the terminal's size is told where there is one. */
#include "virtio/console.h"

#include <errno.h>
#include <stdlib.h>

#define TYPE_CONSOLE   3
#define FEATURE_SIZE   BIT(0)
#define QUEUE_RECEIVE  0
#define QUEUE_TRANSMIT 1
#define CONFIG_COLUMNS 0
#define CONFIG_ROWS    2
#define PIECE_SIZE     KIB(4)
#define TRANSMIT_MAX   MIB(1) /* of one request; no driver sends more than a page */

struct virtio_console {
    struct virtio_device virtio;
    struct console *console;
};

static void transmit(struct virtio_console *device)
{
    struct virtqueue_chain chain;
    uint8_t piece[PIECE_SIZE];
    while (virtio_take(&device->virtio, QUEUE_TRANSMIT, &chain)) {
        uint64_t done = 0, count;
        while (done < TRANSMIT_MAX && (count = vector_read(chain.readable, chain.readable_count,
                                                           done, piece, sizeof(piece)))) {
            console_write(device->console, piece, count);
            done += count;
        }
        virtio_give(&device->virtio, QUEUE_TRANSMIT, chain.head, 0);
    }
}

static void process(struct virtio_device *virtio, unsigned queue)
{
    struct virtio_console *device = (struct virtio_console *)virtio;
    if (queue == QUEUE_TRANSMIT)
        transmit(device);
    else
        console_drained(device->console);
}

/* Input for the guest: as much as its buffers hold. */
static unsigned receive(void *opaque, const uint8_t *bytes, unsigned count)
{
    struct virtio_console *device = opaque;
    struct virtio_device *virtio = &device->virtio;
    struct virtqueue_chain chain;
    unsigned taken = 0;
    pthread_mutex_lock(&virtio->lock);
    while (taken < count && virtio->queues[QUEUE_RECEIVE].enabled &&
           virtio_take(virtio, QUEUE_RECEIVE, &chain)) {
        uint64_t written =
            vector_write(chain.writable, chain.writable_count, 0, bytes + taken, count - taken);
        vector_note_write(virtio_memory(virtio), chain.writable, chain.writable_count);
        taken += (unsigned)written;
        virtio_give(virtio, QUEUE_RECEIVE, chain.head, (uint32_t)written);
    }
    pthread_mutex_unlock(&virtio->lock);
    return taken;
}

/* False when the other end has no size. */
static bool read_size(struct virtio_console *device)
{
    uint16_t columns, rows;
    if (!console_size(device->console, &columns, &rows))
        return false;
    store_le(device->virtio.config + CONFIG_COLUMNS, columns, 2);
    store_le(device->virtio.config + CONFIG_ROWS, rows, 2);
    return true;
}

static void resized(void *opaque)
{
    struct virtio_console *device = opaque;
    pthread_mutex_lock(&device->virtio.lock);
    if (device->virtio.driver_features & FEATURE_SIZE && read_size(device))
        virtio_config_changed(&device->virtio);
    pthread_mutex_unlock(&device->virtio.lock);
}

static void destroy(struct virtio_device *virtio)
{
    struct virtio_console *device = (struct virtio_console *)virtio;
    console_bind(device->console, &(const struct console_sink){0});
    virtio_release(virtio);
    free(device);
}

/* A driver that was told sizes keeps what it knows when the other end has none now. */
static int config_loaded(struct virtio_device *virtio, const uint8_t *saved, struct error *error)
{
    if (!(virtio->features & FEATURE_SIZE))
        memcpy(virtio->config, saved, sizeof(virtio->config));
    virtio->features |= virtio->driver_features & FEATURE_SIZE;
    return 0;
}

static const struct virtio_ops console_ops = {
    .type = TYPE_CONSOLE,
    .class_code = 0x078000, /* a simple communication controller of another kind */
    .queue_count = 2,
    .process = process,
    .config_loaded = config_loaded,
    .destroy = destroy,
};
static const struct state_field fields[] = {
    STATE_NESTED(struct virtio_console, virtio, &virtio_device_state),
};
static const struct state_table console_state = STATE_TABLE("virtio-console", 1, fields);

int virtio_console_create(struct pci_bus *bus, struct console *console, struct error *error)
{
    struct virtio_console *device = calloc(1, sizeof(*device));
    if (!device)
        return error_set(error, ENOMEM, "virtio-console: out of memory");
    device->console = console;
    if (read_size(device))
        device->virtio.features = FEATURE_SIZE;
    int result = virtio_add(bus, &device->virtio, "console0", &console_ops, &console_state, error);
    const struct console_sink sink = {.receive = receive, .resized = resized, .opaque = device};
    if (result == 0)
        console_bind(console, &sink);
    return result;
}
