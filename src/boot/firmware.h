/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware images: which files, and whether they can be one. */
#ifndef NACRE_BOOT_FIRMWARE_H
#define NACRE_BOOT_FIRMWARE_H

#include "base/error.h"
#include "boot/file_view.h"
#include "memory/memory.h"

struct firmware_options {
    const char *image; /* path; NULL: none, a kernel is booted directly */
};

/* Understands the argument of --firmware: FIRMWARE_SYNTAX. */
void firmware_parse(const char *text, struct firmware_options *options);
#define FIRMWARE_SYNTAX "bios|uefi|FILE"

/* The words an option's text may begin with; NULL past the last. */
const char *firmware_word(unsigned index);

/* Puts the image below 4 GiB. Before the jail; -errno with *error. */
int firmware_load(const struct firmware_options *options, struct memory *memory,
                  struct error *error);

#endif
