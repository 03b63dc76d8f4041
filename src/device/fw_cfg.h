/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_FW_CFG_H
#define NACRE_DEVICE_FW_CFG_H

#include "bus/bus.h"

/* Keys that firmware knows by number; all else are files. */
enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_MEMORY_SIZE = 0x03,
    FW_CFG_CPU_COUNT = 0x05,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_CPUS_MAX = 0x0f,
    FW_CFG_DIRECTORY = 0x19,
    FW_CFG_FILES = 0x20, /* the first */
};

struct fw_cfg;

/* The bus owns it. NULL with *error. */
struct fw_cfg *fw_cfg_create(struct bus *bus, struct error *error);

/* Offers an item or a file with a copy of these bytes; before the first vcpu runs. Names are
 * shorter than 56 bytes. -errno with *error. */
int fw_cfg_add(struct fw_cfg *fw_cfg, uint16_t key, const void *bytes, uint32_t size,
               struct error *error);
int fw_cfg_add_file(struct fw_cfg *fw_cfg, const char *name, const void *bytes, uint32_t size,
                    struct error *error);

#endif
