/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine tells its firmware. */
#ifndef NACRE_VM_VM_FIRMWARE_H
#define NACRE_VM_VM_FIRMWARE_H

#include "vm/vm.h"

/* Loads the image, opens the variables and gives them a flash chip, creates fw_cfg with all that
 * firmware asks for, fills the CMOS. When all other devices are there. -errno with *error; the
 * caller closes the variables after the bus is gone, in any case. */
int vm_firmware_create(const struct vm_config *config, struct firmware_variables *variables,
                       struct bus *bus, struct error *error);

#endif
