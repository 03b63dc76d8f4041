/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/queue.h"

#include <errno.h>

#define DESCRIPTOR_SIZE        16
#define DESCRIPTOR_NEXT        1u
#define DESCRIPTOR_WRITE       2u
#define DESCRIPTOR_INDIRECT    4u
#define AVAILABLE_NO_INTERRUPT 1u

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

void virtqueue_reset(struct virtqueue *queue)
{
    *queue = (struct virtqueue){.size = VIRTQUEUE_SIZE_MAX, .vector = 0xffff};
}

/* A 16-bit ring word. False: outside RAM. */
static bool load_index(struct memory *memory, uint64_t gpa, uint16_t *value)
{
    const uint16_t *hva = memory_hva(memory, gpa, 2);
    if (!hva || gpa & 1)
        return false;
    *value = __atomic_load_n(hva, __ATOMIC_ACQUIRE);
    return true;
}

static bool store_index(struct memory *memory, uint64_t gpa, uint16_t value)
{
    uint16_t *hva = memory_hva(memory, gpa, 2);
    if (!hva || gpa & 1)
        return false;
    __atomic_store_n(hva, value, __ATOMIC_RELEASE);
    memory_note_write(memory, gpa, 2);
    return true;
}

static bool add_buffer(struct memory *memory, struct virtqueue_chain *chain,
                       const struct descriptor *descriptor)
{
    void *hva = memory_hva(memory, descriptor->address, descriptor->length);
    bool write = descriptor->flags & DESCRIPTOR_WRITE;
    if (!hva || chain->readable_count + chain->writable_count >= VIRTQUEUE_CHAIN_MAX)
        return false;
    if (!write && chain->writable_count)
        return false; /* all readable buffers come first: §2.7.4.2 */
    struct iovec *vector = write ? &chain->writable[chain->writable_count++]
                                 : &chain->readable[chain->readable_count++];
    *vector = (struct iovec){.iov_base = hva, .iov_len = descriptor->length};
    *(write ? &chain->writable_size : &chain->readable_size) += descriptor->length;
    return true;
}

/* Follows a chain in the table of `size` descriptors at `table`. */
static bool walk_chain(struct memory *memory, uint64_t table, uint32_t size, uint16_t index,
                       struct virtqueue_chain *chain, bool indirect)
{
    struct descriptor descriptor;
    for (uint32_t steps = 0; steps < size; steps++) {
        if (index >= size || memory_read(memory, table + (uint64_t)index * DESCRIPTOR_SIZE,
                                         &descriptor, sizeof(descriptor)) < 0)
            return false;
        if (descriptor.flags & DESCRIPTOR_INDIRECT) {
            /* Not nested, not combined with NEXT, whole descriptors: §2.7.5.3.1 */
            uint32_t count = descriptor.length / DESCRIPTOR_SIZE;
            if (indirect || descriptor.flags & DESCRIPTOR_NEXT || !count ||
                descriptor.length % DESCRIPTOR_SIZE || count > VIRTQUEUE_CHAIN_MAX)
                return false;
            return walk_chain(memory, descriptor.address, count, 0, chain, true);
        }
        if (!add_buffer(memory, chain, &descriptor))
            return false;
        if (!(descriptor.flags & DESCRIPTOR_NEXT))
            return true;
        index = descriptor.next;
    }
    return false; /* longer than its table: a loop */
}

int virtqueue_take(struct virtqueue *queue, struct memory *memory, struct virtqueue_chain *chain)
{
    uint16_t available, head;
    if (!queue->enabled)
        return 0;
    if (!load_index(memory, queue->available + 2, &available))
        return -EINVAL;
    uint16_t waiting = (uint16_t)(available - queue->next_available);
    if (waiting == 0)
        return 0;
    if (waiting > queue->size)
        return -EINVAL;
    uint64_t slot = queue->next_available & (queue->size - 1u);
    if (!load_index(memory, queue->available + 4 + slot * 2, &head))
        return -EINVAL;
    chain->head = head;
    chain->readable_count = chain->writable_count = 0;
    chain->readable_size = chain->writable_size = 0;
    if (!walk_chain(memory, queue->descriptors, queue->size, head, chain, false))
        return -EINVAL;
    queue->next_available++;
    return 1;
}

void virtqueue_untake(struct virtqueue *queue)
{
    queue->next_available--;
}

int virtqueue_give(struct virtqueue *queue, struct memory *memory,
                   const struct virtqueue_used *used, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const uint32_t element[2] = {used[i].head, used[i].written};
        uint64_t slot = queue->next_used++ & (queue->size - 1u);
        if (memory_write(memory, queue->used + 4 + slot * 8, element, sizeof(element)) < 0)
            return -EINVAL;
    }
    return store_index(memory, queue->used + 2, queue->next_used) ? 0 : -EINVAL;
}

bool virtqueue_wants_interrupt(struct virtqueue *queue, struct memory *memory)
{
    uint16_t flags, event;
    uint16_t old = queue->signalled, fresh = queue->next_used;
    bool valid = queue->signalled_valid;
    /* What we gave must be visible before we read what the driver asked for. */
    atomic_thread_fence(memory_order_seq_cst);
    queue->signalled = fresh;
    queue->signalled_valid = true;
    if (!queue->event_index) {
        return load_index(memory, queue->available, &flags) && !(flags & AVAILABLE_NO_INTERRUPT) &&
               (!valid || old != fresh);
    }
    if (!load_index(memory, queue->available + 4 + queue->size * 2u, &event))
        return false;
    return !valid || (uint16_t)(fresh - event - 1) < (uint16_t)(fresh - old);
}

void virtqueue_want_notification(struct virtqueue *queue, struct memory *memory)
{
    if (queue->event_index)
        store_index(memory, queue->used + 4 + queue->size * 8u, queue->next_available);
    atomic_thread_fence(memory_order_seq_cst);
}

void vector_note_write(struct memory *memory, const struct iovec *vector, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        memory_note_write(memory, (uint64_t)((uint8_t *)vector[i].iov_base - memory->base),
                          vector[i].iov_len);
}

static const struct state_field fields[] = {
    STATE_FIELD(struct virtqueue, size),           STATE_FIELD(struct virtqueue, vector),
    STATE_FIELD(struct virtqueue, enabled),        STATE_FIELD(struct virtqueue, descriptors),
    STATE_FIELD(struct virtqueue, available),      STATE_FIELD(struct virtqueue, used),
    STATE_FIELD(struct virtqueue, next_available), STATE_FIELD(struct virtqueue, next_used),
    STATE_FIELD(struct virtqueue, signalled),      STATE_FIELD(struct virtqueue, signalled_valid),
    STATE_FIELD(struct virtqueue, event_index),
};
const struct state_table virtqueue_state = STATE_TABLE("virtqueue", 1, fields);

bool virtqueue_loaded(const struct virtqueue *queue)
{
    return queue->size && queue->size <= VIRTQUEUE_SIZE_MAX && !(queue->size & (queue->size - 1));
}
