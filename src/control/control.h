/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's end of its supervisor's channel: operations that are asked for, carried out on the
 * loop's thread; events that are told. */
#ifndef NACRE_CONTROL_CONTROL_H
#define NACRE_CONTROL_CONTROL_H

#include "control/channel.h"
#include "vm/vm.h"

struct control;

/* An operation that was asked for. */
struct control_call {
    struct control *control;
    struct vm *vm;
    json_int_t id;
    const json_t *body; /* NULL: none came */
    int *fds;           /* who takes one over puts -1 in its place */
    unsigned fd_count;
    json_t *reply; /* what the operation has to say; may stay NULL */
};

#define CONTROL_LATER 1 /* control_finish() will answer */

struct control_operation {
    const char *name; /* as of the API's endpoint */
    /* 0, CONTROL_LATER, or -errno with *error. */
    int (*run)(struct control_call *call, struct error *error);
};

/* snapshot.c */
int control_snapshot(struct control_call *call, struct error *error);
/* Size, format and "readonly" of each disk. */
int control_disks(struct control_call *call, struct error *error);

/* Every operation, NULL-terminated. */
extern const struct control_operation control_operations[];

/* Operations with a file of their own. */
int control_counters(struct control_call *call, struct error *error);
int control_add_disk(struct control_call *call, struct error *error);
int control_remove_device(struct control_call *call, struct error *error);
/* For vm_on_detached(). */
void control_detached(void *control, const char *id);

/* Before any thread is made: libjansson opens /dev/urandom at its first use. lost: the supervisor
 * has gone. NULL with *error. */
struct control *control_create(int end, struct loop *loop, void (*lost)(void *opaque), void *opaque,
                               struct error *error);
/* Operations come from now on. */
int control_connect(struct control *control, struct vm *vm, struct error *error);
/* NULL is allowed here and in control_destroy(). Takes properties over, which may be NULL. */
void control_event(struct control *control, const char *event, json_t *properties);
/* Answers a call that returned CONTROL_LATER. Takes body over, which may be NULL; why: NULL when
 * all went well. Loop's thread. */
void control_finish(struct control *control, json_int_t id, json_t *body, const char *why);
void control_destroy(struct control *control);

#endif
