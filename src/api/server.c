/* SPDX-License-Identifier: Apache-2.0 */
#include "api/server.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define CONNECTIONS_MAX    64
#define CONNECTION_SECONDS 30 /* that a client may keep silent */
#define LAST_RUNS          8
#define STREAM_MAX         16384 /* bytes of events that a client has yet to read */

struct http_server {
    struct MHD_Daemon *daemon;
    struct loop *loop;
    struct loop_watch *watch;
    struct loop_timer *timer;
    void (*answer)(void *opaque, struct http_request *request);
    void *opaque;
    struct stream *streams;
};

/* An answer that goes on. */
struct stream {
    struct http_server *server;
    struct MHD_Connection *connection;
    char text[STREAM_MAX]; /* not yet sent */
    size_t size;
    bool suspended, ended;
    struct stream *next;
};

/* A request and what the library knows of it. */
struct exchange {
    struct http_request request; /* first */
    struct http_server *server;
    struct MHD_Connection *connection;
    struct MHD_Response *response;
    unsigned status;
    bool asked, answered, suspended, too_long;
};

static void run(void *opaque)
{
    struct http_server *server = opaque;
    MHD_UNSIGNED_LONG_LONG milliseconds;
    MHD_run(server->daemon);
    if (MHD_get_timeout(server->daemon, &milliseconds) == MHD_YES)
        loop_timer_arm(server->timer, clock_monotonic_ns() + milliseconds * UINT64_C(1000000));
    else
        loop_timer_disarm(server->timer);
}

static void ready(void *opaque, uint32_t events)
{
    run(opaque);
}

void http_reply(struct http_request *request, unsigned status, const char *type, char *text)
{
    struct exchange *exchange = (struct exchange *)request;
    exchange->answered = true;
    exchange->status = status;
    exchange->response = MHD_create_response_from_buffer(
        text ? strlen(text) : 0, text, text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (exchange->response && text)
        MHD_add_response_header(exchange->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (!exchange->suspended)
        return;
    exchange->suspended = false;
    MHD_resume_connection(exchange->connection);
    loop_timer_arm(exchange->server->timer, clock_monotonic_ns());
}

/* --- streams --- */

static ssize_t stream_read(void *opaque, uint64_t position, char *buffer, size_t most)
{
    struct stream *stream = opaque;
    size_t count = stream->size < most ? stream->size : most;
    if (!count && stream->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (!count) {
        stream->suspended = true;
        MHD_suspend_connection(stream->connection);
        return 0;
    }
    memcpy(buffer, stream->text, count);
    memmove(stream->text, stream->text + count, stream->size - count);
    stream->size -= count;
    return (ssize_t)count;
}

static void stream_free(void *opaque)
{
    struct stream *stream = opaque, **link = &stream->server->streams;
    while (*link != stream)
        link = &(*link)->next;
    *link = stream->next;
    free(stream);
}

static void stream_wake(struct stream *stream)
{
    if (!stream->suspended)
        return;
    stream->suspended = false;
    MHD_resume_connection(stream->connection);
    loop_timer_arm(stream->server->timer, clock_monotonic_ns());
}

void http_reply_stream(struct http_request *request, const char *type)
{
    struct exchange *exchange = (struct exchange *)request;
    struct http_server *server = exchange->server;
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream) {
        http_reply(request, MHD_HTTP_INTERNAL_SERVER_ERROR, "", NULL);
        return;
    }
    *stream = (struct stream){
        .server = server, .connection = exchange->connection, .next = server->streams};
    exchange->answered = true;
    exchange->status = MHD_HTTP_OK;
    exchange->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_MAX,
                                                           stream_read, stream, stream_free);
    if (!exchange->response) {
        free(stream);
        return;
    }
    server->streams = stream;
    MHD_add_response_header(exchange->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
}

void http_server_publish(struct http_server *server, const char *text)
{
    size_t size = strlen(text);
    for (struct stream *stream = server->streams; stream; stream = stream->next) {
        if (size > STREAM_MAX - stream->size)
            continue;
        memcpy(stream->text + stream->size, text, size);
        stream->size += size;
        stream_wake(stream);
    }
}

/* --- requests --- */

static void append(struct exchange *exchange, const char *bytes, size_t count)
{
    struct http_request *request = &exchange->request;
    char *body = NULL;
    if (request->body_size + count <= HTTP_BODY_MAX)
        body = realloc(request->body, request->body_size + count + 1);
    if (!body) {
        exchange->too_long = true;
        return;
    }
    memcpy(body + request->body_size, bytes, count);
    request->body = body;
    request->body_size += count;
    body[request->body_size] = '\0';
}

static struct exchange *begin(struct http_server *server, struct MHD_Connection *connection)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (!exchange)
        return NULL;
    exchange->server = server;
    exchange->connection = connection;
    const union MHD_ConnectionInfo *information =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    unix_socket_peer(information ? information->connect_fd : -1, exchange->request.peer,
                     sizeof(exchange->request.peer));
    return exchange;
}

static enum MHD_Result finish(struct exchange *exchange)
{
    if (!exchange->response)
        return MHD_NO;
    return MHD_queue_response(exchange->connection, exchange->status, exchange->response);
}

/* The library calls this when the headers have come, with each piece of the body, at its end, and
 * when a suspended request goes on. */
static enum MHD_Result received(void *opaque, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *size, void **state)
{
    struct http_server *server = opaque;
    struct exchange *exchange = *state;
    if (!exchange) {
        *state = exchange = begin(server, connection);
        return exchange ? MHD_YES : MHD_NO;
    }
    if (*size) {
        append(exchange, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (exchange->asked)
        return finish(exchange);
    exchange->asked = true;
    exchange->request.method = method;
    exchange->request.path = url;
    if (exchange->too_long)
        http_reply(&exchange->request, MHD_HTTP_CONTENT_TOO_LARGE, "", NULL);
    else
        server->answer(server->opaque, &exchange->request);
    if (exchange->answered)
        return finish(exchange);
    exchange->suspended = true;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

static void completed(void *opaque, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *state;
    if (!exchange)
        return;
    if (exchange->response)
        MHD_destroy_response(exchange->response);
    free(exchange->request.body);
    free(exchange);
    *state = NULL;
}

struct http_server *http_server_create(int socket, struct loop *loop,
                                       void (*answer)(void *opaque, struct http_request *request),
                                       void *opaque, struct error *error)
{
    struct http_server *server = calloc(1, sizeof(*server));
    if (!server) {
        error_set(error, ENOMEM, "API: out of memory");
        return NULL;
    }
    *server = (struct http_server){.loop = loop, .answer = answer, .opaque = opaque};
    server->timer = loop_timer_create(loop, run, server, error);
    if (server->timer)
        server->daemon = MHD_start_daemon(
            MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, received, server,
            MHD_OPTION_LISTEN_SOCKET, socket, MHD_OPTION_NOTIFY_COMPLETED, completed, server,
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
            (unsigned)CONNECTION_SECONDS, MHD_OPTION_END);
    const union MHD_DaemonInfo *information =
        server->daemon ? MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (information)
        server->watch = loop_watch_add(loop, information->epoll_fd, EPOLLIN, ready, server, error);
    else if (server->timer)
        error_set(error, EIO, "API: libmicrohttpd cannot serve the socket");
    if (server->watch)
        return server;
    http_server_destroy(server);
    return NULL;
}

void http_server_destroy(struct http_server *server)
{
    if (!server)
        return;
    loop_watch_remove(server->watch);
    for (struct stream *stream = server->streams; stream; stream = stream->next) {
        stream->ended = true;
        stream_wake(stream);
    }
    if (server->daemon) {
        for (unsigned i = 0; i < LAST_RUNS; i++) /* answers on their way */
            MHD_run(server->daemon);
        MHD_stop_daemon(server->daemon);
    }
    loop_timer_destroy(server->timer);
    free(server);
}
