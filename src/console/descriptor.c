/* SPDX-License-Identifier: Apache-2.0 */
/* fd:N: a socket or terminal that came open from the parent process. */
#include "base/bits.h"
#include "console/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct descriptor_console {
    struct console console;
    int fd, output; /* the same open file twice: each is watched for one direction; 0: not open */
};

static int descriptor_connect(struct console *console, struct error *error)
{
    struct descriptor_console *descriptor = (struct descriptor_console *)console;
    const struct console_config *config = &console->config;
    char *end;
    unsigned long number = strtoul(config->path, &end, 10);
    if (*end || number <= STDERR_FILENO || number > INT16_MAX ||
        fcntl((int)number, F_SETFL, O_NONBLOCK) < 0 || fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0)
        return error_set(error, EINVAL, "--%s fd:%s: is no descriptor that nacre was given",
                         config->option, config->path);
    descriptor->fd = (int)number;
    descriptor->output = fcntl(descriptor->fd, F_DUPFD_CLOEXEC, 0);
    if (descriptor->output < 0)
        return error_set(error, errno, "--%s fd:%s: %s", config->option, config->path,
                         strerror(errno));
    console_attach(console, descriptor->fd, descriptor->output);
    return 0;
}

static void descriptor_close(struct console *console)
{
    struct descriptor_console *descriptor = (struct descriptor_console *)console;
    if (descriptor->fd)
        close(descriptor->fd);
    if (descriptor->output > 0)
        close(descriptor->output);
}

const struct console_ops console_descriptor = {
    .name = "fd",
    .word = "fd:",
    .takes_path = true,
    .size = sizeof(struct descriptor_console),
    .output_max = KIB(64),
    .connect = descriptor_connect,
    .close = descriptor_close,
};
