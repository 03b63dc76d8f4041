/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's side of attaching and detaching: registers as fields, a device a slot with the method
 * by which the guest gives it up, and a method that asks the registers what has changed.
 * ACPI 6.4 §5.6.6, §6.1.9 (_SUN), §6.3.3 (_EJ0).
 */
#include "boot/acpi_slots.h"

#include <stdio.h>

#define SLOT_FIRST 2 /* before it come the bridges */
#define SLOT_COUNT 32
#define REGISTERS  "SLRG"
#define FILLED     "SLFI"
#define WANTED     "SLWA"
#define RELEASE    "SLRE"

/* What a device is told. ACPI 6.4 table 5.187 */
#define NOTIFY_DEVICE_CHECK  1
#define NOTIFY_EJECT_REQUEST 3

static void slot_name(char name[8], unsigned slot)
{
    snprintf(name, 8, "S%03u", slot % SLOT_COUNT);
}

static void add_slot(struct aml *aml, unsigned slot)
{
    char name[8];
    slot_name(name, slot);
    size_t device = aml_begin_device(aml, name);
    aml_name(aml, "_SUN");
    aml_integer(aml, slot);
    aml_name(aml, "_ADR");
    aml_integer(aml, slot << 16);
    size_t method = aml_begin_method(aml, "_EJ0", 1);
    aml_store_integer(aml, UINT64_C(1) << slot, RELEASE);
    aml_end(aml, method);
    aml_end(aml, device);
}

/* Reads a register, and tells each slot whose bit is set. */
static void add_look(struct aml *aml, const char *field, unsigned what)
{
    aml_store_local(aml, field);
    for (unsigned slot = SLOT_FIRST; slot < SLOT_COUNT; slot++) {
        char name[8];
        slot_name(name, slot);
        size_t condition = aml_begin_if_local(aml, UINT64_C(1) << slot);
        aml_notify_near(aml, name, what);
        aml_end(aml, condition);
    }
}

void acpi_add_slots(struct aml *aml, const struct acpi_config *config)
{
    static const char *const names[] = {FILLED, WANTED, RELEASE};
    aml_port_region(aml, REGISTERS, config->slots_port, 4 * 3);
    aml_fields32(aml, REGISTERS, names, 3);
    for (unsigned slot = SLOT_FIRST; slot < SLOT_COUNT; slot++)
        add_slot(aml, slot);
    size_t method = aml_begin_method(aml, ACPI_SLOTS_METHOD, 0);
    add_look(aml, FILLED, NOTIFY_DEVICE_CHECK);
    add_look(aml, WANTED, NOTIFY_EJECT_REQUEST);
    aml_end(aml, method);
}
