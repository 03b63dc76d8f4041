/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its endpoint, and back. */
#include "api/api.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct api {
    struct http_server *server;
    struct supervisor *supervisor;
};

static void end_call(struct api_call *call)
{
    json_decref(call->body);
    free(call);
}

static void send_json(struct http_request *request, unsigned status, json_t *json)
{
    http_reply(request, status, "application/json",
               json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL);
    json_decref(json);
}

/* Errors are a list of lines, the most general first: as of Cloud Hypervisor 36. */
static void send_failure(struct http_request *request, unsigned status, const char *why)
{
    send_json(request, status, json_pack("[s, s]", "Error from API", why));
}

void api_reply(struct api_call *call, json_t *body)
{
    send_json(call->request, body ? 200 : 204, body);
    end_call(call);
}

void api_reply_text(struct api_call *call, const char *type, char *text)
{
    http_reply(call->request, text ? 200 : 500, type, text);
    end_call(call);
}

void api_events(struct api_call *call)
{
    http_reply_stream(call->request, "application/x-ndjson");
    end_call(call);
}

static void publish(void *opaque, const char *line)
{
    http_server_publish(((struct api *)opaque)->server, line);
}

void api_fail(struct api_call *call, unsigned status, const char *why)
{
    send_failure(call->request, status, why);
    end_call(call);
}

void api_done(void *opaque, const json_t *body, const char *why)
{
    struct api_call *call = opaque;
    if (why)
        api_fail(call, 500, why);
    else
        api_reply(call, json_incref((json_t *)body));
}

static void machine_answered(void *opaque, const json_t *body, const char *why)
{
    struct api_call *call = opaque;
    if (!why && call->endpoint->state != VM_NONE)
        supervisor_set_state(call->supervisor, call->endpoint->state);
    if (!why && call->endpoint->event)
        supervisor_event(call->supervisor, call->endpoint->event, NULL, call->request->peer);
    api_done(call, body, why);
}

static void ask_machine(struct api_call *call)
{
    struct error error = {0};
    if (supervisor_ask(call->supervisor, call->endpoint->path, call->body, NULL, 0,
                       machine_answered, call, &error) < 0)
        api_fail(call, 500, error.message);
}

/* NULL: there is none, and *status says what is wrong. */
static const struct endpoint *find(const struct http_request *request, unsigned *status)
{
    bool below = !strncmp(request->path, API_PREFIX, strlen(API_PREFIX));
    const char *path = request->path + (below ? strlen(API_PREFIX) : 0);
    *status = 404;
    for (const struct endpoint *endpoint = api_endpoints; endpoint->method; endpoint++) {
        if (strcmp(endpoint->path, path) || below == (*endpoint->path == '/'))
            continue;
        if (!strcmp(endpoint->method, request->method))
            return endpoint;
        *status = 405;
    }
    return NULL;
}

/* An operation out of turn: 404 when there is no VM, 405 when it is in the wrong state. */
static void refuse_state(struct api_call *call)
{
    struct error error = {0};
    enum vm_state state = supervisor_state(call->supervisor);
    if (state == VM_NONE)
        error_set(&error, ENOENT, "%s: there is no VM yet: vm.create comes first",
                  call->endpoint->path);
    else
        error_set(&error, EINVAL, "%s: not possible while the VM is in the state %s",
                  call->endpoint->path, vm_state_name(state));
    api_fail(call, state == VM_NONE ? 404 : 405, error.message);
}

static void serve(struct api_call *call)
{
    struct http_request *request = call->request;
    struct error error = {0};
    json_error_t why = {.text = "it needs a body"};
    if (request->body_size)
        call->body = json_loadb(request->body, request->body_size, JSON_REJECT_DUPLICATES, &why);
    if ((request->body_size || call->endpoint->takes_body) && !json_is_object(call->body)) {
        error_set(&error, EINVAL, "%s: the body is no JSON object: %s", call->endpoint->path,
                  call->body ? "it is something else" : why.text);
        api_fail(call, 400, error.message);
    } else if (!(call->endpoint->states & 1u << supervisor_state(call->supervisor))) {
        refuse_state(call);
    } else if (call->endpoint->serve) {
        call->endpoint->serve(call);
    } else {
        ask_machine(call);
    }
}

static void answer(void *opaque, struct http_request *request)
{
    struct api *api = opaque;
    unsigned status;
    const struct endpoint *endpoint = find(request, &status);
    struct api_call *call = endpoint ? calloc(1, sizeof(*call)) : NULL;
    if (!endpoint) {
        send_failure(request, status, status == 404 ? "no such endpoint" : "not with this method");
    } else if (!call) {
        send_failure(request, 500, "out of memory");
    } else {
        *call = (struct api_call){
            .request = request, .supervisor = api->supervisor, .endpoint = endpoint};
        serve(call);
    }
}

struct api *api_create(int socket, struct supervisor *supervisor, struct loop *loop,
                       struct error *error)
{
    struct api *api = calloc(1, sizeof(*api));
    if (!api) {
        error_set(error, ENOMEM, "API: out of memory");
        return NULL;
    }
    api->supervisor = supervisor;
    api->server = http_server_create(socket, loop, answer, api, error);
    if (api->server) {
        supervisor_listen(supervisor, publish, api);
        return api;
    }
    free(api);
    return NULL;
}

void api_destroy(struct api *api)
{
    if (!api)
        return;
    http_server_destroy(api->server);
    free(api);
}
