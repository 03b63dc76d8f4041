/* SPDX-License-Identifier: Apache-2.0 */
#include "ram_block.h"

#include "base/bits.h"

#include <stdlib.h>

static void hold(struct block *block, struct block_request *request)
{
    block_queue_push(&((struct ram_block *)block)->held, request);
}

static int execute(struct ram_block *ram, struct block_request *request)
{
    uint8_t *place = ram->bytes + request->offset;
    if (ram->failure)
        return ram->failure;
    if (!range_within(request->offset, request->length, ram->block.size))
        abort();
    if (request->operation == BLOCK_READ)
        vector_write(request->vector, request->vector_count, request->skip, place, request->length);
    else if (request->operation == BLOCK_WRITE)
        vector_read(request->vector, request->vector_count, request->skip, place, request->length);
    else
        ram->flushes++;
    return 0;
}

static void drain(struct block *block)
{
    struct ram_block *ram = (struct ram_block *)block;
    for (struct block_request *request; (request = block_queue_pop(&ram->held));)
        request->done(request, execute(ram, request));
}

static void no_close(struct block *block)
{
}

static const struct block_ops ram_ops = {.submit = hold, .drain = drain, .close = no_close};

uint8_t ram_block_byte(uint64_t offset)
{
    return (uint8_t)(offset / 512 ^ offset);
}

struct ram_block *ram_block_create(uint64_t size)
{
    struct ram_block *ram = calloc(1, sizeof(*ram));
    uint8_t *bytes = malloc(size);
    if (!ram || !bytes)
        abort();
    for (uint64_t i = 0; i < size; i++)
        bytes[i] = ram_block_byte(i);
    ram->block = (struct block){.ops = &ram_ops, .size = size, .sector_size = 512};
    ram->bytes = bytes;
    return ram;
}

void ram_block_destroy(struct ram_block *ram)
{
    free(ram->bytes);
    free(ram);
}
