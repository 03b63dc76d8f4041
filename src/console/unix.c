/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix:PATH connects to a socket, and again when the other end has gone; unix:PATH,server makes one
 * and serves who comes, one after the other.
 */
#include "base/bits.h"
#include "base/clock.h"
#include "console/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RECONNECT_NS NANOSECONDS_PER_SECOND

struct unix_console {
    struct console console;
    int listener, peer, output;      /* 0: not open; output is the peer, watched for writing */
    struct loop_watch *accept_watch; /* server */
    struct loop_timer *reconnect;    /* client */
    struct sockaddr_un address;
    bool serving; /* the socket's file is ours to remove */
};

static int fail(const struct unix_console *socket_console, int code, const char *what,
                struct error *error)
{
    const struct console_config *config = &socket_console->console.config;
    return error_set(error, code, "--%s unix:%s: %s%s%s", config->option, config->path, what,
                     code == EINVAL ? "" : ": ", code == EINVAL ? "" : strerror(code));
}

static void drop_peer(struct unix_console *socket_console)
{
    if (socket_console->peer)
        close(socket_console->peer);
    if (socket_console->output)
        close(socket_console->output);
    socket_console->peer = socket_console->output = 0;
}

/* Takes the connection over. */
static void welcome(struct unix_console *socket_console, int peer)
{
    int output = fcntl(peer, F_DUPFD_CLOEXEC, 0);
    if (output < 0) {
        close(peer);
        return;
    }
    socket_console->peer = peer;
    socket_console->output = output;
    console_attach(&socket_console->console, peer, output);
}

/* --- server --- */

static void accept_ready(void *opaque, uint32_t events)
{
    struct unix_console *socket_console = opaque;
    int peer = accept4(socket_console->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (peer < 0)
        return;
    if (socket_console->peer) { /* it has gone, and the guest never read what it sent */
        console_detach(&socket_console->console);
        drop_peer(socket_console);
    }
    welcome(socket_console, peer);
    if (socket_console->peer) /* whoever comes next waits in the socket's queue */
        loop_watch_change(socket_console->accept_watch, 0);
}

static int open_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int try_connect(const struct unix_console *socket_console)
{
    int fd = open_socket();
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&socket_console->address,
                sizeof(socket_console->address)) == 0)
        return fd;
    int code = errno;
    close(fd);
    return -code;
}

/* A socket that nobody serves any more is in the way: a nacre that was killed has left it. */
static int remove_stale(const struct unix_console *socket_console, struct error *error)
{
    const char *path = socket_console->address.sun_path;
    struct stat status;
    if (lstat(path, &status) < 0)
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return fail(socket_console, EINVAL, "exists and is no socket; choose another path", error);
    int peer = try_connect(socket_console);
    if (peer >= 0)
        close(peer);
    if (peer >= 0 || peer == -EAGAIN)
        return fail(socket_console, EINVAL, "another process serves it; choose another path",
                    error);
    if (peer == -ECONNREFUSED)
        unlink(path);
    return 0;
}

static int serve(struct unix_console *socket_console, struct error *error)
{
    int result = remove_stale(socket_console, error);
    if (result < 0)
        return result;
    int fd = open_socket();
    if (fd < 0)
        return fail(socket_console, errno, "cannot make a socket", error);
    socket_console->listener = fd;
    /* The console is root's shell in many a guest: for our user only. */
    if (fchmod(fd, 0600) < 0 ||
        bind(fd, (const struct sockaddr *)&socket_console->address,
             sizeof(socket_console->address)) < 0 ||
        listen(fd, 1) < 0)
        return fail(socket_console, errno, "cannot listen", error);
    socket_console->serving = true;
    socket_console->accept_watch = loop_watch_add(socket_console->console.loop, fd, EPOLLIN,
                                                  accept_ready, socket_console, error);
    return socket_console->accept_watch ? 0 : -EIO;
}

/* --- client --- */

static void reconnect(void *opaque)
{
    struct unix_console *socket_console = opaque;
    int peer = try_connect(socket_console);
    if (peer >= 0)
        welcome(socket_console, peer);
    if (!socket_console->peer)
        loop_timer_arm(socket_console->reconnect, clock_monotonic_ns() + RECONNECT_NS);
}

static int be_client(struct unix_console *socket_console, struct error *error)
{
    socket_console->reconnect =
        loop_timer_create(socket_console->console.loop, reconnect, socket_console, error);
    if (!socket_console->reconnect)
        return -ENOMEM;
    int peer = try_connect(socket_console);
    if (peer < 0)
        return fail(socket_console, -peer, "cannot connect (unix:PATH,server makes the socket)",
                    error);
    welcome(socket_console, peer);
    return 0;
}

/* --- both --- */

static int unix_connect(struct console *console, struct error *error)
{
    struct unix_console *socket_console = (struct unix_console *)console;
    struct sockaddr_un *address = &socket_console->address;
    address->sun_family = AF_UNIX;
    if (strlen(console->config.path) >= sizeof(address->sun_path))
        return fail(socket_console, EINVAL, "the path of a socket has at most 107 characters",
                    error);
    memcpy(address->sun_path, console->config.path, strlen(console->config.path));
    return console->config.server ? serve(socket_console, error) : be_client(socket_console, error);
}

static void unix_hung_up(struct console *console)
{
    struct unix_console *socket_console = (struct unix_console *)console;
    drop_peer(socket_console);
    if (socket_console->accept_watch)
        loop_watch_change(socket_console->accept_watch, EPOLLIN);
    else
        loop_timer_arm(socket_console->reconnect, clock_monotonic_ns() + RECONNECT_NS);
}

/* Should the guest never read what is left, the next one does not wait for that. */
static void unix_leaving(struct console *console)
{
    struct unix_console *socket_console = (struct unix_console *)console;
    if (socket_console->accept_watch)
        loop_watch_change(socket_console->accept_watch, EPOLLIN);
}

static void unix_close(struct console *console)
{
    struct unix_console *socket_console = (struct unix_console *)console;
    drop_peer(socket_console);
    loop_watch_remove(socket_console->accept_watch);
    loop_timer_destroy(socket_console->reconnect);
    if (!socket_console->listener)
        return;
    close(socket_console->listener);
    if (socket_console->serving)
        unlink(socket_console->address.sun_path);
}

const struct console_ops console_unix = {
    .name = "unix",
    .word = "unix:",
    .takes_path = true,
    .can_serve = true,
    .size = sizeof(struct unix_console),
    .output_max = KIB(64),
    .connect = unix_connect,
    .hung_up = unix_hung_up,
    .leaving = unix_leaving,
    .close = unix_close,
};
