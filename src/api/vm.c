/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints about the VM as a whole, and about its VMM. */
#include "api/api.h"

#include "manage/process_usage.h"

#include <errno.h>
#include <unistd.h>

void api_vmm_ping(struct api_call *call)
{
    api_reply(call, json_pack("{s:s, s:s, s:i, s:[]}", "build_version", "nacre " NACRE_VERSION,
                              "version", NACRE_VERSION, "pid", (int)getpid(), "features"));
}

void api_vmm_shutdown(struct api_call *call)
{
    supervisor_end(call->supervisor, call->request->peer);
    api_reply(call, NULL);
}

void api_vm_create(struct api_call *call)
{
    struct error error = {0};
    if (supervisor_define(call->supervisor, call->body, &error) < 0) {
        api_fail(call, 400, error.message);
        return;
    }
    json_incref(call->body); /* the supervisor's */
    supervisor_event(call->supervisor, "created", NULL, call->request->peer);
    api_reply(call, NULL);
}

static void undefine(void *opaque, const json_t *body, const char *why)
{
    struct api_call *call = opaque;
    supervisor_undefine(call->supervisor);
    supervisor_event(call->supervisor, "deleted", NULL, call->request->peer);
    api_done(call, body, why);
}

void api_vm_delete(struct api_call *call)
{
    struct error error = {0};
    if (!supervisor_machine_pid(call->supervisor))
        undefine(call, NULL, NULL);
    else if (supervisor_shut_down(call->supervisor, call->request->peer, undefine, call, &error) <
             0)
        api_fail(call, 500, error.message);
}

void api_vm_info(struct api_call *call)
{
    const struct supervisor *supervisor = call->supervisor;
    const json_t *config = supervisor_config(supervisor);
    const json_t *memory = json_object_get(json_object_get(config, "memory"), "size");
    struct process_usage usage;
    process_usage_read(supervisor_machine_pid(supervisor), &usage);
    api_reply(call, json_pack("{s:O, s:s, s:I, s:I, s:i, s:f, s:I}", "config", config, "state",
                              vm_state_name(supervisor_state(supervisor)), "memory_actual_size",
                              json_integer_value(memory), "uptime",
                              (json_int_t)supervisor_uptime(supervisor), "machine_pid",
                              (int)supervisor_machine_pid(supervisor), "cpu_seconds",
                              usage.cpu_seconds, "memory_used", (json_int_t)usage.memory_bytes));
}

void api_vm_boot(struct api_call *call)
{
    struct error error = {0};
    if (supervisor_boot(call->supervisor, call->request->peer, api_done, call, &error) < 0)
        api_fail(call, 500, error.message);
}

void api_vm_shutdown(struct api_call *call)
{
    struct error error = {0};
    if (supervisor_shut_down(call->supervisor, call->request->peer, api_done, call, &error) < 0)
        api_fail(call, 500, error.message);
}
