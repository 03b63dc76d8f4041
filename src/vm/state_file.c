/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/state_file.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static const char magic[8] = {'n', 'a', 'c', 'r', 'e', '-', 'v', 'm'};

enum {
    HEADER_FORMAT = 8,
    HEADER_SECTIONS = 12,
    HEADER_LENGTH = 16,
    HEADER_CHECKSUM = 24,
    HEADER_SIZE = 32,
};
enum {
    SECTION_VERSION = STATE_SECTION_NAME,
    SECTION_LENGTH = SECTION_VERSION + 4,
    SECTION_HEADER = SECTION_LENGTH + 4,
};

/* --- writing --- */

static bool reserve(struct state_file *file, size_t more)
{
    if (!file->length)
        file->length = HEADER_SIZE;
    size_t wanted = file->length + more;
    if (wanted <= file->capacity)
        return true;
    if (wanted > STATE_FILE_MAX || file->section_count == STATE_SECTIONS_MAX)
        return false;
    size_t capacity = align_up(wanted, KIB(64));
    uint8_t *bytes = realloc(file->bytes, capacity);
    if (!bytes)
        return false;
    file->bytes = bytes;
    file->capacity = capacity;
    return true;
}

int state_file_reserve(struct state_file *file, size_t bytes, unsigned sections)
{
    if (!reserve(file, bytes + (size_t)sections * SECTION_HEADER))
        return -ENOMEM;
    memset(file->bytes, 0, file->capacity); /* the host gives its pages now, not later */
    return 0;
}

uint8_t *state_file_add(struct state_file *file, const char *name, const struct state_table *table)
{
    size_t size = state_size(table);
    if (!reserve(file, SECTION_HEADER + size))
        return NULL;
    uint8_t *section = file->bytes + file->length;
    memset(section, 0, SECTION_HEADER);
    memcpy(section, name, strnlen(name, STATE_SECTION_NAME));
    store_le(section + SECTION_VERSION, table->version, 4);
    store_le(section + SECTION_LENGTH, size, 4);
    file->section_count++;
    file->length += SECTION_HEADER + size;
    return section + SECTION_HEADER;
}

static uint32_t checksum(const uint8_t *bytes, size_t length)
{
    const uint8_t zeroes[4] = {0};
    uint32_t sum = (uint32_t)crc32_z(0, bytes, HEADER_CHECKSUM);
    sum = (uint32_t)crc32_z(sum, zeroes, sizeof(zeroes));
    size_t rest = HEADER_CHECKSUM + sizeof(zeroes);
    return (uint32_t)crc32_z(sum, bytes + rest, length - rest);
}

void state_file_seal(struct state_file *file)
{
    memset(file->bytes, 0, HEADER_SIZE);
    memcpy(file->bytes, magic, sizeof(magic));
    store_le(file->bytes + HEADER_FORMAT, STATE_FILE_FORMAT, 4);
    store_le(file->bytes + HEADER_SECTIONS, file->section_count, 4);
    store_le(file->bytes + HEADER_LENGTH, file->length, 8);
    store_le(file->bytes + HEADER_CHECKSUM, checksum(file->bytes, file->length), 4);
}

/* --- reading --- */

static int read_whole(struct state_file *file, int fd, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set(error, errno, "cannot be read: %s", strerror(errno));
    if (status.st_size < HEADER_SIZE || (uint64_t)status.st_size > STATE_FILE_MAX)
        return error_set(error, EINVAL,
                         status.st_size ? "has %lld bytes: is no state of a machine"
                                        : "is empty (%lld bytes): it was never finished",
                         (long long)status.st_size);
    file->length = file->capacity = (size_t)status.st_size;
    file->bytes = malloc(file->length);
    if (!file->bytes)
        return error_set(error, ENOMEM, "out of memory");
    for (size_t done = 0; done < file->length;) {
        ssize_t count = pread(fd, file->bytes + done, file->length - done, (off_t)done);
        if (count <= 0)
            return error_set(error, count ? errno : EIO, "cannot be read: %s",
                             count ? strerror(errno) : "it got shorter");
        done += (size_t)count;
    }
    return 0;
}

static int check_header(const struct state_file *file, struct error *error)
{
    const uint8_t *bytes = file->bytes;
    if (memcmp(bytes, magic, sizeof(magic)) != 0)
        return error_set(error, EINVAL, "is no state of a machine");
    uint64_t format = load_le(bytes + HEADER_FORMAT, 4);
    if (format != STATE_FILE_FORMAT)
        return error_set(error, EINVAL, "has format %u, this nacre reads format %u",
                         (unsigned)format, STATE_FILE_FORMAT);
    if (load_le(bytes + HEADER_LENGTH, 8) != file->length)
        return error_set(error, EINVAL, "was cut off: it had %llu bytes and has %zu",
                         (unsigned long long)load_le(bytes + HEADER_LENGTH, 8), file->length);
    if (load_le(bytes + HEADER_CHECKSUM, 4) != checksum(bytes, file->length))
        return error_set(error, EINVAL, "is damaged: its checksum is another");
    return 0;
}

/* A checksum keeps out accidents, not malice: everything is checked. */
static int find_sections(struct state_file *file, struct error *error)
{
    uint64_t count = load_le(file->bytes + HEADER_SECTIONS, 4);
    size_t position = HEADER_SIZE;
    for (uint64_t i = 0; i < count; i++) {
        struct state_section *section = &file->sections[i];
        const uint8_t *header = file->bytes + position;
        if (i == STATE_SECTIONS_MAX || file->length - position < SECTION_HEADER)
            return error_set(error, EINVAL, "is damaged: %llu sections do not fit",
                             (unsigned long long)count);
        memcpy(section->name, header, STATE_SECTION_NAME);
        section->version = (uint32_t)load_le(header + SECTION_VERSION, 4);
        section->length = load_le(header + SECTION_LENGTH, 4);
        section->offset = position + SECTION_HEADER;
        if (!range_within(section->offset, section->length, file->length))
            return error_set(error, EINVAL, "is damaged: section %llu does not fit",
                             (unsigned long long)i);
        position = section->offset + section->length;
        file->section_count++;
    }
    return position == file->length
               ? 0
               : error_set(error, EINVAL, "is damaged: something follows its sections");
}

int state_file_read(struct state_file *file, int fd, struct error *error)
{
    *file = (struct state_file){0};
    int result = read_whole(file, fd, error);
    if (result == 0)
        result = check_header(file, error);
    return result == 0 ? find_sections(file, error) : result;
}

struct state_section *state_file_take(struct state_file *file, const char *name)
{
    for (unsigned i = 0; i < file->section_count; i++) {
        if (file->sections[i].used || strcmp(file->sections[i].name, name) != 0)
            continue;
        file->sections[i].used = true;
        return &file->sections[i];
    }
    return NULL;
}

const char *state_file_left_over(const struct state_file *file)
{
    for (unsigned i = 0; i < file->section_count; i++)
        if (!file->sections[i].used)
            return file->sections[i].name;
    return NULL;
}

void state_file_free(struct state_file *file)
{
    free(file->bytes);
    file->bytes = NULL;
}
