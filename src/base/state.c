/* SPDX-License-Identifier: Apache-2.0 */
#include "base/state.h"

#include <errno.h>
#include <string.h>

size_t state_size(const struct state_table *table)
{
    size_t total = 0;
    for (size_t i = 0; i < table->field_count; i++) {
        const struct state_field *field = &table->fields[i];
        size_t element = field->kind == STATE_STRUCT ? state_size(field->table) : field->size;
        total += element * field->count;
    }
    return total;
}

enum direction { SAVE, LOAD };

/* Moves one table's fields between object and buffer; returns the bytes of the buffer that it used.
 */
static size_t state_move(const struct state_table *table, uint8_t *object, uint8_t *buffer,
                         enum direction direction)
{
    uint8_t *position = buffer;
    for (size_t i = 0; i < table->field_count; i++) {
        const struct state_field *field = &table->fields[i];
        for (size_t element = 0; element < field->count; element++) {
            uint8_t *member = object + field->offset + element * field->size;
            if (field->kind == STATE_STRUCT) {
                position += state_move(field->table, member, position, direction);
                continue;
            }
            if (field->kind == STATE_BEHIND)
                memcpy(&member, object + field->offset, sizeof(member));
            /* Hosts are little-endian, so integers are their own stored form. */
            if (direction == SAVE)
                memcpy(position, member, field->size);
            else if (field->kind == STATE_BOOL)
                *(bool *)member = *position != 0; /* any other byte in a bool is undefined */
            else
                memcpy(member, position, field->size);
            position += field->size;
        }
    }
    return (size_t)(position - buffer);
}

void state_save(const struct state_table *table, const void *object, uint8_t *buffer)
{
    state_move(table, (uint8_t *)object, buffer, SAVE);
}

int state_load(const struct state_table *table, uint32_t version, void *object,
               const uint8_t *buffer, size_t length, struct error *error)
{
    if (version != table->version)
        return error_set(error, EINVAL, "state of %s has version %u, this nacre reads version %u",
                         table->name, version, table->version);
    if (length != state_size(table))
        return error_set(error, EINVAL, "state of %s has %zu bytes instead of %zu: file damaged",
                         table->name, length, state_size(table));
    state_move(table, object, (uint8_t *)buffer, LOAD);
    return 0;
}
