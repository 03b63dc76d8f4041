/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine tells its firmware. */
#ifndef NACRE_VM_VM_FIRMWARE_H
#define NACRE_VM_VM_FIRMWARE_H

#include "device/fw_cfg.h"
#include "vm/vm.h"

/* Loads the image, opens the variables and gives them a flash chip, creates fw_cfg with all that
 * firmware asks for, fills the CMOS. When all other devices are there. -errno with *error; the
 * caller closes the variables after the bus is gone, in any case. */
int vm_firmware_create(const struct vm_config *config, struct firmware_variables *variables,
                       struct bus *bus, const struct pci_bus *pci, struct error *error);

/* fw_cfg with the numbers that every machine has. The bus owns it; NULL with *error. */
struct fw_cfg *vm_fw_cfg_create(const struct vm_config *config, struct bus *bus,
                                struct error *error);

/* Writes `size` bytes of CMOS, as a PC's setup does: there is no battery that could have kept them.
 */
void vm_write_cmos(struct bus *bus, unsigned index, uint64_t value, unsigned size);

#endif
