/* SPDX-License-Identifier: Apache-2.0 */
#include "net/frame.h"

#include "base/bits.h"
#include "net/process.h"
#include "net/user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct frame_kind kinds[] = {
    {"user", user_open},
};

struct frame_backend *frame_open(const char *text, const struct frame_host *host,
                                 struct error *error)
{
    char *copy = strdup(text), *rest = copy;
    struct frame_backend *backend = NULL;
    if (!copy) {
        error_set(error, ENOMEM, "--net: out of memory");
        return NULL;
    }
    const char *name = strsep(&rest, ",");
    error_set(error, EINVAL, "--net %s: unknown kind of network; known is user", name);
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        if (!strcmp(kinds[i].name, name))
            backend = process_open(&kinds[i], rest, host, error);
    free(copy);
    return backend;
}
