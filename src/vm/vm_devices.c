/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/vm_devices.h"

#include "bus/pci.h"
#include "device/bridges.h"

#include <errno.h>

static int create_platform(struct bus *bus, struct error *error)
{
    static int (*const creators[])(struct bus * bus, struct error * error) = {
        pic_create, ioapic_create, pit_create, rtc_create, acpi_power_create,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(creators); i++) {
        int result = creators[i](bus, error);
        if (result < 0)
            return result;
    }
    return 0;
}

int vm_devices_create(struct vm_devices *devices, const struct vm_config *config, struct bus *bus,
                      struct error *error)
{
    int result = create_platform(bus, error);
    if (result < 0)
        return result;
    devices->serial = serial_create(bus, &config->serial, error);
    if (!devices->serial)
        return -ENOMEM;
    devices->pci = pci_bus_create(bus, error);
    if (!devices->pci)
        return -ENOMEM;
    return bridges_create(devices->pci, error);
}

void vm_devices_close(struct vm_devices *devices)
{
}
