/* SPDX-License-Identifier: Apache-2.0 */
#include "jail/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * A core file would hold the guest's memory. There is no limit on file sizes: a disk may be of any;
 * none on processes: the kernel counts io_uring's workers among them, and the filters allow no
 * clone.
 */
int privileges_limit(struct error *error)
{
    const struct rlimit none = {0, 0};
    int persona = personality(0xffffffff);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set(error, errno, "jail: cannot give up new privileges: %s", strerror(errno));
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return error_set(error, errno, "jail: cannot turn off core dumps: %s", strerror(errno));
    /* Under READ_IMPLIES_EXEC a mapping without PROT_EXEC could still be executed. */
    if (persona >= 0 && (persona & READ_IMPLIES_EXEC) &&
        personality((unsigned long)persona & ~(unsigned long)READ_IMPLIES_EXEC) < 0)
        return error_set(error, errno, "jail: cannot leave the personality READ_IMPLIES_EXEC: %s",
                         strerror(errno));
    return 0;
}

int privileges_drop(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}, {0}};
    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}
