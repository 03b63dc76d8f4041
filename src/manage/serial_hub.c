/* SPDX-License-Identifier: Apache-2.0 */
#include "manage/serial_hub.h"

#include "base/bits.h"
#include "base/unix_socket.h"
#include "console/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCROLL_BACK KIB(64)  /* what a new client sees */
#define UNREAD_MAX  KIB(256) /* of a client who does not read; a power of two above SCROLL_BACK */
#define FILE_MAX    MIB(1)   /* then it becomes FILE.old and a new one begins */
#define CLIENTS_MAX 16

struct client {
    struct serial_hub *hub;
    int fd, output_fd; /* the same socket twice: each is watched for one direction; -1: free */
    struct loop_watch *watch;
    struct output *output;
};

struct serial_hub {
    struct loop *loop;
    int socket, machine, file;     /* -1: none */
    char *socket_path, *file_path; /* NULL: none */
    uint64_t file_size;
    struct loop_watch *accept_watch, *machine_watch;
    struct client clients[CLIENTS_MAX];
    uint8_t recent[SCROLL_BACK]; /* a ring */
    uint64_t said;               /* bytes since the start */
    uint8_t typed[256];          /* not yet taken by the machine */
    unsigned typed_start, typed_end;
};

/* --- what the guest says --- */

static void open_file(struct serial_hub *hub)
{
    struct stat status = {0};
    if (!hub->file_path)
        return;
    hub->file = open(hub->file_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (hub->file >= 0 && fstat(hub->file, &status) == 0)
        hub->file_size = (uint64_t)status.st_size;
}

/* A disk that is full loses the log, not the guest. */
static void write_file(struct serial_hub *hub, const uint8_t *bytes, size_t count)
{
    char *old;
    if (hub->file >= 0 && hub->file_size + count > FILE_MAX) {
        close(hub->file);
        if (asprintf(&old, "%s.old", hub->file_path) >= 0) {
            rename(hub->file_path, old);
            free(old);
        }
        hub->file_size = 0;
        open_file(hub);
    }
    if (hub->file >= 0 && write(hub->file, bytes, count) > 0)
        hub->file_size += count;
}

static void remember(struct serial_hub *hub, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hub->recent[hub->said++ % SCROLL_BACK] = bytes[i];
}

static void drop_client(struct client *client)
{
    output_destroy(client->output);
    loop_watch_remove(client->watch);
    if (client->fd >= 0)
        close(client->fd);
    if (client->output_fd >= 0)
        close(client->output_fd);
    *client = (struct client){.hub = client->hub, .fd = -1, .output_fd = -1};
}

static void disconnect_machine(struct serial_hub *hub)
{
    loop_watch_remove(hub->machine_watch);
    hub->machine_watch = NULL;
    if (hub->machine >= 0)
        close(hub->machine);
    hub->machine = -1;
    hub->typed_start = hub->typed_end = 0;
}

static void listen_to_clients(struct serial_hub *hub)
{
    bool room = hub->typed_start == hub->typed_end;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (hub->clients[i].watch)
            loop_watch_change(hub->clients[i].watch, room ? EPOLLIN : 0);
}

/* --- what is typed --- */

static void pass_on_typed(struct serial_hub *hub)
{
    size_t count = hub->typed_end - hub->typed_start;
    ssize_t written = count ? write(hub->machine, hub->typed + hub->typed_start, count) : 0;
    if (hub->machine < 0 || (written < 0 && errno != EAGAIN))
        written = (ssize_t)count; /* nobody there */
    if (written > 0)
        hub->typed_start += (unsigned)written;
    if (hub->typed_start == hub->typed_end)
        hub->typed_start = hub->typed_end = 0;
    if (hub->machine_watch)
        loop_watch_change(hub->machine_watch, EPOLLIN | (hub->typed_end ? EPOLLOUT : 0));
    listen_to_clients(hub);
}

static void client_ready(void *opaque, uint32_t events)
{
    struct client *client = opaque;
    struct serial_hub *hub = client->hub;
    if (hub->typed_end)
        return; /* another client was quicker */
    ssize_t count = read(client->fd, hub->typed, sizeof(hub->typed));
    if (count > 0) {
        hub->typed_end = (unsigned)count;
        pass_on_typed(hub);
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        drop_client(client);
    }
}

/* Bytes that came; 0: none will any more; -errno. */
static ssize_t hear(struct serial_hub *hub)
{
    uint8_t bytes[4096];
    ssize_t count = read(hub->machine, bytes, sizeof(bytes));
    if (count <= 0)
        return count < 0 ? -errno : 0;
    remember(hub, bytes, (size_t)count);
    write_file(hub, bytes, (size_t)count);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (hub->clients[i].output)
            output_write(hub->clients[i].output, bytes, (size_t)count);
    return count;
}

static void machine_ready(void *opaque, uint32_t events)
{
    struct serial_hub *hub = opaque;
    if (events & EPOLLOUT)
        pass_on_typed(hub);
    ssize_t count = events & (EPOLLIN | EPOLLHUP) ? hear(hub) : -EAGAIN;
    if (count > 0 || count == -EAGAIN || count == -EINTR)
        return;
    disconnect_machine(hub);
    listen_to_clients(hub);
}

/* --- who comes --- */

static void welcome(struct serial_hub *hub, struct client *client, int fd)
{
    client->fd = fd;
    client->output_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    client->output = output_create(hub->loop, UNREAD_MAX, NULL);
    client->watch = loop_watch_add(hub->loop, fd, EPOLLIN, client_ready, client, NULL);
    if (client->output_fd < 0 || !client->output || !client->watch) {
        drop_client(client);
        return;
    }
    output_connect(client->output, client->output_fd);
    uint64_t start = hub->said > SCROLL_BACK ? hub->said - SCROLL_BACK : 0;
    uint64_t wrap = align_down(hub->said, SCROLL_BACK);
    if (start < wrap)
        output_write(client->output, hub->recent + start % SCROLL_BACK, wrap - start);
    output_write(client->output, hub->recent, hub->said - wrap);
    listen_to_clients(hub);
}

static void accept_ready(void *opaque, uint32_t events)
{
    struct serial_hub *hub = opaque;
    int fd = accept4(hub->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (hub->clients[i].fd < 0) {
            welcome(hub, &hub->clients[i], fd);
            return;
        }
    }
    close(fd);
}

void serial_hub_disconnect(struct serial_hub *hub)
{
    while (hub->machine >= 0 && hear(hub) > 0)
        ;
    disconnect_machine(hub);
    listen_to_clients(hub);
}

void serial_hub_connect(struct serial_hub *hub, int machine)
{
    serial_hub_disconnect(hub);
    hub->machine = machine;
    fcntl(machine, F_SETFL, O_NONBLOCK);
    hub->machine_watch = loop_watch_add(hub->loop, machine, EPOLLIN, machine_ready, hub, NULL);
}

static int open_hub(struct serial_hub *hub, const char *socket_path, const char *file_path,
                    struct error *error)
{
    hub->socket_path = socket_path ? strdup(socket_path) : NULL;
    hub->file_path = file_path ? strdup(file_path) : NULL;
    if ((socket_path && !hub->socket_path) || (file_path && !hub->file_path))
        return error_set(error, ENOMEM, "console: out of memory");
    open_file(hub);
    if (!socket_path)
        return 0;
    hub->socket = unix_socket_listen(socket_path, error);
    if (hub->socket < 0)
        return hub->socket;
    hub->accept_watch = loop_watch_add(hub->loop, hub->socket, EPOLLIN, accept_ready, hub, error);
    return hub->accept_watch ? 0 : -EIO;
}

struct serial_hub *serial_hub_create(const char *socket_path, const char *file_path,
                                     struct loop *loop, struct error *error)
{
    struct serial_hub *hub = calloc(1, sizeof(*hub));
    if (!hub) {
        error_set(error, ENOMEM, "console: out of memory");
        return NULL;
    }
    hub->loop = loop;
    hub->socket = hub->machine = hub->file = -1;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        hub->clients[i] = (struct client){.hub = hub, .fd = -1, .output_fd = -1};
    if (open_hub(hub, socket_path, file_path, error) == 0)
        return hub;
    serial_hub_destroy(hub);
    return NULL;
}

void serial_hub_destroy(struct serial_hub *hub)
{
    if (!hub)
        return;
    serial_hub_disconnect(hub);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (hub->clients[i].output)
            output_flush(hub->clients[i].output); /* the guest's last words */
        drop_client(&hub->clients[i]);
    }
    loop_watch_remove(hub->accept_watch);
    if (hub->socket >= 0) {
        unlink(hub->socket_path);
        close(hub->socket);
    }
    if (hub->file >= 0)
        close(hub->file);
    free(hub->socket_path);
    free(hub->file_path);
    free(hub);
}
