/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/vm_devices.h"

#include "bus/pci.h"
#include "device/bridges.h"
#include "device/debug_port.h"
#include "device/e1000.h"
#include "device/hpet.h"
#include "device/i8042.h"
#include "device/vga.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "vm/vm_storage.h"

#include <errno.h>

#define VGA_BIOS "/usr/share/seabios/vgabios-stdvga.bin"

/* 8254 and RTC, behind the HPET's switch when there is one. */
static int create_timers(const struct vm_config *config, struct bus *bus, struct error *error)
{
    struct irq_line lines[HPET_LEGACY_COUNT] = {bus_gsi(bus, 0), bus_gsi(bus, 8)};
    int result = config->no_hpet ? 0 : hpet_create(bus, lines, error);
    if (result == 0)
        result = pit_create(bus, lines[HPET_LEGACY_PIT], error);
    return result == 0 ? rtc_create(bus, lines[HPET_LEGACY_RTC], error) : result;
}

static int create_platform(const struct vm_config *config, struct bus *bus, struct error *error)
{
    static int (*const creators[])(struct bus * bus, struct error * error) = {
        pic_create,
        ioapic_create,
        acpi_power_create,
        generation_create,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(creators); i++) {
        int result = creators[i](bus, error);
        if (result < 0)
            return result;
    }
    int result = i8042_create(bus, config->display ? display_input(config->display) : NULL, error);
    return result == 0 ? create_timers(config, bus, error) : result;
}

static void console_transmit(void *opaque, uint8_t byte)
{
    console_write(opaque, &byte, 1);
}

static void serial_drained(void *opaque)
{
    console_drained(opaque);
}

static unsigned serial_input(void *opaque, const uint8_t *bytes, unsigned count)
{
    return serial_receive(opaque, bytes, count);
}

/* COM1, with a console at its other end or none. */
static int create_serial(struct console *console, struct bus *bus, struct error *error)
{
    struct serial_config config = {0};
    if (console)
        config = (struct serial_config){
            .transmit = console_transmit, .drained = serial_drained, .opaque = console};
    struct serial *serial = serial_create(bus, &config, error);
    if (!serial)
        return -ENOMEM;
    const struct console_sink sink = {.receive = serial_input, .opaque = serial};
    if (console)
        console_bind(console, &sink);
    return 0;
}

/* A port that is there only when somebody listens. */
static int create_debug_port(struct console *console, struct bus *bus, struct error *error)
{
    const struct debug_port_config config = {.transmit = console_transmit, .opaque = console};
    return console ? debug_port_create(bus, &config, error) : 0;
}

/* Without its BIOS the card works, but has no font and no modes for firmware to set. */
static int create_screen(struct vm_devices *devices, const struct vm_config *config,
                         struct bus *bus, struct error *error)
{
    struct error missing = {0};
    if (!config->display)
        return 0;
    if (file_view_open(&devices->vga_bios, "--display", VGA_BIOS, &missing) < 0)
        log_message(bus->log, LOG_WARNING, "%s; install the package seabios", missing.message);
    return vga_create(devices->pci, display_screen(config->display), devices->vga_bios.bytes,
                      devices->vga_bios.size, error);
}

int vm_devices_open_nets(struct vm_devices *devices, const struct vm_config *config,
                         struct loop *loop, struct log *log, struct error *error)
{
    const struct frame_host host = {.loop = loop, .log = log, .guard = config->guard};
    for (unsigned i = 0; i < config->net_count; i++) {
        int result = net_options_parse(&devices->net_options[i], config->nets[i], i, error);
        if (result < 0)
            return result;
        devices->nets[i] = net_open(&devices->net_options[i], &host, error);
        if (!devices->nets[i])
            return -EINVAL;
    }
    return 0;
}

static int create_nets(struct vm_devices *devices, const struct vm_config *config, struct bus *bus,
                       struct error *error)
{
    static int (*const models[])(struct pci_bus * bus, const struct net_options *options,
                                 struct frame_backend *backend, unsigned index,
                                 struct error *error) = {
        [NET_MODEL_VIRTIO] = virtio_net_create,
        [NET_MODEL_E1000] = e1000_create,
    };
    for (unsigned i = 0; i < config->net_count; i++) {
        devices->net_options[i].new_card = config->clone;
        const struct net_options *options = &devices->net_options[i];
        int result = models[options->model](devices->pci, options, devices->nets[i], i, error);
        if (result < 0)
            return result;
    }
    return 0;
}

int vm_devices_create(struct vm_devices *devices, const struct vm_config *config, struct bus *bus,
                      struct error *error)
{
    int result = create_platform(config, bus, error);
    if (result < 0)
        return result;
    result = create_serial(config->serial, bus, error);
    if (result == 0)
        result = create_debug_port(config->debug_console, bus, error);
    if (result < 0)
        return result;
    devices->slots = pci_slots_create(bus, error);
    devices->pci = devices->slots ? pci_bus_create(bus, error) : NULL;
    if (!devices->pci)
        return -ENOMEM;
    result = bridges_create(devices->pci, error);
    if (result == 0)
        result = create_screen(devices, config, bus, error);
    if (result == 0)
        result = vm_storage_create(devices, config, bus, error);
    if (result == 0)
        result = create_nets(devices, config, bus, error);
    if (result == 0 && config->console)
        result = virtio_console_create(devices->pci, config->console, error);
    return result == 0 ? virtio_rng_create(devices->pci, error) : result;
}

void vm_devices_drain(struct vm_devices *devices)
{
    for (unsigned i = 0; i < VM_BLOCKS_MAX; i++)
        if (devices->blocks[i])
            block_drain(devices->blocks[i]);
}

void vm_devices_close(struct vm_devices *devices)
{
    for (unsigned i = 0; i < VM_BLOCKS_MAX; i++)
        if (devices->blocks[i])
            block_close(devices->blocks[i]);
    for (unsigned i = 0; i < VM_NETS_MAX; i++) {
        if (devices->nets[i])
            devices->nets[i]->ops->close(devices->nets[i]);
        net_options_free(&devices->net_options[i]);
    }
    file_view_close(&devices->vga_bios);
}
