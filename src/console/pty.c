/* SPDX-License-Identifier: Apache-2.0 */
/* pty: a pseudo-terminal whose other side anybody may open, as with `screen /dev/pts/N`. */
#include "base/bits.h"
#include "console/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

struct pty_console {
    struct console console;
    int ours, output; /* the same open file twice: each is watched for one direction */
    int theirs;       /* kept open: without it reading would fail until somebody has come */
};

/* Raw: the guest's own terminal driver does the echo, and ours would send its output back. */
static int make_raw(int fd)
{
    struct termios settings;
    if (tcgetattr(fd, &settings) < 0)
        return -1;
    cfmakeraw(&settings);
    return tcsetattr(fd, TCSANOW, &settings);
}

static int open_pair(struct pty_console *pty, char *path, size_t size)
{
    pty->ours = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (pty->ours < 0)
        return -1;
    int result = grantpt(pty->ours) < 0 ? -1 : unlockpt(pty->ours);
    int why = result < 0 ? 0 : ptsname_r(pty->ours, path, size);
    if (result < 0 || why) {
        errno = why ? why : errno;
        return -1;
    }
    pty->theirs = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    pty->output = fcntl(pty->ours, F_DUPFD_CLOEXEC, 0);
    return pty->theirs < 0 || pty->output < 0 ? -1 : make_raw(pty->theirs);
}

static int pty_connect(struct console *console, struct error *error)
{
    struct pty_console *pty = (struct pty_console *)console;
    char path[64];
    pty->ours = pty->output = pty->theirs = -1;
    if (open_pair(pty, path, sizeof(path)) < 0)
        return error_set(error, errno, "--%s pty: cannot make a pseudo-terminal: %s",
                         console->config.option, strerror(errno));
    fprintf(stderr, "nacre: --%s is on %s\r\n", console->config.option, path);
    console_attach(console, pty->ours, pty->output);
    return 0;
}

static void pty_close(struct console *console)
{
    struct pty_console *pty = (struct pty_console *)console;
    const int fds[] = {pty->ours, pty->output, pty->theirs};
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] > 0)
            close(fds[i]);
}

const struct console_ops console_pty = {
    .name = "pty",
    .word = "pty",
    .size = sizeof(struct pty_console),
    .output_max = KIB(64),
    .connect = pty_connect,
    .close = pty_close,
};
