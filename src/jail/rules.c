/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of the jail. A row is there because a thread stops without it; the reason says where.
 * Found with strace over the boot tests, then by reading what those calls come from. No row opens a
 * file, starts a program or a thread, or makes memory executable.
 */
#include "jail/rules.h"

#include "base/bits.h"
#include "jail/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>

#define LOOP (1u << THREAD_LOOP)
#define VCPU (1u << THREAD_VCPU)
#define DISK (1u << THREAD_DISK)
#define NET  (1u << THREAD_NET)
#define VIEW (1u << THREAD_VIEW)
#define VMM  (LOOP | VCPU | DISK)
#define ALL  (VMM | NET | VIEW)

#define CALL(name)     .number = SCMP_SYS(name)
#define ARGUMENTS(...) .arguments = {__VA_ARGS__}
#define EQUAL(n, value)                                   \
    {                                                     \
        .arg = (n), .op = SCMP_CMP_EQ, .datum_a = (value) \
    }
/* (argument & mask) == value */
#define MASKED(n, mask, value)                                                      \
    {                                                                               \
        .arg = (n), .op = SCMP_CMP_MASKED_EQ, .datum_a = (mask), .datum_b = (value) \
    }

const struct jail_rule jail_rules[] = {
    /* What any thread needs to run C. */
    {CALL(futex), ALL, "locks, and waiting for work"},
    {CALL(mmap), ALL, "malloc; never executable, never a file", .argument_count = 2,
     ARGUMENTS(MASKED(2, PROT_EXEC, 0),
               MASKED(3, MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, MAP_ANONYMOUS | MAP_PRIVATE))},
    {CALL(munmap), ALL, "free"},
    {CALL(brk), ALL, "malloc"},
    {CALL(write), ALL, "event descriptors, the log, the terminal"},
    {CALL(clock_gettime), ALL, "hosts whose clock the vDSO cannot read"},
    {CALL(restart_syscall), VMM, "a wait with a time-out, after the process was stopped"},
    /* Dying of a bug with the right signal, and ending. */
    {CALL(rt_sigprocmask), ALL, "raise, the end of a thread"},
    {CALL(rt_sigreturn), ALL, "back from a signal handler"},
    {CALL(getpid), ALL, "raise"},
    {CALL(gettid), ALL, "raise"},
    {CALL(tgkill), ALL, "raise; only this process", .own_process = true},
    {CALL(ioctl), ALL, "is it a terminal?", .argument_count = 1, ARGUMENTS(EQUAL(1, TCGETS))},
    {CALL(ioctl), LOOP, "the terminal's mode", .argument_count = 2,
     ARGUMENTS(EQUAL(0, 0), EQUAL(1, TCSETS))},
    {CALL(exit), VMM, "the end of a thread"},
    {CALL(exit_group), ALL, "the end"},
    /* Devices, on the thread that touched them. */
    {CALL(timerfd_settime), LOOP | VCPU | NET | VIEW,
     "timers of devices, of the local APIC, of the NAT, of views"},
    {CALL(getrandom), LOOP | VCPU, "virtio-rng, RDRAND"},
    /* The event loop. */
    {CALL(epoll_wait), LOOP | NET | VIEW, "the loop itself"},
    {CALL(epoll_ctl), LOOP | NET | VIEW,
     "back ends that stop listening, and sockets that come and go"},
    {CALL(read), LOOP | NET | VIEW, "event and timer descriptors, signals, the terminal, clients"},
    {CALL(close), LOOP | DISK | NET | VIEW, "back ends at the end, and sockets that come and go"},
    {CALL(poll), LOOP, "may the terminal take more?"},
    {CALL(ioctl), LOOP, "the terminal's size", .argument_count = 1,
     ARGUMENTS(EQUAL(1, TIOCGWINSZ))},
    {CALL(accept4), LOOP, "console on a unix socket", .needs = JAIL_NEED_UNIX_SERVER},
    {CALL(unlink), LOOP, "the console's socket, at the end", .needs = JAIL_NEED_UNIX_SERVER},
    {CALL(fcntl), LOOP, "console on a unix socket: one descriptor to read, one to write",
     .needs = JAIL_NEED_UNIX_SERVER | JAIL_NEED_UNIX_CLIENT, .argument_count = 1,
     ARGUMENTS(EQUAL(1, F_DUPFD_CLOEXEC))},
    {CALL(socket), LOOP, "console on a unix socket", .needs = JAIL_NEED_UNIX_CLIENT,
     .argument_count = 1, ARGUMENTS(EQUAL(0, AF_UNIX))},
    {CALL(connect), LOOP, "console on a unix socket", .needs = JAIL_NEED_UNIX_CLIENT},
    {CALL(recvmsg), LOOP, "what the supervisor asks for, and files it has opened",
     .needs = JAIL_NEED_CONTROL},
    {CALL(clone), LOOP, "a process that writes a snapshot; no thread, and in the same jail",
     .needs = JAIL_NEED_SNAPSHOT, .argument_count = 2, ARGUMENTS(EQUAL(0, SIGCHLD), EQUAL(1, 0))},
    {CALL(wait4), LOOP, "has the snapshot been written?", .needs = JAIL_NEED_SNAPSHOT},
    {CALL(pwritev2), LOOP, "memory of a snapshot", .needs = JAIL_NEED_SNAPSHOT},
    {CALL(fdatasync), LOOP, "files of a snapshot", .needs = JAIL_NEED_SNAPSHOT},
    /* A network's process: libslirp. */
    {CALL(socket), NET, "connections of the guest's", .argument_count = 1,
     ARGUMENTS(EQUAL(0, AF_INET))},
    {CALL(socket), NET, "connections of the guest's", .argument_count = 1,
     ARGUMENTS(EQUAL(0, AF_INET6))},
    {CALL(connect), NET, "connections of the guest's"},
    {CALL(accept), NET, "forwarded ports"},
    {CALL(sendto), NET, "sockets, and frames to the machine"},
    {CALL(recvfrom), NET, "sockets, and frames from the machine"},
    {CALL(recvmsg), NET, "ICMP errors of UDP sockets"},
    {CALL(getpeername), NET, "has a connection broken?"},
    {CALL(getsockopt), NET, "why has a connection broken?"},
    {CALL(setsockopt), NET, "addresses used again, urgent data, time to live"},
    {CALL(shutdown), NET, "one direction of a connection has ended"},
    {CALL(fcntl), NET, "sockets that do not block", .argument_count = 1,
     ARGUMENTS(EQUAL(1, F_GETFL))},
    {CALL(fcntl), NET, "sockets that do not block", .argument_count = 1,
     ARGUMENTS(EQUAL(1, F_SETFL))},
    {CALL(fcntl), NET, "files of TFTP", .argument_count = 1, ARGUMENTS(EQUAL(1, F_DUPFD_CLOEXEC))},
    {CALL(lseek), NET, "files of TFTP"},
    {CALL(ioctl), NET, "how long is the next datagram?", .argument_count = 1,
     ARGUMENTS(EQUAL(1, FIONREAD))},
    /* A VNC server's process: libvncserver. */
    {CALL(accept), VIEW, "clients"},
    {CALL(getpeername), VIEW, "clients"},
    {CALL(setsockopt), VIEW, "small messages are sent at once", .argument_count = 2,
     ARGUMENTS(EQUAL(1, IPPROTO_TCP), EQUAL(2, TCP_NODELAY))},
    {CALL(fcntl), VIEW, "sockets that do not block", .argument_count = 1,
     ARGUMENTS(EQUAL(1, F_GETFL))},
    {CALL(fcntl), VIEW, "sockets that do not block", .argument_count = 1,
     ARGUMENTS(EQUAL(1, F_SETFL))},
    {CALL(recvfrom), VIEW, "what kind of client is it?"},
    {CALL(pselect6), VIEW, "which clients have something to say, and may take more?"},
    {CALL(shutdown), VIEW, "a client is cut off"},
    {CALL(getrandom), VIEW, "the challenge for a password"},
    /* Disks. */
    {CALL(io_uring_enter), LOOP, "reads, writes and flushes; the ring takes no others"},
    {CALL(preadv), DISK, "reads"},
    {CALL(pwritev2), DISK, "writes"},
    {CALL(fdatasync), DISK, "flushes"},
    {CALL(fallocate), DISK, "discard and write zeroes on files", .argument_count = 1,
     ARGUMENTS(EQUAL(1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))},
    {CALL(fallocate), DISK, "write zeroes on files", .argument_count = 1,
     ARGUMENTS(EQUAL(1, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE))},
    {CALL(ioctl), DISK, "discard on block devices", .argument_count = 1,
     ARGUMENTS(EQUAL(1, BLKDISCARD))},
    {CALL(ioctl), DISK, "write zeroes on block devices", .argument_count = 1,
     ARGUMENTS(EQUAL(1, BLKZEROOUT))},
};
const unsigned jail_rule_count = ARRAY_SIZE(jail_rules);

const struct jail_refusal jail_refusals[] = {
    {SCMP_SYS(mremap), ALL, ENOMEM, "realloc copies instead"},
    {SCMP_SYS(newfstatat), VMM, EACCES, "stdio takes its usual buffer for a file"},
    {SCMP_SYS(fstat), ALL, EACCES, "the same in later C libraries"},
    {SCMP_SYS(madvise), ALL, EPERM,
     "the memory of an ended thread's stack is given back a bit later"},
};
const unsigned jail_refusal_count = ARRAY_SIZE(jail_refusals);

bool jail_rule_applies(const struct jail_rule *rule, enum thread_kind kind, unsigned needs)
{
    return (rule->kinds & 1u << kind) && (!rule->needs || (rule->needs & needs));
}

bool jail_allows(int number, enum thread_kind kind, unsigned needs)
{
    for (unsigned i = 0; i < jail_rule_count; i++)
        if (jail_rules[i].number == number && jail_rule_applies(&jail_rules[i], kind, needs))
            return true;
    return false;
}

const char *thread_kind_name(enum thread_kind kind)
{
    static const char *const names[THREAD_KIND_COUNT] = {[THREAD_LOOP] = "loop",
                                                         [THREAD_VCPU] = "vcpu",
                                                         [THREAD_DISK] = "disk",
                                                         [THREAD_NET] = "net",
                                                         [THREAD_VIEW] = "view"};
    return names[kind];
}
