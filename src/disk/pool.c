/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread pool. All threads are made at the start, before a jail closes around the process.
 * Nothing on a request's way can fail for want of memory: it is linked through itself, and an
 * eventfd tells the loop.
 */
#include "disk/pool.h"

#include "base/bits.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct pool {
    struct image *image;
    const struct thread_guard *guard;
    void (*finished)(void *opaque, struct block_request *request);
    void *opaque;
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct block_queue waiting, done;
    unsigned busy; /* requests waiting or being carried out */
    bool closing;
    unsigned thread_count;
    pthread_t threads[POOL_THREADS];
    int wake_fd;
    struct loop_watch *watch;
};

static void *worker(void *opaque)
{
    struct pool *pool = opaque;
    const uint64_t one = 1;
    thread_enter(pool->guard, THREAD_DISK);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->waiting.first && !pool->closing)
            pthread_cond_wait(&pool->work, &pool->lock);
        struct block_request *request = block_queue_pop(&pool->waiting);
        if (!request)
            break;
        pthread_mutex_unlock(&pool->lock);
        request->result =
            request->call ? request->call(request) : image_execute(pool->image, request);
        pthread_mutex_lock(&pool->lock);
        bool wake = !pool->done.first;
        block_queue_push(&pool->done, request);
        if (--pool->busy == 0)
            pthread_cond_broadcast(&pool->idle);
        if (wake && write(pool->wake_fd, &one, sizeof(one)) < 0)
            continue; /* the counter is full: the loop is awake */
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void deliver(struct pool *pool)
{
    struct block_request *request;
    do {
        pthread_mutex_lock(&pool->lock);
        request = block_queue_pop(&pool->done);
        pthread_mutex_unlock(&pool->lock);
        if (request)
            pool->finished(pool->opaque, request);
    } while (request);
}

static void ready(void *opaque, uint32_t events)
{
    struct pool *pool = opaque;
    uint64_t count;
    if (read(pool->wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        deliver(pool);
}

void pool_submit(struct pool *pool, struct block_request *request)
{
    pthread_mutex_lock(&pool->lock);
    block_queue_push(&pool->waiting, request);
    pool->busy++;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

void pool_set_image(struct pool *pool, struct image *image)
{
    pthread_mutex_lock(&pool->lock);
    pool->image = image;
    pthread_mutex_unlock(&pool->lock);
}

void pool_drain(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->busy)
        pthread_cond_wait(&pool->idle, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    deliver(pool);
}

void pool_destroy(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    loop_watch_remove(pool->watch);
    close(pool->wake_fd);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->idle);
    free(pool);
}

struct pool *pool_create(struct image *image, unsigned threads, const struct thread_guard *guard,
                         struct loop *loop,
                         void (*finished)(void *opaque, struct block_request *request),
                         void *opaque, struct error *error)
{
    const char *path = image ? image->file->path : "a disk to be attached";
    struct pool *pool = calloc(1, sizeof(*pool));
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!pool || wake_fd < 0) {
        error_set(error, errno, "%s: %s", path, strerror(errno));
        free(pool);
        return NULL;
    }
    *pool = (struct pool){
        .image = image, .guard = guard, .finished = finished, .opaque = opaque, .wake_fd = wake_fd};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->idle, NULL);
    pool->watch = loop_watch_add(loop, wake_fd, EPOLLIN, ready, pool, error);
    while (pool->watch && pool->thread_count < threads &&
           pthread_create(&pool->threads[pool->thread_count], NULL, worker, pool) == 0)
        pool->thread_count++;
    if (pool->watch && !pool->thread_count)
        error_set(error, EAGAIN, "%s: cannot start a thread for its I/O", path);
    if (!pool->thread_count) {
        pool_destroy(pool);
        return NULL;
    }
    return pool;
}
