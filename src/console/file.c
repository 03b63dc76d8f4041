/* SPDX-License-Identifier: Apache-2.0 */
/* file:PATH: output into a file that is emptied first; there is no input. */
#include "base/bits.h"
#include "console/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct file_console {
    struct console console;
    int fd; /* 0: not open */
};

static int file_connect(struct console *console, struct error *error)
{
    struct file_console *file = (struct file_console *)console;
    int fd =
        open(console->config.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd < 0)
        return error_set(error, errno, "--%s file:%s: %s", console->config.option,
                         console->config.path, strerror(errno));
    file->fd = fd;
    console_attach(console, -1, fd);
    return 0;
}

static void file_close(struct console *console)
{
    struct file_console *file = (struct file_console *)console;
    if (file->fd)
        close(file->fd);
}

const struct console_ops console_file = {
    .name = "file",
    .word = "file:",
    .takes_path = true,
    .size = sizeof(struct file_console),
    .output_max = MIB(16),
    .connect = file_connect,
    .close = file_close,
};
