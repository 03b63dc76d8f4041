/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading, writing and formatting. All data of a command lie on one cylinder, and go through the
 * buffer at once; the DMA controller says where the command ends. Transfers through the FIFO
 * without DMA are not there: such a command ends with an overrun, as if nobody had taken the bytes.
 */
#include "device/floppy/private.h"

#define DMA_CHANNEL   2
#define RATE_500K     0 /* the only one at which this medium can be read */
#define SIZE_CODE     2 /* 128 << 2 bytes a sector */
#define MULTI_TRACK   BIT(7)
#define HEAD_SHIFT    2
#define TIMING_NO_DMA BIT(0) /* in the second byte of SPECIFY */

/* Bytes of READ and WRITE behind the first. */
enum {
    PARAMETER_DRIVE = 1,
    PARAMETER_CYLINDER,
    PARAMETER_HEAD,
    PARAMETER_SECTOR,
    PARAMETER_SIZE,
    PARAMETER_LAST
};
/* And of FORMAT. */
enum { FORMAT_SIZE = 2, FORMAT_SECTORS = 3, FORMAT_FILLER = 5 };

/* Seven bytes: three of status, and the address of the next sector. */
static void answer(struct floppy *floppy, uint8_t st1, uint8_t st2, const uint8_t address[3])
{
    uint8_t drive_and_head = floppy->fifo[PARAMETER_DRIVE] & 7;
    bool abnormal = st1 || st2;
    const uint8_t result[] = {(uint8_t)((abnormal ? ST0_ABNORMAL : 0) | drive_and_head),
                              st1,
                              st2,
                              address[0],
                              address[1],
                              address[2],
                              SIZE_CODE};
    floppy_answer(floppy, result, sizeof(result));
    floppy_interrupt(floppy);
}

static void fail(struct floppy *floppy, uint8_t st1, uint8_t st2)
{
    answer(floppy, st1, st2, floppy->fifo + PARAMETER_CYLINDER);
}

/* Is there a medium under the heads that can be read as it was asked for? */
static bool medium_found(struct floppy *floppy)
{
    return !(floppy->fifo[PARAMETER_DRIVE] & 3) && floppy->data_rate == RATE_500K &&
           floppy->cylinders[0] < FLOPPY_CYLINDERS;
}

static uint32_t offset_of(unsigned cylinder, unsigned head, unsigned sector)
{
    return ((cylinder * FLOPPY_HEADS + head) * FLOPPY_SECTORS + sector - 1) * FLOPPY_SECTOR;
}

/* Finds what a READ or WRITE is about; false: it has failed. */
static bool locate(struct floppy *floppy)
{
    const uint8_t *fifo = floppy->fifo;
    unsigned head = fifo[PARAMETER_DRIVE] >> HEAD_SHIFT & 1;
    unsigned sector = fifo[PARAMETER_SECTOR], last = fifo[PARAMETER_LAST];
    floppy->last_sector = (uint8_t)last;
    if (!medium_found(floppy)) {
        fail(floppy, ST1_NO_ADDRESS, 0);
        return false;
    }
    if (fifo[PARAMETER_CYLINDER] != floppy->cylinders[0]) {
        fail(floppy, ST1_NO_DATA, ST2_WRONG_TRACK);
        return false;
    }
    if (fifo[PARAMETER_HEAD] != head || fifo[PARAMETER_SIZE] != SIZE_CODE || sector < 1 ||
        sector > FLOPPY_SECTORS || last < sector || last > FLOPPY_SECTORS) {
        fail(floppy, ST1_NO_DATA, 0);
        return false;
    }
    unsigned count = last - sector + 1;
    /* The second side follows the first, but only where a track ends as tracks do. */
    if (fifo[0] & MULTI_TRACK && head == 0 && last == FLOPPY_SECTORS)
        count += FLOPPY_SECTORS;
    floppy->head = (uint8_t)head;
    floppy->sector = (uint8_t)sector;
    floppy->offset = offset_of(floppy->cylinders[0], head, sector);
    floppy->size = count * FLOPPY_SECTOR;
    return true;
}

/* The command ends after `bytes` bytes: where the heads are then. 82077AA table 5-6 */
static void finish(struct floppy *floppy, uint32_t bytes, bool terminal)
{
    uint8_t last = floppy->fifo[PARAMETER_LAST], address[3];
    bool multi = floppy->fifo[0] & MULTI_TRACK;
    unsigned head = floppy->head;
    unsigned sector = floppy->sector + (bytes + FLOPPY_SECTOR - 1) / FLOPPY_SECTOR;
    unsigned cylinder = floppy->cylinders[0];
    if (multi && !head && sector > last + 1u) {
        head = 1; /* it has crossed to the second side */
        sector -= last;
    }
    if (sector > last) {
        sector = 1;
        cylinder += !multi || head;
        head ^= multi;
    }
    address[0] = (uint8_t)cylinder;
    address[1] = (uint8_t)head;
    address[2] = (uint8_t)sector;
    answer(floppy, terminal ? 0 : ST1_END, 0, address);
}

/* --- between the back end and the buffer --- */

static void read_done(struct floppy *floppy)
{
    bool terminal;
    uint32_t moved =
        isa_dma_move(floppy->dma, DMA_CHANNEL, floppy->buffer, floppy->size, true, &terminal);
    if (moved)
        finish(floppy, moved, terminal);
    else
        fail(floppy, ST1_OVERRUN, 0);
}

/* Loop thread. */
static void request_done(struct block_request *request, int result)
{
    struct floppy *floppy = request->opaque;
    pthread_mutex_lock(&floppy->lock);
    floppy->phase = FLOPPY_COMMAND;
    if (floppy->resetting)
        floppy_controller_reset(floppy);
    else if (result < 0)
        fail(floppy, ST1_DATA_ERROR, ST2_DATA_ERROR);
    else if (floppy->operation == BLOCK_READ)
        read_done(floppy);
    else
        finish(floppy, floppy->size, floppy->terminal);
    pthread_mutex_unlock(&floppy->lock);
}

/* Loop thread. A reset may have come first: then there is nothing to do. */
static void posted(void *opaque)
{
    struct floppy *floppy = opaque;
    pthread_mutex_lock(&floppy->lock);
    if (floppy->phase == FLOPPY_POSTED) {
        floppy->vector = (struct iovec){floppy->buffer, floppy->size};
        floppy->request = (struct block_request){
            .operation = (enum block_operation)floppy->operation,
            .offset = floppy->offset,
            .length = floppy->size,
            .vector = &floppy->vector,
            .vector_count = 1,
            .done = request_done,
            .opaque = floppy,
        };
        floppy->phase = FLOPPY_IN_FLIGHT;
        block_submit(floppy->block, &floppy->request);
        block_kick(floppy->block);
    }
    pthread_mutex_unlock(&floppy->lock);
}

static void post(struct floppy *floppy, enum block_operation operation)
{
    floppy->operation = (uint8_t)operation;
    floppy->phase = FLOPPY_POSTED;
    if (loop_post(floppy->bus->loop, posted, floppy) < 0)
        fail(floppy, ST1_DATA_ERROR, ST2_DATA_ERROR);
}

void floppy_transfer_continue(struct floppy *floppy)
{
    if (floppy->phase == FLOPPY_POSTED || floppy->phase == FLOPPY_IN_FLIGHT)
        post(floppy, (enum block_operation)floppy->operation);
}

/* --- commands --- */

void floppy_read(struct floppy *floppy)
{
    if (!locate(floppy))
        return;
    if (floppy->timing[1] & TIMING_NO_DMA)
        fail(floppy, ST1_OVERRUN, 0);
    else
        post(floppy, BLOCK_READ);
}

/* What the DMA controller brings, up to `length` bytes; false: the command has failed. */
static bool fetch(struct floppy *floppy, uint32_t length, uint32_t *moved)
{
    *moved = 0;
    if (!(floppy->timing[1] & TIMING_NO_DMA))
        *moved = isa_dma_move(floppy->dma, DMA_CHANNEL, floppy->buffer, length, false,
                              &floppy->terminal);
    if (!*moved)
        fail(floppy, ST1_OVERRUN, 0);
    return *moved;
}

void floppy_write(struct floppy *floppy)
{
    uint32_t moved;
    if (!locate(floppy))
        return;
    if (floppy->block->read_only) {
        fail(floppy, ST1_PROTECTED, 0);
        return;
    }
    if (!fetch(floppy, floppy->size, &moved))
        return;
    /* The rest of a sector that was not filled is zeroes. */
    floppy->size = (uint32_t)align_up(moved, FLOPPY_SECTOR);
    memset(floppy->buffer + moved, 0, floppy->size - moved);
    post(floppy, BLOCK_WRITE);
}

/* A whole track, as this medium has it; the sector addresses that come by DMA are taken as read. */
void floppy_format(struct floppy *floppy)
{
    uint8_t *fifo = floppy->fifo, filler = fifo[FORMAT_FILLER];
    unsigned head = fifo[PARAMETER_DRIVE] >> HEAD_SHIFT & 1;
    bool as_medium = fifo[FORMAT_SIZE] == SIZE_CODE && fifo[FORMAT_SECTORS] == FLOPPY_SECTORS;
    uint32_t moved;
    /* The result is laid out as that of a WRITE. */
    memset(fifo + PARAMETER_CYLINDER, 0, FLOPPY_FIFO_SIZE - PARAMETER_CYLINDER);
    if (!medium_found(floppy) || !as_medium) {
        fail(floppy, ST1_NO_ADDRESS, 0);
    } else if (floppy->block->read_only) {
        fail(floppy, ST1_PROTECTED, 0);
    } else if (fetch(floppy, FLOPPY_SECTORS * 4, &moved)) {
        fifo[PARAMETER_LAST] = FLOPPY_SECTORS;
        floppy->head = (uint8_t)head;
        floppy->sector = 1;
        floppy->offset = offset_of(floppy->cylinders[0], head, 1);
        floppy->size = FLOPPY_SECTORS * FLOPPY_SECTOR;
        floppy->terminal = true;
        memset(floppy->buffer, filler, floppy->size);
        post(floppy, BLOCK_WRITE);
    }
}

void floppy_read_id(struct floppy *floppy)
{
    unsigned head = floppy->fifo[PARAMETER_DRIVE] >> HEAD_SHIFT & 1;
    const uint8_t address[3] = {floppy->cylinders[0], (uint8_t)head, 1};
    if (medium_found(floppy))
        answer(floppy, 0, 0, address);
    else
        answer(floppy, ST1_NO_ADDRESS, 0, address);
}
