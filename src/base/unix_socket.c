/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char *path, int code, struct error *error)
{
    return error_set(error, code, "%s: %s", path, strerror(code));
}

/* The address below /proc/self/fd. *folder is to be closed after its use. */
static int make_address(const char *path, struct sockaddr_un *address, int *folder)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char parent[PATH_MAX];
    snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path + 1) : 1,
             slash ? path : ".");
    *folder = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*folder < 0)
        return -errno;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s",
                          *folder, name);
    return length < (int)sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

static int open_at(const char *path, int (*attach)(int fd, const struct sockaddr_un *address),
                   int flags, struct error *error)
{
    struct sockaddr_un address;
    int folder = -1, fd = -1;
    int result = make_address(path, &address, &folder);
    if (result == 0 && (fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0)) < 0)
        result = -errno;
    if (result == 0)
        result = attach(fd, &address);
    if (folder >= 0)
        close(folder);
    if (result == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return fail(path, -result, error);
}

static int attach_client(int fd, const struct sockaddr_un *address)
{
    return connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

static int attach_server(int fd, const struct sockaddr_un *address)
{
    if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
        listen(fd, 16) < 0)
        return -errno;
    return 0;
}

int unix_socket_connect(const char *path, struct error *error)
{
    return open_at(path, attach_client, 0, error);
}

int unix_socket_listen(const char *path, struct error *error)
{
    struct stat status;
    struct error ignored;
    if (lstat(path, &status) == 0) {
        int peer = S_ISSOCK(status.st_mode) ? unix_socket_connect(path, &ignored) : -EEXIST;
        if (peer != -ECONNREFUSED) {
            if (peer >= 0)
                close(peer);
            return error_set(error, EADDRINUSE, "%s: %s; choose another path", path,
                             peer >= 0 ? "another process serves it"
                                       : "exists and is no socket of a dead process");
        }
        unlink(path);
    }
    return open_at(path, attach_server, SOCK_NONBLOCK, error);
}

void process_describe(uid_t user, pid_t process, char *text, size_t size)
{
    const struct passwd *entry = getpwuid(user);
    if (entry)
        snprintf(text, size, "%s (process %d)", entry->pw_name, (int)process);
    else
        snprintf(text, size, "user %u (process %d)", (unsigned)user, (int)process);
}

void unix_socket_peer(int fd, char *text, size_t size)
{
    struct ucred peer = {0};
    socklen_t length = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) {
        snprintf(text, size, "somebody");
        return;
    }
    process_describe(peer.uid, peer.pid, text, size);
}
