/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of the API: a request, its answer. HTTP/1.0, so that the answer ends with the
 * connection and comes in one piece. */
#ifndef NACRE_API_CLIENT_H
#define NACRE_API_CLIENT_H

#include "base/error.h"

#include <jansson.h>

/*
 * Asks the API at the socket for an endpoint. body may be NULL, and stays the caller's. *reply:
 * what came, NULL when the answer had no body; json_decref() is due; reply may be NULL itself.
 * -errno with *error: -ENOENT and -ECONNREFUSED when nobody serves the socket, -EREMOTEIO with what
 * the API said when it refused.
 */
int api_ask(const char *socket, const char *method, const char *endpoint, const json_t *body,
            json_t **reply, struct error *error);

#endif
