/* SPDX-License-Identifier: Apache-2.0 */
#include "jail/jail.h"

#include "base/bits.h"
#include "jail/filter.h"
#include "jail/privileges.h"
#include "jail/rules.h"
#include "jail/violation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STACKS_MAX 128 /* threads that enter: vcpus, the loop, disks' workers */

struct jail {
    struct thread_guard guard; /* first: the guard is the jail */
    struct jail_config config;
    struct violation_config violation;
    struct sock_fprog filters[THREAD_KIND_COUNT];
    int folders[JAIL_SOCKETS_MAX]; /* of config.sockets, open with O_PATH; -1: none */
    uint8_t *stacks;               /* STACKS_MAX signal stacks */
    atomic_uint stacks_used;
};

bool jail_supported(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
    return false;
#else
    return true;
#endif
#else
    return true;
#endif
}

const char *jail_mode_name(unsigned mode)
{
    static const char *const names[] = {[JAIL_ON] = "on", [JAIL_LOG] = "log", [JAIL_OFF] = "off"};
    return mode < ARRAY_SIZE(names) ? names[mode] : NULL;
}

int jail_mode_parse(const char *text, enum jail_mode *mode, struct error *error)
{
    for (unsigned i = 0; jail_mode_name(i); i++) {
        if (!strcmp(jail_mode_name(i), text)) {
            *mode = (enum jail_mode)i;
            return 0;
        }
    }
    return error_set(error, EINVAL, "--jail %s: must be on, log or off", text);
}

const char *jail_seccomp_missing(void)
{
    const uint32_t trap = SECCOMP_RET_TRAP;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &trap) == 0)
        return NULL;
    return errno == ENOSYS ? "this kernel has no seccomp filters" : strerror(errno);
}

/* --- a thread goes in --- */

/* Half a jail is none: whatever fails here ends the process. */
static void require(int result, enum thread_kind kind, const char *what, int exit_code)
{
    if (result >= 0)
        return;
    fprintf(stderr, "nacre: jail: a %s thread cannot %s: %s; --jail off runs without\r\n",
            thread_kind_name(kind), what, strerror(-result));
    _exit(exit_code);
}

static int take_stack(struct jail *jail, enum thread_kind kind)
{
    unsigned index = atomic_fetch_add(&jail->stacks_used, 1);
    if (index >= STACKS_MAX)
        return -EAGAIN;
    return violation_prepare_thread(jail->stacks + index * violation_stack_size(), &jail->violation,
                                    kind);
}

static int make_filter(struct jail *jail, enum thread_kind kind, struct error *error)
{
    uint64_t through = jail->config.mode == JAIL_LOG ? violation_through() : 0;
    return filter_create(&jail->filters[kind], kind, jail->config.needs, through, error);
}

static void enter(const struct thread_guard *guard, enum thread_kind kind)
{
    struct jail *jail = (struct jail *)guard;
    int code = jail->config.exit_code;
    /* The filter knows the process, and these have one of their own. */
    bool own_process = kind == THREAD_NET || kind == THREAD_VIEW;
    if (own_process)
        require(make_filter(jail, kind, NULL), kind, "make its filter", code);
    require(take_stack(jail, kind), kind, "get its signal stack", code);
    require(privileges_drop(), kind, "drop its capabilities", code);
    if (jail->config.mode == JAIL_ON)
        require(landlock_enter(kind == THREAD_NET, jail->folders,
                               kind == THREAD_LOOP ? JAIL_SOCKETS_MAX : 0),
                kind, "enter Landlock", code);
    require(filter_load(&jail->filters[kind]), kind, "load its filter", code);
}

/* --- the jail itself --- */

/* What libraries would do at their first use, when it is too late. */
static void settle_libraries(void)
{
    mallopt(M_ARENA_MAX, 1); /* more arenas mean mprotect and reading /sys and /proc */
    tzset();                 /* opens /etc/localtime */
}

/* Without its folder there is no socket: the console will say so. */
static void open_folders(struct jail *jail)
{
    for (unsigned i = 0; i < JAIL_SOCKETS_MAX; i++) {
        const char *path = jail->config.sockets[i];
        const char *slash = path ? strrchr(path, '/') : NULL;
        char folder[PATH_MAX];
        if (!path)
            continue;
        snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path + 1) : 1,
                 slash ? path : ".");
        jail->folders[i] = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
}

static int make_filters(struct jail *jail, struct error *error)
{
    static const enum thread_kind ours[] = {THREAD_LOOP, THREAD_VCPU, THREAD_DISK};
    int result = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(ours) && result == 0; i++)
        result = make_filter(jail, ours[i], error);
    return result;
}

static int prepare(struct jail *jail, struct error *error)
{
    const char *missing = jail_seccomp_missing();
    if (missing)
        return error_set(error, ENOSYS, "--jail: no seccomp here: %s; --jail off runs without",
                         missing);
    if (!jail_landlock_version(&missing))
        log_message(jail->config.log, LOG_DEBUG, "jail: no Landlock: %s; seccomp alone holds",
                    missing);
    settle_libraries();
    jail->stacks = mmap(NULL, STACKS_MAX * violation_stack_size(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (jail->stacks == MAP_FAILED) {
        jail->stacks = NULL;
        return error_set(error, ENOMEM, "jail: out of memory");
    }
    open_folders(jail);
    int result = privileges_limit(error);
    if (result == 0)
        result = violation_catch(&jail->violation, error);
    return result == 0 ? make_filters(jail, error) : result;
}

struct jail *jail_create(const struct jail_config *config, struct error *error)
{
    struct jail *jail = calloc(1, sizeof(*jail));
    if (!jail) {
        error_set(error, ENOMEM, "jail: out of memory");
        return NULL;
    }
    jail->guard.enter = enter;
    for (unsigned i = 0; i < JAIL_SOCKETS_MAX; i++)
        jail->folders[i] = -1;
    jail->config = *config;
    jail->violation.mode = config->mode;
    jail->violation.exit_code = config->exit_code;
    if (prepare(jail, error) == 0)
        return jail;
    jail_destroy(jail);
    return NULL;
}

void jail_destroy(struct jail *jail)
{
    if (!jail)
        return;
    for (unsigned kind = 0; kind < THREAD_KIND_COUNT; kind++)
        filter_free(&jail->filters[kind]);
    for (unsigned i = 0; i < JAIL_SOCKETS_MAX; i++)
        if (jail->folders[i] >= 0)
            close(jail->folders[i]);
    /* Who is inside stays there, and needs its signal stack and what that points to. */
    if (atomic_load(&jail->stacks_used))
        return;
    if (jail->stacks)
        munmap(jail->stacks, STACKS_MAX * violation_stack_size());
    free(jail);
}

const struct thread_guard *jail_guard(const struct jail *jail)
{
    return jail ? &jail->guard : NULL;
}
