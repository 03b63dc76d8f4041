/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/signals.h"

#include "base/bits.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
static const int others[] = {SIGTSTP, SIGWINCH, SIGUSR1, SIGUSR2};

struct signals {
    int fd;
    struct loop_watch *watch;
    void (*caught)(void *opaque, int number);
    void *opaque;
};

static void ready(void *opaque, uint32_t events)
{
    struct signals *signals = opaque;
    struct signalfd_siginfo information;
    if (read(signals->fd, &information, sizeof(information)) == sizeof(information))
        signals->caught(signals->opaque, (int)information.ssi_signo);
}

static void add(sigset_t *set, const int *numbers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        sigaddset(set, numbers[i]);
}

struct signals *signals_watch(struct loop *loop, void (*caught)(void *opaque, int number),
                              void *opaque, struct error *error)
{
    sigset_t set;
    struct signals *signals = calloc(1, sizeof(*signals));
    if (!signals) {
        error_set(error, ENOMEM, "cannot watch signals: out of memory");
        return NULL;
    }
    sigemptyset(&set);
    add(&set, ending, ARRAY_SIZE(ending));
    add(&set, others, ARRAY_SIZE(others));
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    *signals = (struct signals){.caught = caught, .opaque = opaque};
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd >= 0)
        signals->watch = loop_watch_add(loop, signals->fd, EPOLLIN, ready, signals, error);
    else
        error_set(error, errno, "cannot watch signals: %s", strerror(errno));
    if (signals->watch)
        return signals;
    signals_unwatch(signals);
    return NULL;
}

bool signals_is_ending(int number)
{
    for (unsigned i = 0; i < ARRAY_SIZE(ending); i++)
        if (ending[i] == number)
            return true;
    return false;
}

void signals_let_kill(void)
{
    sigset_t set;
    sigemptyset(&set);
    add(&set, ending, ARRAY_SIZE(ending));
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void signals_unwatch(struct signals *signals)
{
    if (!signals)
        return;
    loop_watch_remove(signals->watch);
    if (signals->fd >= 0)
        close(signals->fd);
    free(signals);
}
