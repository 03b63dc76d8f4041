/* SPDX-License-Identifier: Apache-2.0 */
/* National Semiconductor PC16550D (data sheet, June 1995). Baud rates mean nothing here: a byte is
 * sent when it is written. */
#include "device/serial.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FIFO_SIZE           16
#define POLLS_OF_A_LISTENER 16
#define SETTLE_NS           UINT64_C(100000000)

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCRATCH };

#define IER_RECEIVE  BIT(0)
#define IER_TRANSMIT BIT(1)
#define IER_LINE     BIT(2)
#define IER_MODEM    BIT(3)
#define IIR_NONE     0x01
#define IIR_MODEM    0x00
#define IIR_TRANSMIT 0x02
#define IIR_RECEIVE  0x04
#define IIR_LINE     0x06
#define IIR_TIMEOUT  0x0c
#define IIR_FIFO     0xc0
#define FCR_ENABLE   BIT(0)
#define FCR_CLEAR_RX BIT(1)
#define LCR_DLAB     BIT(7)
#define MCR_DTR      BIT(0)
#define MCR_RTS      BIT(1)
#define MCR_OUT1     BIT(2)
#define MCR_OUT2     BIT(3)
#define MCR_LOOP     BIT(4)
#define LSR_READY    BIT(0)
#define LSR_OVERRUN  BIT(1)
#define LSR_IDLE     0x60 /* holding register and shifter empty: always */
#define MSR_CTS      BIT(4)
#define MSR_DSR      BIT(5)
#define MSR_RI       BIT(6)
#define MSR_DCD      BIT(7)
#define MSR_RI_FELL  BIT(2) /* RI has no bit for any change, only for its end */

struct serial {
    struct device device;
    char name[16];
    pthread_mutex_t lock;
    struct serial_config config;
    uint8_t ier, fcr, lcr, mcr, scratch, lsr, msr_delta;
    uint16_t divisor;
    bool transmit_interrupt; /* THR became empty and nobody has looked yet */
    uint8_t status_polls;    /* reads of LSR in a row */
    bool settled;            /* the receive interrupt has been on for SETTLE_NS */
    struct loop_timer *settle;
    uint8_t fifo[FIFO_SIZE];
    uint8_t fifo_head, fifo_count;
    int irq_level;
    struct irq_line irq;
    struct bus_region region;
};

static unsigned fifo_capacity(const struct serial *serial)
{
    return serial->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned trigger_level(const struct serial *serial)
{
    static const uint8_t levels[] = {1, 4, 8, 14};
    return serial->fcr & FCR_ENABLE ? levels[serial->fcr >> 6] : 1;
}

/*
 * Does anybody in the guest take what comes? A driver clears the FIFO when it starts, so what is
 * sent before would be lost. Drivers enable the receive interrupt, and then perhaps the FIFO, which
 * empties it once more: those that do without get their time. Those that poll read LSR again and
 * again (the transmitter is always idle: nobody waits for that).
 */
static bool guest_listens(const struct serial *serial)
{
    if (serial->ier & IER_RECEIVE && (serial->fcr & FCR_ENABLE || serial->settled))
        return true;
    return serial->status_polls == POLLS_OF_A_LISTENER;
}

/* The receive interrupt is on for a while and no FIFO was asked for. */
static void settle_expired(void *opaque)
{
    struct serial *serial = opaque;
    pthread_mutex_lock(&serial->lock);
    serial->settled = serial->ier & IER_RECEIVE;
    pthread_mutex_unlock(&serial->lock);
    if (serial->config.drained)
        serial->config.drained(serial->config.opaque);
}

static unsigned fifo_room(const struct serial *serial)
{
    return guest_listens(serial) ? fifo_capacity(serial) - serial->fifo_count : 0;
}

/* The interrupt with the highest priority, as IIR shows it. */
static uint8_t interrupt_identity(const struct serial *serial)
{
    if (serial->ier & IER_LINE && serial->lsr & LSR_OVERRUN)
        return IIR_LINE;
    if (serial->ier & IER_RECEIVE && serial->fifo_count >= trigger_level(serial))
        return IIR_RECEIVE;
    /* No character times here: what is below the trigger level times out at once. */
    if (serial->ier & IER_RECEIVE && serial->fifo_count)
        return IIR_TIMEOUT;
    if (serial->ier & IER_TRANSMIT && serial->transmit_interrupt)
        return IIR_TRANSMIT;
    if (serial->ier & IER_MODEM && serial->msr_delta)
        return IIR_MODEM;
    return IIR_NONE;
}

/* Drives the line; the caller holds the lock. PC wiring: OUT2 gates the interrupt. */
static void serial_update(struct serial *serial)
{
    bool wanted = interrupt_identity(serial) != IIR_NONE && serial->mcr & MCR_OUT2 &&
                  !(serial->mcr & MCR_LOOP);
    if (wanted == serial->irq_level)
        return;
    serial->irq_level = wanted;
    irq_set(&serial->irq, wanted);
}

/* A full FIFO keeps what it has; without it the new byte takes the place of the old. */
static void fifo_push(struct serial *serial, uint8_t byte)
{
    if (serial->fifo_count == fifo_capacity(serial)) {
        serial->lsr |= LSR_OVERRUN;
        if (!(serial->fcr & FCR_ENABLE))
            serial->fifo[serial->fifo_head] = byte;
        return;
    }
    serial->fifo[(serial->fifo_head + serial->fifo_count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(struct serial *serial)
{
    if (!serial->fifo_count)
        return 0;
    uint8_t byte = serial->fifo[serial->fifo_head];
    serial->fifo_head = (serial->fifo_head + 1) % FIFO_SIZE;
    serial->fifo_count--;
    return byte;
}

/* The modem's lines: somebody is there and ready; in a loop what we put out ourselves. */
static uint8_t modem_lines(const struct serial *serial)
{
    uint8_t mcr = serial->mcr;
    if (!(mcr & MCR_LOOP))
        return MSR_DCD | MSR_DSR | MSR_CTS;
    return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
           (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_modem_control(struct serial *serial, uint8_t value)
{
    uint8_t old = modem_lines(serial);
    serial->mcr = value & 0x1f;
    uint8_t changed = old ^ modem_lines(serial);
    serial->msr_delta |= (changed & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
    if (changed & old & MSR_RI)
        serial->msr_delta |= MSR_RI_FELL;
}

static uint8_t modem_status(struct serial *serial)
{
    uint8_t value = modem_lines(serial) | serial->msr_delta;
    serial->msr_delta = 0;
    return value;
}

static uint8_t line_status(struct serial *serial)
{
    uint8_t value = serial->lsr | LSR_IDLE | (serial->fifo_count ? LSR_READY : 0);
    if (serial->status_polls < POLLS_OF_A_LISTENER)
        serial->status_polls++;
    serial->lsr &= ~LSR_OVERRUN;
    return value;
}

static uint8_t identity_read(struct serial *serial)
{
    uint8_t identity = interrupt_identity(serial);
    if (identity == IIR_TRANSMIT)
        serial->transmit_interrupt = false;
    return identity | (serial->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t register_read(struct serial *serial, unsigned offset, bool *drained)
{
    bool dlab = serial->lcr & LCR_DLAB;
    switch (offset) {
    case REG_DATA:
        if (dlab)
            return (uint8_t)serial->divisor;
        *drained = serial->fifo_count == 1;
        return fifo_pop(serial);
    case REG_IER:
        return dlab ? (uint8_t)(serial->divisor >> 8) : serial->ier;
    case REG_IIR_FCR:
        return identity_read(serial);
    case REG_LCR:
        return serial->lcr;
    case REG_MCR:
        return serial->mcr;
    case REG_LSR:
        return line_status(serial);
    case REG_MSR:
        return modem_status(serial);
    default:
        return serial->scratch;
    }
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned size)
{
    struct serial *serial = opaque;
    bool drained = false;
    pthread_mutex_lock(&serial->lock);
    bool listened = guest_listens(serial);
    uint8_t value = register_read(serial, (unsigned)offset, &drained);
    drained |= !listened && guest_listens(serial);
    serial_update(serial);
    pthread_mutex_unlock(&serial->lock);
    if (drained && serial->config.drained)
        serial->config.drained(serial->config.opaque);
    return value;
}

static void write_data(struct serial *serial, uint8_t value)
{
    serial->transmit_interrupt = true;
    if (serial->mcr & MCR_LOOP)
        fifo_push(serial, value);
    else if (serial->config.transmit)
        serial->config.transmit(serial->config.opaque, value);
}

static void write_fifo_control(struct serial *serial, uint8_t value)
{
    if ((serial->fcr ^ value) & FCR_ENABLE || value & FCR_CLEAR_RX)
        serial->fifo_count = serial->fifo_head = 0;
    serial->fcr = value & (FCR_ENABLE | 0xc0);
}

static void register_write(struct serial *serial, unsigned offset, uint8_t value)
{
    bool dlab = serial->lcr & LCR_DLAB;
    switch (offset) {
    case REG_DATA:
        if (dlab)
            serial->divisor = (serial->divisor & 0xff00) | value;
        else
            write_data(serial, value);
        break;
    case REG_IER:
        if (dlab) {
            serial->divisor = (uint16_t)(serial->divisor & 0xff) | (uint16_t)(value << 8);
            break;
        }
        if (value & ~serial->ier & IER_TRANSMIT) /* enabling it with THR empty raises it */
            serial->transmit_interrupt = true;
        if (value & ~serial->ier & IER_RECEIVE)
            loop_timer_arm(serial->settle, clock_monotonic_ns() + SETTLE_NS);
        serial->ier = value & 0xf;
        serial->settled &= (value & IER_RECEIVE) != 0;
        break;
    case REG_IIR_FCR:
        write_fifo_control(serial, value);
        break;
    case REG_LCR:
        serial->lcr = value;
        break;
    case REG_MCR:
        write_modem_control(serial, value);
        break;
    case REG_SCRATCH:
        serial->scratch = value;
        break;
    default:
        break;
    }
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct serial *serial = opaque;
    pthread_mutex_lock(&serial->lock);
    bool listened = guest_listens(serial);
    serial->status_polls = 0;
    register_write(serial, (unsigned)offset, (uint8_t)value);
    bool listens_now = !listened && guest_listens(serial);
    serial_update(serial);
    pthread_mutex_unlock(&serial->lock);
    if (listens_now && serial->config.drained)
        serial->config.drained(serial->config.opaque);
}

static const struct bus_ops serial_ops = {serial_read, serial_write};

unsigned serial_room(struct serial *serial)
{
    pthread_mutex_lock(&serial->lock);
    unsigned room = fifo_room(serial);
    pthread_mutex_unlock(&serial->lock);
    return room;
}

unsigned serial_receive(struct serial *serial, const uint8_t *bytes, unsigned count)
{
    pthread_mutex_lock(&serial->lock);
    unsigned room = fifo_room(serial);
    unsigned taken = count < room ? count : room;
    for (unsigned i = 0; i < taken; i++)
        fifo_push(serial, bytes[i]);
    serial_update(serial);
    pthread_mutex_unlock(&serial->lock);
    return taken;
}

static void serial_reset(struct device *device)
{
    struct serial *serial = (struct serial *)device;
    pthread_mutex_lock(&serial->lock);
    serial->ier = serial->fcr = serial->lcr = serial->scratch = serial->lsr = 0;
    serial->msr_delta = 0;
    serial->mcr = MCR_OUT2;
    serial->divisor = 12;
    serial->transmit_interrupt = false;
    serial->status_polls = 0;
    serial->settled = false;
    loop_timer_disarm(serial->settle);
    serial->fifo_head = serial->fifo_count = 0;
    serial_update(serial);
    pthread_mutex_unlock(&serial->lock);
}

static void serial_destroy(struct device *device)
{
    struct serial *serial = (struct serial *)device;
    loop_timer_destroy(serial->settle);
    pthread_mutex_destroy(&serial->lock);
    free(serial);
}

static int serial_after_load(struct device *device, struct error *error)
{
    struct serial *serial = (struct serial *)device;
    pthread_mutex_lock(&serial->lock);
    bool sound = serial->fifo_head < FIFO_SIZE && serial->fifo_count <= FIFO_SIZE;
    if (!sound)
        serial->fifo_head = serial->fifo_count = 0;
    if (serial->ier & IER_RECEIVE && !serial->settled)
        loop_timer_arm(serial->settle, clock_monotonic_ns() + SETTLE_NS);
    pthread_mutex_unlock(&serial->lock);
    return sound
               ? 0
               : error_set(error, EINVAL, "state of %s: no such FIFO: file damaged", device->name);
}

static const struct device_ops device_ops = {
    .reset = serial_reset,
    .destroy = serial_destroy,
    .after_load = serial_after_load,
};
static const struct state_field serial_fields[] = {
    STATE_FIELD(struct serial, ier),
    STATE_FIELD(struct serial, fcr),
    STATE_FIELD(struct serial, lcr),
    STATE_FIELD(struct serial, mcr),
    STATE_FIELD(struct serial, scratch),
    STATE_FIELD(struct serial, lsr),
    STATE_FIELD(struct serial, msr_delta),
    STATE_FIELD(struct serial, divisor),
    STATE_FIELD(struct serial, transmit_interrupt),
    STATE_FIELD(struct serial, status_polls),
    STATE_FIELD(struct serial, settled),
    STATE_BLOB(struct serial, fifo),
    STATE_FIELD(struct serial, fifo_head),
    STATE_FIELD(struct serial, fifo_count),
    STATE_FIELD(struct serial, irq_level),
};
static const struct state_table serial_state = STATE_TABLE("serial", 1, serial_fields);

struct serial *serial_create(struct bus *bus, const struct serial_config *config,
                             struct error *error)
{
    static const struct {
        uint16_t port;
        uint8_t irq;
    } places[] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};
    struct serial *serial = calloc(1, sizeof(*serial));
    if (!serial) {
        error_set(error, ENOMEM, "serial port: out of memory");
        return NULL;
    }
    snprintf(serial->name, sizeof(serial->name), "serial%u", config->index % 4);
    serial->device =
        (struct device){.name = serial->name, .ops = &device_ops, .state = &serial_state};
    serial->config = *config;
    serial->settle = loop_timer_create(bus->loop, settle_expired, serial, error);
    if (!serial->settle) {
        free(serial);
        return NULL;
    }
    serial->irq = bus_gsi(bus, places[config->index % 4].irq);
    pthread_mutex_init(&serial->lock, NULL);
    serial_reset(&serial->device);
    bus_add_device(bus, &serial->device);
    serial->region = (struct bus_region){
        serial->name, BUS_PORT, places[config->index % 4].port, 8, 1, &serial_ops, serial};
    return bus_add_region(bus, &serial->region, error) < 0 ? NULL : serial;
}
