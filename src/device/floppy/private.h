/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the floppy controller share. Functions are called with its lock held. */
#ifndef NACRE_DEVICE_FLOPPY_PRIVATE_H
#define NACRE_DEVICE_FLOPPY_PRIVATE_H

#include "base/bits.h"
#include "device/floppy/floppy.h"

#define FLOPPY_CYLINDERS   80
#define FLOPPY_HEADS       2
#define FLOPPY_SECTORS     18
#define FLOPPY_SECTOR      512u
#define FLOPPY_BUFFER_SIZE (FLOPPY_HEADS * FLOPPY_SECTORS * FLOPPY_SECTOR) /* a cylinder */
#define FLOPPY_DRIVES      4 /* the controller has lines for; one is there */
#define FLOPPY_FIFO_SIZE   16

/* Status registers 0 to 2. 82077AA data sheet §2.1.5, §8 */
#define ST0_ABNORMAL 0x40
#define ST0_INVALID  0x80
#define ST0_POLLED   0xc0 /* ready has changed: after a reset */
#define ST0_SEEK_END BIT(5)
#define ST0_NO_TRACK BIT(4) /* recalibrated, and found no track 0 */

#define ST1_NO_ADDRESS  BIT(0)
#define ST1_PROTECTED   BIT(1)
#define ST1_NO_DATA     BIT(2)
#define ST1_OVERRUN     BIT(4)
#define ST1_DATA_ERROR  BIT(5)
#define ST1_END         BIT(7) /* of the cylinder, and the DMA controller wants more */
#define ST2_WRONG_TRACK BIT(4)
#define ST2_DATA_ERROR  BIT(5)

enum floppy_phase {
    FLOPPY_COMMAND, /* takes a command's bytes */
    FLOPPY_POSTED,  /* the loop is to submit a request */
    FLOPPY_IN_FLIGHT,
    FLOPPY_RESULT, /* gives a result's bytes */
    FLOPPY_PHASE_COUNT
};

struct floppy {
    struct device device;
    struct bus *bus;
    struct isa_dma *dma;
    struct block *block;
    pthread_mutex_t lock;
    struct irq_line irq;
    struct bus_region regions[2];

    uint8_t output;    /* DOR */
    uint8_t tape;      /* TDR: kept for guests that look for the register */
    uint8_t data_rate; /* of DSR and CCR */
    uint8_t phase;
    bool resetting; /* reset as soon as the request in flight is back */
    bool interrupt;
    bool changed;    /* DSKCHG: nobody has stepped since the medium was put in */
    uint8_t polls;   /* drives that SENSE INTERRUPT still reports after a reset */
    bool seek_ended; /* SENSE INTERRUPT reports sense0 */
    uint8_t sense0;
    uint8_t cylinders[FLOPPY_DRIVES]; /* where each drive's heads are believed to be */
    uint8_t timing[2];                /* of SPECIFY */
    uint8_t configuration[3];         /* of CONFIGURE */
    uint8_t perpendicular;
    bool locked;
    uint8_t last_sector; /* of the last command that had one, for DUMPREG */

    uint8_t fifo[FLOPPY_FIFO_SIZE];
    uint8_t position, length; /* in it: next byte, end of the command or result */

    /* The transfer under way. */
    uint8_t operation;     /* enum block_operation */
    bool terminal;         /* all that the DMA controller was to give has come */
    uint8_t head, sector;  /* where it began */
    uint32_t offset, size; /* bytes on the medium */
    uint8_t buffer[FLOPPY_BUFFER_SIZE];
    struct block_request request;
    struct iovec vector;
};

/* --- floppy.c --- */

void floppy_interrupt(struct floppy *floppy);
void floppy_interrupt_seen(struct floppy *floppy);
/* As after power-on, but for what the guest has locked and where the heads are; waits for what is
 * in flight. */
void floppy_controller_reset(struct floppy *floppy);
/* The command has ended with these bytes for the guest. */
void floppy_answer(struct floppy *floppy, const uint8_t *bytes, unsigned length);

/* --- command.c --- */

/* How long the command is whose first byte this is. */
unsigned floppy_command_length(uint8_t code);
/* The command in the FIFO is complete. */
void floppy_command(struct floppy *floppy);

/* --- transfer.c: commands that reach the medium; their parameters are in the FIFO --- */

void floppy_read(struct floppy *floppy);
void floppy_write(struct floppy *floppy);
void floppy_format(struct floppy *floppy);
void floppy_read_id(struct floppy *floppy);
/* Takes up a transfer again that was saved in the middle. */
void floppy_transfer_continue(struct floppy *floppy);

#endif
