/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/threads.h"

#include "cpu/engine.h"

#include <stdio.h>
#include <string.h>

/* Waits for a round that is not `seen` yet. False: the threads shall end. */
static bool next_round(struct vcpu_threads *threads, uint64_t *seen)
{
    pthread_mutex_lock(&threads->lock);
    while (threads->round == *seen && !threads->ending)
        pthread_cond_wait(&threads->changed, &threads->lock);
    bool more = threads->round != *seen;
    *seen = threads->round;
    pthread_mutex_unlock(&threads->lock);
    return more;
}

static void round_done(struct vcpu_threads *threads)
{
    pthread_mutex_lock(&threads->lock);
    threads->running--;
    pthread_cond_broadcast(&threads->changed);
    pthread_mutex_unlock(&threads->lock);
}

static void *vcpu_main(void *opaque)
{
    struct vcpu_thread *thread = opaque;
    struct vcpu_threads *threads = thread->threads;
    char name[16];
    uint64_t seen = 0;
    snprintf(name, sizeof(name), "vcpu%u", thread->vcpu->index);
    pthread_setname_np(pthread_self(), name);
    /* What fails here fails again, with a message, when the engine runs. */
    engine_thread_start(thread->vcpu, &thread->vcpu->error);
    thread_enter(threads->guard, THREAD_VCPU);
    while (next_round(threads, &seen)) {
        while (!atomic_load(&threads->pausing))
            if (!threads->step(threads->opaque, thread->vcpu))
                break;
        round_done(threads);
    }
    return NULL;
}

int vcpu_threads_create(struct vcpu_threads *threads, struct error *error)
{
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->changed, NULL);
    for (unsigned i = 0; i < threads->group->count; i++) {
        struct vcpu_thread *thread = &threads->threads[i];
        *thread = (struct vcpu_thread){.threads = threads, .vcpu = threads->group->vcpus[i]};
        int result = pthread_create(&thread->thread, NULL, vcpu_main, thread);
        if (result)
            return error_set(error, result, "cannot start the thread of vcpu %u: %s", i,
                             strerror(result));
        threads->count++;
    }
    return 0;
}

void vcpu_threads_resume(struct vcpu_threads *threads)
{
    pthread_mutex_lock(&threads->lock);
    threads->running = threads->count;
    threads->round++;
    pthread_cond_broadcast(&threads->changed);
    pthread_mutex_unlock(&threads->lock);
}

void vcpu_threads_pause(struct vcpu_threads *threads)
{
    atomic_store(&threads->pausing, true);
    for (unsigned i = 0; i < threads->count; i++)
        vcpu_request(threads->group->vcpus[i], VCPU_REQUEST_STOP);
    pthread_mutex_lock(&threads->lock);
    while (threads->running)
        pthread_cond_wait(&threads->changed, &threads->lock);
    pthread_mutex_unlock(&threads->lock);
    atomic_store(&threads->pausing, false);
    for (unsigned i = 0; i < threads->count; i++)
        atomic_fetch_and(&threads->group->vcpus[i]->requests, ~(uint32_t)VCPU_REQUEST_STOP);
}

void vcpu_threads_destroy(struct vcpu_threads *threads)
{
    if (!threads->group)
        return; /* never created */
    vcpu_threads_pause(threads);
    pthread_mutex_lock(&threads->lock);
    threads->ending = true;
    pthread_cond_broadcast(&threads->changed);
    pthread_mutex_unlock(&threads->lock);
    for (unsigned i = 0; i < threads->count; i++)
        pthread_join(threads->threads[i].thread, NULL);
    pthread_mutex_destroy(&threads->lock);
    pthread_cond_destroy(&threads->changed);
}
