/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the floppy controller that move no data. 82077AA data sheet (290166) §8. */
#include "device/floppy/private.h"

#define DRIVE_MASK 3
#define HEAD       BIT(2)

#define ST3_ALWAYS    (BIT(5) | BIT(3)) /* ready, two-sided */
#define ST3_PROTECTED BIT(6)
#define ST3_TRACK0    BIT(4)
#define VERSION_82077 0x90
#define LOCK_BIT      BIT(4)

static unsigned drive_of(const struct floppy *floppy)
{
    return floppy->fifo[1] & DRIVE_MASK;
}

static void done(struct floppy *floppy)
{
    floppy_answer(floppy, NULL, 0);
}

static void seek_ended(struct floppy *floppy, unsigned drive, uint8_t sense)
{
    floppy->sense0 = (uint8_t)(ST0_SEEK_END | sense | drive);
    floppy->seek_ended = true;
    if (drive == 0)
        floppy->changed = false; /* a step with a medium in the drive */
    done(floppy);
    floppy_interrupt(floppy);
}

static void specify(struct floppy *floppy)
{
    memcpy(floppy->timing, floppy->fifo + 1, sizeof(floppy->timing));
    done(floppy);
}

static void sense_drive(struct floppy *floppy)
{
    unsigned drive = drive_of(floppy);
    uint8_t status = (uint8_t)(ST3_ALWAYS | drive | (floppy->fifo[1] & HEAD));
    if (!floppy->cylinders[drive])
        status |= ST3_TRACK0;
    if (floppy->block->read_only)
        status |= ST3_PROTECTED;
    floppy_answer(floppy, &status, 1);
}

/* A drive that is not there never says that its heads are at track 0. */
static void recalibrate(struct floppy *floppy)
{
    unsigned drive = drive_of(floppy);
    floppy->cylinders[drive] = 0;
    seek_ended(floppy, drive, drive ? ST0_ABNORMAL | ST0_NO_TRACK : 0);
}

static void seek(struct floppy *floppy)
{
    unsigned drive = drive_of(floppy);
    floppy->cylinders[drive] = floppy->fifo[2];
    seek_ended(floppy, drive, floppy->fifo[1] & HEAD);
}

static void sense_interrupt(struct floppy *floppy)
{
    uint8_t result[2] = {ST0_INVALID, 0};
    unsigned drive = FLOPPY_DRIVES - floppy->polls, length = 2;
    if (floppy->seek_ended) {
        result[0] = floppy->sense0;
        floppy->seek_ended = false;
        drive = result[0] & DRIVE_MASK;
    } else if (floppy->polls) {
        result[0] = (uint8_t)(ST0_POLLED | drive);
        floppy->polls--;
    } else {
        length = 1;
    }
    result[1] = floppy->cylinders[drive % FLOPPY_DRIVES];
    floppy_interrupt_seen(floppy);
    floppy_answer(floppy, result, length);
}

static void version(struct floppy *floppy)
{
    const uint8_t value = VERSION_82077;
    floppy_answer(floppy, &value, 1);
}

static void perpendicular(struct floppy *floppy)
{
    floppy->perpendicular = floppy->fifo[1];
    done(floppy);
}

static void configure(struct floppy *floppy)
{
    memcpy(floppy->configuration, floppy->fifo + 1, sizeof(floppy->configuration));
    done(floppy);
}

static void lock(struct floppy *floppy)
{
    floppy->locked = floppy->fifo[0] & BIT(7);
    const uint8_t value = floppy->locked ? LOCK_BIT : 0;
    floppy_answer(floppy, &value, 1);
}

static void dump_registers(struct floppy *floppy)
{
    uint8_t result[10];
    memcpy(result, floppy->cylinders, FLOPPY_DRIVES);
    memcpy(result + 4, floppy->timing, 2);
    result[6] = floppy->last_sector;
    result[7] = (uint8_t)(floppy->perpendicular | (floppy->locked ? BIT(7) : 0));
    memcpy(result + 8, floppy->configuration + 1, 2);
    floppy_answer(floppy, result, sizeof(result));
}

static void invalid(struct floppy *floppy)
{
    const uint8_t value = ST0_INVALID;
    floppy_answer(floppy, &value, 1);
}

static const struct floppy_command {
    uint8_t mask, code; /* of the first byte: which bits say that it is this one */
    uint8_t length;     /* bytes, the first included */
    void (*execute)(struct floppy *floppy);
} commands[] = {
    {0x1f, 0x06, 9, floppy_read},   {0x3f, 0x05, 9, floppy_write},
    {0xbf, 0x0d, 6, floppy_format}, {0xbf, 0x0a, 2, floppy_read_id},
    {0xff, 0x07, 2, recalibrate},   {0xff, 0x08, 1, sense_interrupt},
    {0xff, 0x03, 3, specify},       {0xff, 0x04, 2, sense_drive},
    {0xff, 0x0f, 3, seek},          {0xff, 0x10, 1, version},
    {0xff, 0x12, 2, perpendicular}, {0xff, 0x13, 4, configure},
    {0x7f, 0x14, 1, lock},          {0xff, 0x0e, 1, dump_registers},
    {0x00, 0x00, 1, invalid}, /* all others */
};

static const struct floppy_command *find(uint8_t code)
{
    const struct floppy_command *command = commands;
    while ((code & command->mask) != command->code)
        command++;
    return command;
}

unsigned floppy_command_length(uint8_t code)
{
    return find(code)->length;
}

void floppy_command(struct floppy *floppy)
{
    find(floppy->fifo[0])->execute(floppy);
}
