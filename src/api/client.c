/* SPDX-License-Identifier: Apache-2.0 */
#include "api/client.h"

#include "base/unix_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)4 << 20)

static int send_request(int fd, const char *method, const char *endpoint, const char *body)
{
    char *text;
    int length = asprintf(&text,
                          "%s /api/v1/%s HTTP/1.0\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\n\r\n%s",
                          method, endpoint, strlen(body), body);
    if (length < 0)
        return -ENOMEM;
    int result = 0;
    for (int sent = 0; sent < length && result == 0;) {
        ssize_t count = write(fd, text + sent, (size_t)(length - sent));
        if (count < 0)
            result = -errno;
        else
            sent += (int)count;
    }
    free(text);
    return result;
}

/* All there is up to the end of the connection. */
static int read_answer(int fd, char **answer)
{
    size_t size = 0, capacity = 0;
    ssize_t count;
    do {
        if (size + 1 >= capacity) {
            capacity = capacity ? capacity * 2 : 4096;
            char *larger = capacity <= ANSWER_MAX ? realloc(*answer, capacity) : NULL;
            if (!larger)
                return -EMSGSIZE;
            *answer = larger;
        }
        count = read(fd, *answer + size, capacity - size - 1);
        if (count < 0)
            return -errno;
        size += (size_t)count;
    } while (count);
    (*answer)[size] = '\0';
    return 0;
}

static int understand(const char *endpoint, const char *answer, json_t **reply, struct error *error)
{
    unsigned status;
    const char *body = strstr(answer, "\r\n\r\n");
    if (!body || sscanf(answer, "HTTP/1.%*1u %3u", &status) != 1)
        return error_set(error, EPROTO, "%s: the answer is not HTTP", endpoint);
    json_t *json = json_loads(body + 4, JSON_DECODE_ANY, NULL);
    const char *why = json_string_value(json_array_get(json, json_array_size(json) - 1));
    int result = status / 100 == 2 ? 0
                                   : error_set(error, EREMOTEIO, "%s",
                                               why ? why : "refused, and no reason was given");
    if (result == 0 && body[4] && !json)
        result = error_set(error, EPROTO, "%s: the answer is not JSON", endpoint);
    if (result == 0 && reply)
        *reply = json_incref(json);
    json_decref(json);
    return result;
}

int api_ask(const char *socket, const char *method, const char *endpoint, const json_t *body,
            json_t **reply, struct error *error)
{
    int fd = unix_socket_connect(socket, error);
    if (reply)
        *reply = NULL;
    if (fd < 0)
        return fd;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL, *answer = NULL;
    int result = body && !text ? -ENOMEM : send_request(fd, method, endpoint, text ? text : "");
    if (result == 0)
        result = read_answer(fd, &answer);
    close(fd);
    if (result == 0 && answer)
        result = understand(endpoint, answer, reply, error);
    else
        error_set(error, -result, "%s: %s", endpoint, strerror(-result));
    free(text);
    free(answer);
    return result;
}
