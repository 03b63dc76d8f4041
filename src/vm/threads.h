/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host thread per vcpu. All are made once and wait; resume lets them run, pause gathers them
 * again. So a reboot makes no thread, and a jailed process need not be able to.
 */
#ifndef NACRE_VM_THREADS_H
#define NACRE_VM_THREADS_H

#include "base/thread.h"
#include "cpu/control.h"

#include <pthread.h>

struct vcpu_thread {
    struct vcpu_threads *threads;
    struct vcpu *vcpu;
    pthread_t thread;
};

struct vcpu_threads {
    struct vcpu_group *group;
    const struct thread_guard *guard;
    /* Runs the vcpu for a while; false: it is done until the next resume. */
    bool (*step)(void *opaque, struct vcpu *vcpu);
    void *opaque;
    atomic_bool pausing;  /* threads leave their loops */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    unsigned running;
    uint64_t round; /* counts resumes */
    bool ending;
    unsigned count; /* made */
    struct vcpu_thread threads[VCPU_COUNT_MAX];
};

/* Makes the group's threads, all waiting. -errno with *error; destroy is due in either case. */
int vcpu_threads_create(struct vcpu_threads *threads, struct error *error);
/* All threads run; none may be running. */
void vcpu_threads_resume(struct vcpu_threads *threads);
/* Returns when none runs. Not on a vcpu's thread. */
void vcpu_threads_pause(struct vcpu_threads *threads);
void vcpu_threads_destroy(struct vcpu_threads *threads);

#endif
