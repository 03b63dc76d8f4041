/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware images: which files, and whether they can be one. */
#ifndef NACRE_BOOT_FIRMWARE_H
#define NACRE_BOOT_FIRMWARE_H

#include "base/error.h"
#include "boot/file_view.h"
#include "memory/memory.h"

struct firmware_options {
    const char *image;     /* path; NULL: none, a kernel is booted directly */
    const char *template;  /* path of what UEFI's variables are at first; NULL: no flash */
    const char *variables; /* path of the file that keeps them; NULL: nobody does */
};

/* Understands the argument of --firmware: FIRMWARE_SYNTAX. The text is cut up and kept. -errno with
 * *error. */
int firmware_parse(char *text, struct firmware_options *options, struct error *error);
#define FIRMWARE_SYNTAX "bios|uefi|FILE[,vars=FILE]"

/* The words an option's text may begin with; NULL past the last. */
const char *firmware_word(unsigned index);

/* Puts the image below 4 GiB. Before the jail; -errno with *error. */
int firmware_load(const struct firmware_options *options, struct memory *memory,
                  struct error *error);

/* The variables, for a flash chip below the image. */
struct firmware_variables {
    uint8_t *bytes; /* NULL: there is no flash */
    uint64_t size;
    int fd; /* -1: a template, only to be read */
};

/* Maps the file, which is made from the template if there is none yet; locks it. Before the jail;
 * -errno with *error. */
int firmware_variables_open(const struct firmware_options *options,
                            struct firmware_variables *variables, struct error *error);
void firmware_variables_close(struct firmware_variables *variables);

#endif
