/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API: the input is what a client sends over its connection, requests and their JSON. The
 * linker keeps it from starting processes and making sockets.
 */
#include "fuzz/fuzz.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/unix_socket.h"
#include "manage/machine.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_NS UINT64_C(20000000) /* for answers that never end: streams */

struct machine *__wrap_machine_start(char **arguments, int serial, struct loop *loop,
                                     struct log *log, const struct machine_events *events,
                                     struct error *error);
int __wrap_unix_socket_listen(const char *path, struct error *error);
int __real_unix_socket_listen(const char *path, struct error *error);

struct machine *__wrap_machine_start(char **arguments, int serial, struct loop *loop,
                                     struct log *log, const struct machine_events *events,
                                     struct error *error)
{
    error_set(error, EPERM, "no machine in a fuzz target");
    return NULL;
}

int __wrap_unix_socket_listen(const char *path, struct error *error)
{
    return error_set(error, EPERM, "no socket in a fuzz target");
}

struct client {
    struct loop *loop;
    int fd;
};

/* Reads until the server closes. */
static void ready(void *opaque, uint32_t events)
{
    const struct client *client = opaque;
    char bytes[4096];
    if (read(client->fd, bytes, sizeof(bytes)) <= 0)
        loop_stop(client->loop);
}

static void out_of_patience(void *opaque)
{
    loop_stop(opaque);
}

static void talk(struct loop *loop, const char *path, const uint8_t *bytes, size_t length)
{
    struct error error = {0};
    struct client client = {loop, unix_socket_connect(path, &error)};
    fuzz_require(client.fd >= 0, &error);
    struct loop_watch *watch = loop_watch_add(loop, client.fd, EPOLLIN, ready, &client, &error);
    struct loop_timer *patience = loop_timer_create(loop, out_of_patience, loop, &error);
    fuzz_require(watch && patience, &error);
    loop_timer_arm(patience, clock_monotonic_ns() + PATIENCE_NS);
    if (length)
        send(client.fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(client.fd, SHUT_WR);
    loop_run(loop);
    loop_watch_remove(watch);
    loop_timer_destroy(patience);
    close(client.fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct error error = {0};
    char path[64];
    snprintf(path, sizeof(path), "/tmp/nacre-fuzz-%d.sock", (int)getpid());
    struct loop *loop = loop_create(&error);
    fuzz_require(loop != NULL, &error);
    struct supervisor *supervisor = supervisor_create(NULL, loop, NULL, &error);
    int socket = __real_unix_socket_listen(path, &error);
    fuzz_require(supervisor && socket >= 0, &error);
    struct api *api = api_create(socket, supervisor, loop, &error);
    fuzz_require(api != NULL, &error);
    talk(loop, path, bytes, length);
    supervisor_destroy(supervisor);
    api_destroy(api);
    close(socket);
    unlink(path);
    loop_destroy(loop);
    return 0;
}
