/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads, meant for two CPUs: waking each other, sharing a cache line, and not sharing at all.
 */
#include "bench.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

struct share {
    void (*work)(struct share *);
    unsigned rounds, self; /* self: 0 or 1 */
    uint64_t result;
};

static _Atomic uint32_t turn;
static _Atomic uint64_t counter;

static void *thread_main(void *share)
{
    ((struct share *)share)->work(share);
    return NULL;
}

/* Does `rounds` on each of `threads` threads, 1 or 2. */
static void run_threads(void (*work)(struct share *), unsigned threads, unsigned rounds)
{
    struct share shares[2] = {{work, rounds, 0, 0}, {work, rounds, 1, 0}};
    pthread_t thread;
    if (threads == 2 && pthread_create(&thread, NULL, thread_main, &shares[1]) != 0)
        bench_fail("pthread_create");
    work(&shares[0]);
    if (threads == 2)
        pthread_join(thread, NULL);
    bench_keep(shares[0].result + shares[1].result);
}

/* Each sleeps until the word is its own number, then makes it the other's. */
static void take_turns(struct share *share)
{
    for (unsigned i = 0; i < share->rounds; i++) {
        while (atomic_load(&turn) != share->self)
            syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, 1 - share->self, NULL, NULL, 0);
        atomic_store(&turn, 1 - share->self);
        syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static double futex(unsigned divisor)
{
    enum { ROUNDS = 20000 };
    unsigned rounds = bench_share(ROUNDS, divisor);
    turn = 0;
    run_threads(take_turns, 2, rounds);
    return (double)rounds / ROUNDS;
}

static void count_up(struct share *share)
{
    for (unsigned i = 0; i < share->rounds; i++)
        atomic_fetch_add(&counter, 1);
}

static double atomics(unsigned divisor)
{
    enum { ROUNDS = 20000000 };
    unsigned rounds = bench_share(ROUNDS, divisor);
    counter = 0;
    run_threads(count_up, 2, rounds);
    if (counter != 2ull * rounds)
        bench_fail("atomic additions were lost");
    return (double)rounds / ROUNDS;
}

static void compute(struct share *share)
{
    uint64_t x = 88172645463325252u + share->self;
    for (unsigned i = 0; i < share->rounds; i++) {
        x = bench_xorshift(x);
        share->result += (x >> 7) % 1000;
    }
}

/* The same work on one thread and on two: the quotient of the times is how far SMP scales. */
enum { COMPUTE_ROUNDS = 80000000 };

static double alone(unsigned divisor)
{
    unsigned rounds = bench_share(COMPUTE_ROUNDS, divisor);
    run_threads(compute, 1, rounds);
    return (double)rounds / COMPUTE_ROUNDS;
}

static double parallel(unsigned divisor)
{
    unsigned rounds = bench_share(COMPUTE_ROUNDS / 2, divisor);
    run_threads(compute, 2, rounds);
    return 2.0 * rounds / COMPUTE_ROUNDS;
}

const struct bench_test bench_smp[] = {
    {"futex", "futex ping-pong x 20 k", futex},
    {"atomic", "contended fetch_add, 2 x 20 M", atomics},
    {"alone", "computation on 1 thread", alone},
    {"parallel", "the same on 2 threads", parallel},
    {NULL, NULL, NULL},
};
