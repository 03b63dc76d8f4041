/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: a ruleset with next to no rules, so that nothing below any directory can be reached any
 * more; what is open stays open. landlock(7); Linux Documentation/userspace-api/landlock.
 */
#include "base/bits.h"
#include "jail/jail.h"
#include "jail/privileges.h"

#include <errno.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Debian's header knows the first interfaces only: this is its struct as of version 6. */
struct ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

#define NET_BIND_TCP               (1u << 0)
#define NET_CONNECT_TCP            (1u << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1u << 0)

/* By version of the interface: how many kinds of file access it knows, the lowest bits first. */
static const uint8_t access_fs_bits[] = {0, 13, 14, 15, 15, 16};

#define VERSION_NET   4
#define VERSION_SCOPE 6

int jail_landlock_version(const char **missing)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    *missing = NULL;
    if (version > 0)
        return (int)version;
    *missing = errno == EOPNOTSUPP ? "it is not turned on: add landlock to the kernel's lsm="
                                   : "this kernel has none: Linux 5.13 and later do";
    return 0;
}

static int allow_removal(int ruleset, int folder)
{
    const struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE, .parent_fd = folder};
    long result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    return result < 0 ? -errno : 0;
}

int landlock_enter(bool keep_tcp, const int *folders, unsigned count)
{
    const char *missing;
    int version = jail_landlock_version(&missing);
    if (!version)
        return 0; /* jail_create() has said so */
    unsigned known = version < (int)ARRAY_SIZE(access_fs_bits) ? (unsigned)version
                                                               : ARRAY_SIZE(access_fs_bits) - 1;
    /* Not SCOPE_SIGNAL: each thread has a domain of its own, and some kernels would then refuse
     * signals between threads. The filters allow signals to this process only. */
    const struct ruleset ruleset = {
        .handled_access_fs = (UINT64_C(1) << access_fs_bits[known]) - 1,
        .handled_access_net =
            version >= VERSION_NET && !keep_tcp ? NET_BIND_TCP | NET_CONNECT_TCP : 0,
        .scoped = version >= VERSION_SCOPE ? SCOPE_ABSTRACT_UNIX_SOCKET : 0,
    };
    int fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, sizeof(ruleset), 0);
    if (fd < 0)
        return -errno;
    int result = 0;
    for (unsigned i = 0; i < count && result == 0; i++)
        if (folders[i] >= 0)
            result = allow_removal(fd, folders[i]);
    if (result == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        result = -errno;
    close(fd);
    return result;
}
