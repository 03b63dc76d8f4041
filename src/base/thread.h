/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kinds of threads there are, and the guard that each passes before it touches anything of a
 * guest's. Whoever makes a thread names its kind; what the kind may do is the guard's matter
 * (jail/).
 */
#ifndef NACRE_BASE_THREAD_H
#define NACRE_BASE_THREAD_H

#include <stddef.h>

enum thread_kind {
    THREAD_LOOP, /* the event loop: devices' timers, back ends, the terminal */
    THREAD_VCPU, /* runs guest code and the devices it touches */
    THREAD_DISK, /* waits for the host's disks */
    THREAD_NET,  /* all of a network's process: a NAT between the guest and the host's sockets */
    THREAD_VIEW, /* all of a VNC server's process: between the screen and the host's sockets */
    THREAD_KIND_COUNT
};

struct thread_guard {
    /* On the thread itself, for the rest of its life. When it fails it does not return. */
    void (*enter)(const struct thread_guard *guard, enum thread_kind kind);
};

/* guard NULL: nothing is guarded, as in most tests. */
static inline void thread_enter(const struct thread_guard *guard, enum thread_kind kind)
{
    if (guard)
        guard->enter(guard, kind);
}

#endif
