/* SPDX-License-Identifier: Apache-2.0 */
/* FAT12 with long names. ECMA-107; Microsoft, FAT: General Overview of On-Disk Format 1.03. */
#include "manage/seed.h"

#include "base/bits.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SECTOR        512
#define CLUSTER       (2 * SECTOR)
#define FAT_SECTORS   6
#define FAT_COUNT     2
#define ROOT_ENTRIES  64
#define FAT_START     SECTOR
#define ROOT_START    (FAT_START + FAT_COUNT * FAT_SECTORS * SECTOR)
#define DATA_START    (ROOT_START + ROOT_ENTRIES * ENTRY)
#define CLUSTERS      ((SEED_SIZE - DATA_START) / CLUSTER)
#define CLUSTER_FIRST 2 /* its number */
#define CHAIN_END     0xfff
#define MEDIA_DISK    0xf8

#define ENTRY           32
#define SHORT_NAME      11
#define LONG_PIECE      13 /* characters in an entry of a long name */
#define LONG_LAST       0x40
#define ATTRIBUTE_LONG  0x0f
#define ATTRIBUTE_LABEL 0x08

_Static_assert(CLUSTERS < 4085, "more clusters make it FAT16");
_Static_assert((CLUSTERS + CLUSTER_FIRST) * 3 / 2 < FAT_SECTORS * SECTOR, "the FAT is too short");

static const char label[SHORT_NAME + 1] = "CIDATA     ";

static void write_boot_sector(uint8_t *image, uint32_t volume_id)
{
    memcpy(image, "\xeb\x3c\x90nacre   ", 11);
    store_le(image + 11, SECTOR, 2);
    store_le(image + 13, CLUSTER / SECTOR, 1);
    store_le(image + 14, 1, 2); /* sectors before the FAT */
    store_le(image + 16, FAT_COUNT, 1);
    store_le(image + 17, ROOT_ENTRIES, 2);
    store_le(image + 19, SEED_SIZE / SECTOR, 2);
    store_le(image + 21, MEDIA_DISK, 1);
    store_le(image + 22, FAT_SECTORS, 2);
    store_le(image + 24, 32, 2); /* sectors a track, heads: nobody cares */
    store_le(image + 26, 64, 2);
    store_le(image + 36, 0x80, 1); /* drive */
    store_le(image + 38, 0x29, 1); /* what follows is there */
    store_le(image + 39, volume_id, 4);
    memcpy(image + 43, label, SHORT_NAME);
    memcpy(image + 54, "FAT12   ", 8);
    store_le(image + 510, 0xaa55, 2);
}

/* 12 bits each: two share three bytes. */
static void set_fat(uint8_t *image, unsigned cluster, unsigned next)
{
    for (unsigned copy = 0; copy < FAT_COUNT; copy++) {
        uint8_t *entry = image + FAT_START + copy * FAT_SECTORS * SECTOR + cluster * 3 / 2;
        uint64_t old = load_le(entry, 2);
        store_le(entry, cluster & 1 ? (old & 0xf) | next << 4 : (old & 0xf000) | next, 2);
    }
}

/* USER-D~1: the first six characters, and a number that is 1 as all names differ there. */
static void make_short_name(const char *name, char short_name[SHORT_NAME + 1])
{
    snprintf(short_name, SHORT_NAME + 1, "%-6.6s~1   ", name);
    for (unsigned i = 0; i < 6; i++)
        short_name[i] = (char)toupper((unsigned char)short_name[i]);
}

static uint8_t checksum(const char *short_name)
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < SHORT_NAME; i++)
        sum = (uint8_t)((sum >> 1 | sum << 7) + (uint8_t)short_name[i]);
    return sum;
}

/* A piece of a long name in UTF-16: characters, a zero, then all ones. */
static void write_long_entry(uint8_t *entry, const char *name, unsigned piece, bool last,
                             uint8_t sum)
{
    static const uint8_t places[LONG_PIECE] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    size_t length = strlen(name);
    entry[0] = (uint8_t)((piece + 1) | (last ? LONG_LAST : 0));
    entry[11] = ATTRIBUTE_LONG;
    entry[13] = sum;
    for (unsigned i = 0; i < LONG_PIECE; i++) {
        size_t at = piece * LONG_PIECE + i;
        store_le(entry + places[i], at < length ? (uint8_t)name[at] : at == length ? 0 : 0xffff, 2);
    }
}

/* The entries of a file; returns the place behind them. */
static uint8_t *write_entries(uint8_t *entry, const struct seed_file *file, unsigned cluster)
{
    char short_name[SHORT_NAME + 1];
    make_short_name(file->name, short_name);
    unsigned pieces = (unsigned)(strlen(file->name) + LONG_PIECE) / LONG_PIECE;
    for (unsigned piece = pieces; piece-- > 0; entry += ENTRY)
        write_long_entry(entry, file->name, piece, piece == pieces - 1, checksum(short_name));
    memcpy(entry, short_name, SHORT_NAME);
    store_le(entry + 26, cluster, 2);
    store_le(entry + 28, file->size, 4);
    return entry + ENTRY;
}

int seed_build(uint8_t *image, const struct seed_file *files, unsigned count, uint32_t volume_id)
{
    unsigned cluster = CLUSTER_FIRST;
    uint8_t *entry = image + ROOT_START;
    write_boot_sector(image, volume_id);
    set_fat(image, 0, 0xf00 | MEDIA_DISK);
    set_fat(image, 1, CHAIN_END);
    memcpy(entry, label, SHORT_NAME);
    entry[11] = ATTRIBUTE_LABEL;
    entry += ENTRY;
    for (unsigned i = 0; i < count; i++) {
        size_t clusters = (files[i].size + CLUSTER - 1) / CLUSTER;
        if (clusters > CLUSTERS + CLUSTER_FIRST - cluster)
            return -EFBIG;
        entry = write_entries(entry, &files[i], clusters ? cluster : 0);
        memcpy(image + DATA_START + (size_t)(cluster - CLUSTER_FIRST) * CLUSTER, files[i].bytes,
               files[i].size);
        for (size_t j = 0; j < clusters; j++, cluster++)
            set_fat(image, cluster, j + 1 < clusters ? cluster + 1 : CHAIN_END);
    }
    return 0;
}

/* --- the files --- */

/* cloud-init passes over what does not say in its first line what it is. */
static bool is_user_data(const char *text)
{
    static const char *const starts[] = {"#", "Content-Type:", "## template:"};
    for (unsigned i = 0; i < ARRAY_SIZE(starts); i++)
        if (!strncmp(text, starts[i], strlen(starts[i])))
            return true;
    return false;
}

static int read_user_data(const char *path, char *text, size_t *size, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = 0;
    *size = 0;
    if (fd < 0)
        return error_set(error, errno, "--cloud-init %s: %s", path, strerror(errno));
    while (*size < SEED_SIZE - 1 && (count = read(fd, text + *size, SEED_SIZE - 1 - *size)) > 0)
        *size += (size_t)count;
    int code = count < 0 ? errno : 0;
    close(fd);
    text[*size] = '\0';
    if (code)
        return error_set(error, code, "--cloud-init %s: %s", path, strerror(code));
    if (is_user_data(text))
        return 0;
    return error_set(error, EINVAL,
                     "--cloud-init %s: its first line must be #cloud-config, #!INTERPRETER or "
                     "another of cloud-init's headers",
                     path);
}

static int write_image(const struct state_directory *directory, const uint8_t *image,
                       struct error *error)
{
    int fd = openat(directory->fd, STATE_SEED, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int result =
        fd < 0 || write(fd, image, SEED_SIZE) != (ssize_t)SEED_SIZE || fsync(fd) < 0
            ? error_set(error, errno, "%s/" STATE_SEED ": %s", directory->path, strerror(errno))
            : 0;
    if (fd >= 0)
        close(fd);
    return result;
}

static int build_and_write(const struct state_directory *directory, const char *path, char *text,
                           uint8_t *image, struct error *error)
{
    char meta_data[128];
    uint64_t number = 0;
    struct seed_file files[] = {{.name = "user-data", .bytes = text},
                                {.name = "meta-data", .bytes = meta_data}};
    int result = read_user_data(path, text, &files[0].size, error);
    if (result < 0)
        return result;
    /* Another number: cloud-init takes it for a new machine, and works again. */
    if (getrandom(&number, sizeof(number), 0) < 0)
        return error_set(error, errno, "--cloud-init: no random numbers: %s", strerror(errno));
    files[1].size = (size_t)snprintf(meta_data, sizeof(meta_data),
                                     "instance-id: %s-%016llx\nlocal-hostname: %s\n",
                                     directory->name, (unsigned long long)number, directory->name);
    if (seed_build(image, files, ARRAY_SIZE(files), (uint32_t)number) < 0)
        return error_set(error, EFBIG, "--cloud-init %s: is too long", path);
    return write_image(directory, image, error);
}

int seed_write(const struct state_directory *directory, const char *user_data, struct error *error)
{
    char *text = malloc(SEED_SIZE);
    uint8_t *image = calloc(1, SEED_SIZE);
    int result = text && image ? build_and_write(directory, user_data, text, image, error)
                               : error_set(error, ENOMEM, "--cloud-init: out of memory");
    free(text);
    free(image);
    return result;
}
