/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State tables. Everything that survives a snapshot is named once, in a table beside the struct
 * it describes; saving, loading, migration and the inspector all read that table.
 */
#ifndef NACRE_BASE_STATE_H
#define NACRE_BASE_STATE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum state_kind {
    STATE_UNSIGNED, /* little-endian integer of `size` bytes; also enum: check what was loaded */
    STATE_BOOL,     /* one byte, 0 or 1; what a damaged file holds beyond that loads as 1 */
    STATE_BYTES,    /* opaque bytes */
    STATE_STRUCT,   /* nested table */
    STATE_BEHIND,   /* opaque bytes that a pointer in the struct leads to */
};

struct state_table;

struct state_field {
    const char *name;
    enum state_kind kind;
    size_t offset;                   /* in the struct */
    size_t size;                     /* bytes of one element */
    size_t count;                    /* elements; more than 1 for an array */
    const struct state_table *table; /* STATE_STRUCT: the element's fields */
};

struct state_table {
    const char *name;
    uint32_t version; /* raised when a field changes meaning; a loader refuses what is newer */
    const struct state_field *fields;
    size_t field_count;
};

#define STATE_ELEMENT_SIZE(type, member) sizeof(((type *)0)->member)

/* Kind of an integer member; evaluates nothing. */
#define STATE_INTEGER_KIND(type, member) \
    _Generic(((type *)0)->member, bool : STATE_BOOL, default : STATE_UNSIGNED)

/* A single integer member. */
#define STATE_FIELD(type, member)                                                              \
    {                                                                                          \
        .name = #member, .kind = STATE_INTEGER_KIND(type, member),                             \
        .offset = offsetof(type, member), .size = STATE_ELEMENT_SIZE(type, member), .count = 1 \
    }

/* An array of integers. */
#define STATE_ARRAY(type, member)                                                  \
    {                                                                              \
        .name = #member, .kind = STATE_INTEGER_KIND(type, member[0]),              \
        .offset = offsetof(type, member), .size = sizeof(((type *)0)->member[0]),  \
        .count = STATE_ELEMENT_SIZE(type, member) / sizeof(((type *)0)->member[0]) \
    }

/* A block of bytes whose structure the inspector need not know. */
#define STATE_BLOB(type, member)                                                \
    {                                                                           \
        .name = #member, .kind = STATE_BYTES, .offset = offsetof(type, member), \
        .size = STATE_ELEMENT_SIZE(type, member), .count = 1                    \
    }

/* `bytes` bytes that live elsewhere; the member points to them and is never NULL. */
#define STATE_POINTED(type, member, bytes)                                                        \
    {                                                                                             \
        .name = #member, .kind = STATE_BEHIND, .offset = offsetof(type, member), .size = (bytes), \
        .count = 1                                                                                \
    }

/* A nested struct (or, with STATE_STRUCT_ARRAY, an array of them) that has its own table. */
#define STATE_NESTED(type, member, nested)                                       \
    {                                                                            \
        .name = #member, .kind = STATE_STRUCT, .offset = offsetof(type, member), \
        .size = STATE_ELEMENT_SIZE(type, member), .count = 1, .table = (nested)  \
    }
#define STATE_STRUCT_ARRAY(type, member, nested)                                    \
    {                                                                               \
        .name = #member, .kind = STATE_STRUCT, .offset = offsetof(type, member),    \
        .size = sizeof(((type *)0)->member[0]),                                     \
        .count = STATE_ELEMENT_SIZE(type, member) / sizeof(((type *)0)->member[0]), \
        .table = (nested)                                                           \
    }

#define STATE_TABLE(table_name, table_version, field_array)                        \
    {                                                                              \
        .name = (table_name), .version = (table_version), .fields = (field_array), \
        .field_count = sizeof(field_array) / sizeof((field_array)[0])              \
    }

/* Bytes that state_save() writes for this table. */
size_t state_size(const struct state_table *table);

/* Writes the fields of *object in table order, integers little-endian; buffer holds state_size()
 * bytes. */
void state_save(const struct state_table *table, const void *object, uint8_t *buffer);

/* The reverse. -EINVAL with *error when length or version do not fit; *object is then untouched. */
int state_load(const struct state_table *table, uint32_t version, void *object,
               const uint8_t *buffer, size_t length, struct error *error);

#endif
