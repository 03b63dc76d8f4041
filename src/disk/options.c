/* SPDX-License-Identifier: Apache-2.0 */
/* What may follow the path in --disk, as a table. */
#include "base/bits.h"
#include "disk/block.h"

#include <errno.h>
#include <string.h>

/* The values of one setting, in the order of its enum. */
struct setting {
    const char *name;
    const char *values[5]; /* NULL: takes any text */
    void (*set)(struct block_options *options, unsigned index, const char *text);
};

static void set_read_only(struct block_options *options, unsigned index, const char *text)
{
    options->read_only = index;
}

static void set_direct(struct block_options *options, unsigned index, const char *text)
{
    options->cache = index ? BLOCK_CACHE_NONE : BLOCK_CACHE_WRITEBACK;
}

static void set_cache(struct block_options *options, unsigned index, const char *text)
{
    options->cache = (enum block_cache)index;
}

static void set_aio(struct block_options *options, unsigned index, const char *text)
{
    options->aio = (enum block_aio)index;
}

static void set_bus(struct block_options *options, unsigned index, const char *text)
{
    options->bus = (enum block_bus)index;
}

static void set_format(struct block_options *options, unsigned index, const char *text)
{
    options->format = text;
}

static const struct setting settings[] = {
    {"readonly", {"off", "on"}, set_read_only},
    {"direct", {"off", "on"}, set_direct},
    {"cache", {"writeback", "none", "writethrough", "unsafe"}, set_cache},
    {"aio", {"auto", "threads", "io_uring"}, set_aio},
    {"bus", {"virtio", "ide"}, set_bus},
    {"format", {NULL}, set_format},
};

static const struct setting *find(const char *word, size_t length)
{
    for (unsigned i = 0; i < ARRAY_SIZE(settings); i++)
        if (strlen(settings[i].name) == length && !strncmp(settings[i].name, word, length))
            return &settings[i];
    return NULL;
}

static int apply(struct block_options *options, const char *word, struct error *error)
{
    size_t length = strcspn(word, "=");
    const struct setting *setting = word[length] ? find(word, length) : NULL;
    int limited = setting ? 0 : rate_limit_setting(&options->limit, "disk", word, error);
    if (limited)
        return limited < 0 ? limited : 0;
    if (!setting)
        return error_set(error, EINVAL,
                         "%s %s: unknown setting %s; known are readonly=, format=, cache=, "
                         "direct=, aio=, bus=, " RATE_LIMIT_SYNTAX,
                         block_option(options), options->path, word);
    const char *value = word + length + 1;
    if (!setting->values[0]) {
        setting->set(options, 0, value);
        return 0;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(setting->values) && setting->values[i]; i++) {
        if (strcmp(setting->values[i], value))
            continue;
        setting->set(options, i, value);
        return 0;
    }
    return error_set(error, EINVAL, "%s %s: %s cannot be \"%s\"; see nacre run --help",
                     block_option(options), options->path, setting->name, value);
}

int block_options_parse(struct block_options *options, char *text, struct error *error)
{
    char *rest = text;
    options->path = strsep(&rest, ",");
    if (!*options->path)
        return error_set(error, EINVAL, "%s: needs the path of an image", block_option(options));
    int result = 0;
    for (char *word; result == 0 && (word = strsep(&rest, ","));)
        result = apply(options, word, error);
    return result;
}
