/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP on a listening unix socket, on the loop's thread. The protocol is libmicrohttpd's. */
#ifndef NACRE_API_SERVER_H
#define NACRE_API_SERVER_H

#include "base/loop.h"

#include <stddef.h>

#define HTTP_BODY_MAX ((size_t)1 << 20) /* bytes of a request; a longer one is refused */

struct http_server;

struct http_request {
    const char *method, *path; /* without what follows a '?' */
    char *body;                /* body_size bytes and a zero */
    size_t body_size;
    char peer[64]; /* who asks */
};

/* The socket stays the caller's. answer: calls http_reply() once, now or later. NULL with *error.
 */
struct http_server *http_server_create(int socket, struct loop *loop,
                                       void (*answer)(void *opaque, struct http_request *request),
                                       void *opaque, struct error *error);
/* Every request must have been answered. Streams end here. */
void http_server_destroy(struct http_server *server);

/* Answers with a stream that goes on until the client leaves or the server ends: what
 * http_server_publish() says from now on. */
void http_reply_stream(struct http_request *request, const char *type);
/* To all streams. A client who does not read misses what is too much. */
void http_server_publish(struct http_server *server, const char *text);

/* text: allocated, taken over; NULL: there is none. The request is over. */
void http_reply(struct http_request *request, unsigned status, const char *type, char *text);

#endif
