/* SPDX-License-Identifier: Apache-2.0 */
#include "net/frame.h"

#include "net/user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    struct frame_backend *(*open)(char *settings, struct loop *loop, struct error *error);
} backends[] = {
    {"user", user_open},
};

struct frame_backend *frame_open(const char *text, struct loop *loop, struct error *error)
{
    char *copy = strdup(text), *rest = copy;
    struct frame_backend *backend = NULL;
    if (!copy) {
        error_set(error, ENOMEM, "--net: out of memory");
        return NULL;
    }
    const char *name = strsep(&rest, ",");
    error_set(error, EINVAL, "--net %s: unknown kind of network; known is user", name);
    for (unsigned i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        if (!strcmp(backends[i].name, name))
            backend = backends[i].open(rest, loop, error);
    free(copy);
    return backend;
}
