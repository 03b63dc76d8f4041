/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API of a VM: HTTP and JSON on a unix socket, with the endpoints, field names and status codes
 * of Cloud Hypervisor's REST API v1 (its vmm/src/api/openapi/cloud-hypervisor.yaml), and some more;
 * docs/openapi.json describes all. An endpoint is a row in endpoints.c.
 */
#ifndef NACRE_API_API_H
#define NACRE_API_API_H

#include "api/server.h"
#include "manage/supervisor.h"

#include <jansson.h>

#define API_PREFIX "/api/v1/"

struct api;

/* A request that is being served. */
struct api_call {
    struct http_request *request;
    struct supervisor *supervisor;
    const struct endpoint *endpoint;
    json_t *body; /* NULL: none came */
};

struct endpoint {
    const char *method;
    const char *path; /* below API_PREFIX; with a slash in front: as it is */
    bool takes_body;  /* an object must come with it */
    unsigned states;  /* 1 << enum vm_state: in which it is allowed */
    /* Answers with api_reply() or api_fail(), now or later. NULL: the machine is asked, for the
     * operation of the same name (control/operations.c). */
    void (*serve)(struct api_call *call);
    /* When the machine was asked, with success: */
    enum vm_state state; /* what it is in; VM_NONE: as before */
    const char *event;   /* what is written down; NULL: nothing */
};

/* Every endpoint, ends with a NULL method. */
extern const struct endpoint api_endpoints[];

/* What the endpoints do; files by what they are about. */
void api_vmm_ping(struct api_call *call);
void api_vmm_shutdown(struct api_call *call);
void api_vm_create(struct api_call *call);
void api_vm_delete(struct api_call *call);
void api_vm_info(struct api_call *call);
void api_vm_boot(struct api_call *call);
void api_vm_shutdown(struct api_call *call);
void api_vm_add_disk(struct api_call *call);
void api_events(struct api_call *call);
void api_metrics(struct api_call *call);
void api_vm_screenshot(struct api_call *call);
void api_vm_snapshot(struct api_call *call);
void api_vm_restore(struct api_call *call);

/* The call is over. body: taken over; NULL: there is none, and the status is 204 in place of 200.
 */
void api_reply(struct api_call *call, json_t *body);
/* The same with another type than JSON. text: allocated, taken over. */
void api_reply_text(struct api_call *call, const char *type, char *text);
/* status: of HTTP. */
void api_fail(struct api_call *call, unsigned status, const char *why);
/* A supervisor_done for a call: the machine's answer becomes the call's. */
void api_done(void *call, const json_t *body, const char *why);

/* Serves the socket, which stays the caller's. NULL with *error. */
struct api *api_create(int socket, struct supervisor *supervisor, struct loop *loop,
                       struct error *error);
void api_destroy(struct api *api);

#endif
