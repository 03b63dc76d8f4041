/* SPDX-License-Identifier: Apache-2.0 */
/* What the DSDT says about PCI slots whose devices come and go. */
#ifndef NACRE_BOOT_ACPI_SLOTS_H
#define NACRE_BOOT_ACPI_SLOTS_H

#include "boot/acpi.h"
#include "boot/aml.h"

/* In the PCI bus's device: the slots, and the method that a general-purpose event calls. */
void acpi_add_slots(struct aml *aml, const struct acpi_config *config);
#define ACPI_SLOTS_METHOD "SLEV"

#endif
