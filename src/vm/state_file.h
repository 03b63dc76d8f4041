/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that holds a machine's state beside its memory: a header, then named sections, each what
 * one state table (base/state.h) describes. All integers are little-endian.
 *
 *   0  8 bytes  "nacre-vm"
 *   8  u32      format: STATE_FILE_FORMAT; a reader refuses all others
 *  12  u32      sections
 *  16  u64      bytes of the whole file
 *  24  u32      CRC-32 of everything else, this field taken as 0
 *  28  u32      0
 *  32           sections: name (32 bytes, zero-padded), u32 version of its table, u32 length, bytes
 *
 * It is read whole and checked before anything is believed. Reading it needs no trust in who wrote
 * it.
 */
#ifndef NACRE_VM_STATE_FILE_H
#define NACRE_VM_STATE_FILE_H

#include "base/state.h"

#define STATE_FILE_FORMAT  1u
#define STATE_FILE_MAX     (UINT64_C(64) << 20) /* bytes: a screen's memory is in it */
#define STATE_SECTIONS_MAX 256
#define STATE_SECTION_NAME 32

struct state_section {
    char name[STATE_SECTION_NAME + 1];
    uint32_t version;
    size_t offset, length; /* of its bytes in the file */
    bool used;             /* somebody has taken it */
};

/* Zero-initialised: an empty one to write to. */
struct state_file {
    uint8_t *bytes;
    size_t length, capacity;
    unsigned section_count;
    struct state_section sections[STATE_SECTIONS_MAX];
};

/* Makes room for so many bytes of state in so many sections, so that adding them takes no memory.
 * For an empty one. -ENOMEM. */
int state_file_reserve(struct state_file *file, size_t bytes, unsigned sections);
/* Adds a section of state_size(table) bytes, which the caller fills: NULL when there is no memory
 * for it. Valid until the next one is added. */
uint8_t *state_file_add(struct state_file *file, const char *name, const struct state_table *table);
/* Completes the header; after that bytes and length are what belongs in the file. Also once more,
 * after sections have changed. Takes no memory and no lock. */
void state_file_seal(struct state_file *file);

/* Takes all of a file in. -EINVAL with *error when it is none, is damaged or of another format;
 * -errno when it cannot be read. state_file_free() is due in any case. */
int state_file_read(struct state_file *file, int fd, struct error *error);
/* Takes a section: each can be taken once. NULL: there is none. */
struct state_section *state_file_take(struct state_file *file, const char *name);
/* The name of one that nobody has taken; NULL: all have been. */
const char *state_file_left_over(const struct state_file *file);
void state_file_free(struct state_file *file);

#endif
