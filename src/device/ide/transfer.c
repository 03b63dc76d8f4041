/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving data. What is longer than the channel's buffer goes in pieces of that size: medium,
 * buffer, guest, and again; DMA uses the same buffer, so that a guest which changes memory
 * meanwhile changes only its own data.
 */
#include "device/ide/private.h"

#include <errno.h>

static void post(struct ide_channel *channel);

/* --- between buffer and guest --- */

/* Lets the guest move the next block through the data port. */
static void offer_block(struct ide_channel *channel, bool interrupt)
{
    struct ide_transfer *transfer = &channel->transfer;
    bool to_guest = transfer->operation == BLOCK_READ;
    uint32_t rest = transfer->end - transfer->position;
    uint32_t length = rest < transfer->block_size ? rest : transfer->block_size;
    transfer->block_end = transfer->position + length;
    channel->phase = to_guest ? IDE_TO_GUEST : IDE_FROM_GUEST;
    if (channel->packets)
        packet_announce(channel, REASON_IN, length);
    if (interrupt)
        ide_interrupt(channel);
}

/* A packet command says when it is done; another only if the guest has not just read it all itself.
 */
static void complete(struct ide_channel *channel)
{
    const struct ide_transfer *transfer = &channel->transfer;
    if (transfer->dma)
        ide_master_done(channel, true);
    if (channel->packets)
        packet_announce(channel, REASON_IN | REASON_COMMAND, 0);
    ide_succeed(channel, channel->packets || transfer->dma || transfer->operation != BLOCK_READ);
}

static void fail(struct ide_channel *channel, uint8_t error)
{
    if (channel->transfer.dma)
        ide_master_done(channel, false);
    if (channel->packets)
        packet_fail_medium(channel);
    else
        ide_fail(channel, error);
}

/* All that was in the buffer is with the guest. */
static void buffer_sent(struct ide_channel *channel)
{
    if (channel->transfer.left)
        post(channel);
    else
        complete(channel);
}

/* The next piece of what the guest writes: room for it. */
static void buffer_accept(struct ide_channel *channel)
{
    struct ide_transfer *transfer = &channel->transfer;
    transfer->position = 0;
    transfer->end =
        transfer->left < IDE_BUFFER_SIZE ? (uint32_t)transfer->left : (uint32_t)IDE_BUFFER_SIZE;
}

void ide_dma_go(struct ide_channel *channel)
{
    struct ide_transfer *transfer = &channel->transfer;
    bool to_guest = transfer->operation == BLOCK_READ;
    channel->phase = IDE_DMA_WAIT;
    if (!ide_master_started(channel))
        return;
    if (!ide_master_move(channel, channel->buffer, transfer->end, to_guest))
        fail(channel, ERROR_ABORTED);
    else if (to_guest)
        buffer_sent(channel);
    else
        post(channel);
}

static void move(struct ide_channel *channel, bool interrupt)
{
    if (channel->transfer.dma)
        ide_dma_go(channel);
    else
        offer_block(channel, interrupt);
}

void ide_block_done(struct ide_channel *channel)
{
    const struct ide_transfer *transfer = &channel->transfer;
    if (transfer->position < transfer->end)
        offer_block(channel, true);
    else if (transfer->operation == BLOCK_READ)
        buffer_sent(channel);
    else
        post(channel);
}

/* --- between medium and buffer --- */

/* The back end has carried out a request. */
static void piece_done(struct ide_channel *channel, uint64_t length)
{
    struct ide_transfer *transfer = &channel->transfer;
    transfer->offset += length;
    transfer->left -= length;
    if (transfer->operation == BLOCK_READ) {
        transfer->position = 0;
        transfer->end = (uint32_t)length;
        move(channel, true);
    } else if (transfer->left) {
        buffer_accept(channel);
        move(channel, true);
    } else {
        complete(channel);
    }
}

/* Loop thread. */
static void request_done(struct block_request *request, int result)
{
    struct ide_channel *channel = request->opaque;
    pthread_mutex_lock(&channel->lock);
    channel->phase = IDE_IDLE;
    if (channel->resetting)
        ide_channel_reset(channel);
    else if (result < 0)
        fail(channel, ERROR_UNCORRECTABLE);
    else
        piece_done(channel, request->length);
    pthread_mutex_unlock(&channel->lock);
}

static void submit(struct ide_channel *channel)
{
    const struct ide_transfer *transfer = &channel->transfer;
    uint64_t length = transfer->left < IDE_BUFFER_SIZE ? transfer->left : IDE_BUFFER_SIZE;
    struct block *block = ide_active(channel)->block;
    channel->vector = (struct iovec){channel->buffer, IDE_BUFFER_SIZE};
    channel->request = (struct block_request){
        .operation = (enum block_operation)transfer->operation,
        .offset = transfer->offset,
        .length = length,
        .vector = &channel->vector,
        .vector_count = 1,
        .done = request_done,
        .opaque = channel,
    };
    channel->phase = IDE_IN_FLIGHT;
    block_submit(block, &channel->request);
    block_kick(block);
}

/* Loop thread. A reset may have come first: then there is nothing to do. */
static void posted(void *opaque)
{
    struct ide_channel *channel = opaque;
    pthread_mutex_lock(&channel->lock);
    if (channel->phase == IDE_POSTED)
        submit(channel);
    pthread_mutex_unlock(&channel->lock);
}

static void post(struct ide_channel *channel)
{
    channel->phase = IDE_POSTED;
    if (loop_post(pci_device_bus(&channel->ide->pci)->loop, posted, channel) < 0)
        fail(channel, ERROR_ABORTED);
}

void ide_transfer_continue(struct ide_channel *channel)
{
    if (channel->phase == IDE_POSTED || channel->phase == IDE_IN_FLIGHT)
        post(channel);
}

/* --- beginnings --- */

void ide_send(struct ide_channel *channel, uint32_t length, uint32_t block_size, bool dma)
{
    channel->transfer = (struct ide_transfer){
        .operation = BLOCK_READ, .dma = dma, .block_size = block_size, .end = length};
    move(channel, true);
}

static void begin(struct ide_channel *channel, enum block_operation operation, uint64_t offset,
                  uint64_t length, uint32_t block_size, bool dma)
{
    channel->transfer = (struct ide_transfer){.operation = (uint8_t)operation,
                                              .dma = dma,
                                              .offset = offset,
                                              .left = length,
                                              .block_size = block_size};
}

void ide_read(struct ide_channel *channel, uint64_t offset, uint64_t length, uint32_t block_size,
              bool dma)
{
    begin(channel, BLOCK_READ, offset, length, block_size, dma);
    post(channel);
}

void ide_write(struct ide_channel *channel, uint64_t offset, uint64_t length, uint32_t block_size,
               bool dma)
{
    begin(channel, BLOCK_WRITE, offset, length, block_size, dma);
    buffer_accept(channel);
    move(channel, false);
}

void ide_flush(struct ide_channel *channel)
{
    begin(channel, BLOCK_FLUSH, 0, 0, 0, false);
    post(channel);
}
