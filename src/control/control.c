/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include "vm/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct control {
    int end;
    struct loop *loop;
    struct loop_watch *watch;
    struct vm *vm;
    void (*lost)(void *opaque);
    void *opaque;
};

/* A supervisor that does not read misses something; the guest goes on. */
static void tell(struct control *control, json_t *json)
{
    channel_send(control->end, &(struct channel_message){.json = json});
    json_decref(json);
}

void control_event(struct control *control, const char *event, json_t *properties)
{
    if (control)
        tell(control, json_pack("{s:s, s:o*}", "event", event, "properties", properties));
    else
        json_decref(properties);
}

void control_finish(struct control *control, json_int_t id, json_t *body, const char *why)
{
    tell(control, json_pack("{s:I, s:o*, s:s*}", "id", id, "body", body, "error", why));
}

static const struct control_operation *find(const char *name)
{
    const struct control_operation *operation = control_operations;
    while (operation->name && strcmp(operation->name, name))
        operation++;
    return operation->name ? operation : NULL;
}

static void serve(struct control *control, struct channel_message *message)
{
    const char *name;
    struct error error = {0};
    struct control_call call = {.control = control,
                                .vm = control->vm,
                                .body = json_object_get(message->json, "body"),
                                .fds = message->fds,
                                .fd_count = message->fd_count};
    if (json_unpack(message->json, "{s:I, s:s}", "id", &call.id, "operation", &name) < 0)
        return;
    const struct control_operation *operation = find(name);
    int result = operation
                     ? operation->run(&call, &error)
                     : error_set(&error, ENOSYS, "%s: this machine knows no such operation", name);
    if (result != CONTROL_LATER)
        control_finish(control, call.id, call.reply, result < 0 ? error.message : NULL);
}

static void ready(void *opaque, uint32_t events)
{
    struct control *control = opaque;
    struct channel_message message;
    int result = channel_receive(control->end, &message);
    if (result == 1) {
        serve(control, &message);
        channel_release(&message);
    } else if (result != -EAGAIN && result != -EINTR) {
        loop_watch_remove(control->watch);
        control->watch = NULL;
        control->lost(control->opaque);
    }
}

struct control *control_create(int end, struct loop *loop, void (*lost)(void *opaque), void *opaque,
                               struct error *error)
{
    struct control *control = calloc(1, sizeof(*control));
    if (!control) {
        error_set(error, ENOMEM, "--control: out of memory");
        return NULL;
    }
    json_object_seed(0);
    *control = (struct control){.end = end, .loop = loop, .lost = lost, .opaque = opaque};
    return control;
}

int control_connect(struct control *control, struct vm *vm, struct error *error)
{
    control->vm = vm;
    vm_on_detached(vm, control_detached, control);
    control->watch = loop_watch_add(control->loop, control->end, EPOLLIN, ready, control, error);
    return control->watch ? 0 : -EIO;
}

void control_destroy(struct control *control)
{
    if (!control)
        return;
    loop_watch_remove(control->watch);
    free(control);
}
