/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining a switch: a socket in a folder that only its user may enter (unix(7)). A lock beside it
 * keeps two machines from starting the switch at once. One that is about to end may still take a
 * connection that it will never serve: only its hello counts.
 */
#include "net/switch.h"

#include "base/helper.h"
#include "base/runtime_folder.h"
#include "base/settings.h"
#include "net/link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES_MAX       20
#define HELLO_WAIT_S    5
#define NAME_MAX_LENGTH 32

struct switch_settings {
    const char *name;
};

static int set_name(void *target, char *value, struct error *error)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t length = strlen(value);
    ((struct switch_settings *)target)->name = value;
    if (length && length <= NAME_MAX_LENGTH && strspn(value, allowed) == length)
        return 0;
    return error_set(error, EINVAL,
                     "--net switch=%s: must be 1 to %d letters, digits, dashes and underscores",
                     value, NAME_MAX_LENGTH);
}

static const struct setting table[] = {{"name", set_name}, {0}};

/* --- starting one --- */

/* Nobody's child: it outlives the machine that needed it first, and its terminal. */
static void switch_process(int listener, const struct thread_guard *guard)
{
    sigset_t none;
    sigemptyset(&none);
    setsid();
    sigprocmask(SIG_SETMASK, &none, NULL); /* the machine hears of them in its event loop */
    if (fork() != 0)
        _exit(EXIT_SUCCESS);
    prctl(PR_SET_NAME, "nacre-switch");
    int fd = helper_keep_only(listener, -1, false);
    _exit(switch_run(fd, guard) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* The lock is held, and nobody serves the socket that may be there. */
static int switch_start(const struct sockaddr_un *address, const struct thread_guard *guard,
                        struct error *error)
{
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    unlink(address->sun_path);
    int result = 0;
    if (listener < 0 || bind(listener, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
        listen(listener, SWITCH_PORTS_MAX) < 0)
        result =
            error_set(error, errno, "--net switch: %s: %s", address->sun_path, strerror(errno));
    pid_t pid = result == 0 ? fork() : -1;
    if (pid == 0)
        switch_process(listener, guard);
    if (result == 0 && pid < 0)
        result =
            error_set(error, errno, "--net switch: cannot make a process: %s", strerror(errno));
    if (pid > 0)
        waitpid(pid, NULL, 0);
    if (listener >= 0)
        close(listener);
    return result;
}

/* --- joining it --- */

/* A descriptor, or -1: nobody serves that socket. */
static int try_to_join(const struct sockaddr_un *address)
{
    const struct timeval patience = {.tv_sec = HELLO_WAIT_S};
    char hello = 0;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
        recv(fd, &hello, sizeof(hello), 0) == sizeof(hello) && hello == SWITCH_HELLO)
        return fd;
    close(fd);
    return -1;
}

static int join(const char *folder, const char *name, const struct frame_host *host,
                struct error *error)
{
    char lock_path[RUNTIME_FOLDER_MAX + NAME_MAX_LENGTH + 8];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(lock_path, sizeof(lock_path), "%s/%s.lock", folder, name);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder, name);
    int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0) {
        error_set(error, errno, "--net switch: %s: %s", lock_path, strerror(errno));
        if (lock >= 0)
            close(lock);
        return -1;
    }
    int fd = try_to_join(&address);
    for (unsigned i = 0; fd < 0 && i < TRIES_MAX; i++) {
        if (switch_start(&address, host->guard, error) < 0)
            break;
        fd = try_to_join(&address);
        error_set(error, EAGAIN, "--net switch=%s: it does not take this machine", name);
    }
    close(lock);
    return fd;
}

struct frame_backend *switch_open(char *text, const struct frame_host *host, struct error *error)
{
    struct switch_settings settings = {0};
    char folder[RUNTIME_FOLDER_MAX];
    if (settings_apply(table, &settings, "--net switch", text, error) < 0)
        return NULL;
    if (!settings.name) {
        error_set(error, EINVAL, "--net switch: needs a name, as switch=lan");
        return NULL;
    }
    if (runtime_folder(folder, "switch", error) < 0)
        return NULL;
    int fd = join(folder, settings.name, host, error);
    return fd < 0 ? NULL : link_open(fd, "the switch", host, error);
}
