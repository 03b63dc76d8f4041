/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoint that needs a file: the machine, in its jail, cannot open any. */
#include "api/api.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void api_vm_screenshot(struct api_call *call)
{
    struct error error = {0};
    const char *path;
    if (json_unpack(call->body, "{s:s}", "path", &path) < 0 || path[0] != '/') {
        api_fail(call, 400, "vm.screenshot: \"path\" must be the absolute path of a file");
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        error_set(&error, errno, "vm.screenshot: cannot write %s: %s", path, strerror(errno));
        api_fail(call, 400, error.message);
        return;
    }
    if (supervisor_ask(call->supervisor, call->endpoint->path, NULL, &fd, 1, api_done, call,
                       &error) < 0)
        api_fail(call, 500, error.message);
    close(fd);
}
