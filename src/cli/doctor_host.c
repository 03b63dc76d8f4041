/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's kernel offers, each asked for in the way that nacre would use it. */
#include "cli/doctor.h"
#include "jail/jail.h"
#include "memory/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHMEM_HUGE "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define USERNS_MAX "/proc/sys/user/max_user_namespaces"

__attribute__((format(printf, 3, 4))) static void say(struct finding *finding, const char *advice,
                                                      const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->state, sizeof(finding->state), format, arguments);
    va_end(arguments);
    finding->advice = advice;
}

/* The first line of a file in /proc or /sys; empty when there is none. */
static void read_line(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    text[0] = '\0';
    if (!file)
        return;
    if (fgets(text, (int)size, file))
        text[strcspn(text, "\n")] = '\0';
    fclose(file);
}

static void check_processors(struct finding *finding)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    say(finding, NULL, "%ld; a guest with more vcpus than that runs slower than with fewer", count);
}

static void check_memory(struct finding *finding)
{
    uint64_t most = host_memory_most() >> 20;
    say(finding, NULL, "at most %llu MiB with swap for one guest", (unsigned long long)most);
}

static void check_tap(struct finding *finding)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        say(finding, "not needed: --net user works without it", "no (/dev/net/tun: %s)",
            strerror(errno));
        return;
    }
    close(fd);
    say(finding, NULL, "yes");
}

/* A call with arguments that cannot be right: the kernel says so, or that it has no such call. */
static void check_io_uring(struct finding *finding)
{
    char disabled[8];
    if (syscall(SYS_io_uring_setup, 0, NULL) >= 0 || (errno != ENOSYS && errno != EPERM)) {
        say(finding, NULL, "yes");
        return;
    }
    int code = errno;
    read_line("/proc/sys/kernel/io_uring_disabled", disabled, sizeof(disabled));
    say(finding, "disks use threads instead; sysctl kernel.io_uring_disabled=0 allows it",
        "no (%s%s%s)", strerror(code), disabled[0] ? "; kernel.io_uring_disabled=" : "", disabled);
}

static void check_userfaultfd(struct finding *finding)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) /* since Linux 5.11: without faults of the kernel's own, for everybody */
        fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        say(finding, "sysctl vm.unprivileged_userfaultfd=1, or access to /dev/userfaultfd",
            "no (%s)", strerror(errno));
        return;
    }
    close(fd);
    say(finding, NULL, "yes");
}

static void check_huge_pages(struct finding *finding)
{
    char text[128];
    read_line(SHMEM_HUGE, text, sizeof(text));
    if (strstr(text, "[advise]") || strstr(text, "[always]") || strstr(text, "[within_size]") ||
        strstr(text, "[force]"))
        say(finding, NULL, "yes, for shared memory too");
    else
        say(finding, "echo advise >" SHMEM_HUGE " makes guests faster", "not for shared memory%s%s",
            text[0] ? ": " : "", text);
}

static void check_protection_keys(struct finding *finding)
{
    long key = syscall(SYS_pkey_alloc, 0, 0);
    if (key < 0) {
        say(finding, NULL, "no: the processor has none");
        return;
    }
    syscall(SYS_pkey_free, key);
    say(finding, NULL, "yes");
}

static void check_seccomp(struct finding *finding)
{
    const char *missing = jail_seccomp_missing();
    if (missing)
        say(finding, "needs Linux 4.14 with CONFIG_SECCOMP_FILTER; nacre runs with --jail off only",
            "no (%s)", missing);
    else if (!jail_supported())
        say(finding, NULL, "yes, but this build has a sanitizer and no jail");
    else
        say(finding, NULL, "yes: each thread is held to the system calls it needs");
}

static void check_landlock(struct finding *finding)
{
    const char *missing;
    int version = jail_landlock_version(&missing);
    if (version)
        say(finding, NULL, "yes, version %d: no file can be opened once a guest runs", version);
    else
        say(finding, "seccomp alone keeps a guest from files", "no (%s)", missing);
}

static void check_namespaces(struct finding *finding)
{
    char most[24], allowed[8];
    read_line(USERNS_MAX, most, sizeof(most));
    read_line("/proc/sys/kernel/unprivileged_userns_clone", allowed, sizeof(allowed));
    if (!most[0] || !strcmp(most, "0") || !strcmp(allowed, "0"))
        say(finding,
            "sysctl user.max_user_namespaces=1000 (and kernel.unprivileged_userns_clone=1)", "no");
    else
        say(finding, NULL, "yes, up to %s", most);
}

const struct check host_checks[] = {
    {"processors", check_processors},
    {"memory", check_memory},
    {"KVM", check_kvm},
    {"huge pages", check_huge_pages},
    {"protection keys", check_protection_keys},
    {"userfaultfd", check_userfaultfd},
    {"io_uring", check_io_uring},
    {"tap networking", check_tap},
    {"seccomp", check_seccomp},
    {"Landlock", check_landlock},
    {"user namespaces", check_namespaces},
    {0},
};
