/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/block.h"

#include "disk/raw.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *format;
    struct block *(*open)(const struct block_options *options, struct loop *loop,
                          struct error *error);
} formats[] = {
    {"raw", raw_open},
};

struct block *block_open(const struct block_options *options, struct loop *loop,
                         struct error *error)
{
    const char *format = options->format ? options->format : "raw";
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (!strcmp(formats[i].format, format))
            return formats[i].open(options, loop, error);
    error_set(error, EINVAL, "--disk %s: unknown format %s; known is raw", options->path, format);
    return NULL;
}
