/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues, the device's side. virtio 1.2 §2.7. The rings lie in guest memory and are
 * hostile: each word is read once, then checked. */
#ifndef NACRE_VIRTIO_QUEUE_H
#define NACRE_VIRTIO_QUEUE_H

#include "base/iovec.h"
#include "base/state.h"
#include "memory/memory.h"

#define VIRTQUEUE_SIZE_MAX  256
#define VIRTQUEUE_CHAIN_MAX 256 /* descriptors of one request */

struct virtqueue {
    uint16_t size;   /* a power of two; what the driver has set */
    uint16_t vector; /* MSI-X */
    bool enabled;
    uint64_t descriptors, available, used; /* gpa of the three parts */
    uint16_t next_available;               /* index of the next entry to take */
    uint16_t next_used;
    uint16_t signalled; /* next_used when the driver was last interrupted */
    bool signalled_valid;
    bool event_index; /* VIRTIO_F_EVENT_IDX negotiated */
};

/* One request: buffers the device reads, then buffers it writes, as host addresses. */
struct virtqueue_chain {
    uint16_t head;
    unsigned readable_count, writable_count;
    uint64_t readable_size, writable_size; /* bytes */
    struct iovec readable[VIRTQUEUE_CHAIN_MAX];
    struct iovec writable[VIRTQUEUE_CHAIN_MAX];
};

void virtqueue_reset(struct virtqueue *queue);

/* Takes the next request. 1: *chain is filled; 0: none; -EINVAL: the driver has broken the ring,
 * the device must stop. */
int virtqueue_take(struct virtqueue *queue, struct memory *memory, struct virtqueue_chain *chain);

/* Puts back the request just taken: no buffers for it now. Only before the next take. */
void virtqueue_untake(struct virtqueue *queue);

/* A request to give back. */
struct virtqueue_used {
    uint16_t head;
    uint32_t written; /* bytes in its writable buffers */
};

/* Gives requests back; the driver sees all of them or none. -EINVAL as above. */
int virtqueue_give(struct virtqueue *queue, struct memory *memory,
                   const struct virtqueue_used *used, unsigned count);

/* Does the driver want an interrupt for what was given since the last call? */
bool virtqueue_wants_interrupt(struct virtqueue *queue, struct memory *memory);

/* Asks for a notification when the driver adds more (event index): before the device goes idle. */
void virtqueue_want_notification(struct virtqueue *queue, struct memory *memory);

/* Tells memory that the device has written these buffers. */
void vector_note_write(struct memory *memory, const struct iovec *vector, unsigned count);

extern const struct state_table virtqueue_state;
/* False: what was loaded can be no queue. */
bool virtqueue_loaded(const struct virtqueue *queue);

#endif
