/* SPDX-License-Identifier: Apache-2.0 */
#include "jail/filter.h"

#include "base/bits.h"
#include "jail/rules.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int add_rule(scmp_filter_ctx context, const struct jail_rule *rule)
{
    struct scmp_arg_cmp arguments[4];
    unsigned count = rule->argument_count;
    memcpy(arguments, rule->arguments, count * sizeof(arguments[0]));
    if (rule->own_process)
        arguments[count++] =
            (struct scmp_arg_cmp){.op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)getpid()};
    return seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule->number, count, arguments);
}

/* Other ABIs of the processor (32-bit, x32) have no rules: all of theirs is refused. */
static int add_rules(scmp_filter_ctx context, enum thread_kind kind, unsigned needs)
{
    int result = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP);
    if (result ==
        0) /* a tree: a call at the end of the table costs no more than one at its start */
        result = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (unsigned i = 0; i < jail_rule_count && result == 0; i++)
        if (jail_rule_applies(&jail_rules[i], kind, needs))
            result = add_rule(context, &jail_rules[i]);
    for (unsigned i = 0; i < jail_refusal_count && result == 0; i++)
        if ((jail_refusals[i].kinds & 1u << kind) &&
            !jail_allows(jail_refusals[i].number, kind, needs))
            result =
                seccomp_rule_add_array(context, SCMP_ACT_ERRNO((uint32_t)jail_refusals[i].code),
                                       jail_refusals[i].number, 0, NULL);
    return result;
}

/* Lets a call from one place pass: its address is compared before anything else is. */
static unsigned put_through(struct sock_filter *code, uint64_t through)
{
    const struct sock_filter check[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)through, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(through >> 32), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    memcpy(code, check, sizeof(check));
    return ARRAY_SIZE(check);
}

#define THROUGH_LENGTH 5

/* libseccomp writes its program to a descriptor only. */
static int export_program(scmp_filter_ctx context, int fd, struct sock_fprog *program,
                          uint64_t through)
{
    struct stat status;
    int result = seccomp_export_bpf(context, fd);
    if (result < 0)
        return result;
    if (fstat(fd, &status) < 0)
        return -errno;
    size_t size = (size_t)status.st_size, length = size / sizeof(struct sock_filter);
    struct sock_filter *code = malloc(size + THROUGH_LENGTH * sizeof(*code));
    if (!code)
        return -ENOMEM;
    unsigned start = through ? put_through(code, through) : 0;
    if (length + start > BPF_MAXINSNS || pread(fd, code + start, size, 0) != (ssize_t)size) {
        free(code);
        return -EIO;
    }
    *program = (struct sock_fprog){.len = (unsigned short)(length + start), .filter = code};
    return 0;
}

int filter_create(struct sock_fprog *program, enum thread_kind kind, unsigned needs,
                  uint64_t through, struct error *error)
{
    int fd = memfd_create("nacre-filter", MFD_CLOEXEC);
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_TRAP);
    int result = fd >= 0 && context ? add_rules(context, kind, needs) : -ENOMEM;
    if (result == 0)
        result = export_program(context, fd, program, through);
    seccomp_release(context);
    if (fd >= 0)
        close(fd);
    if (result < 0)
        return error_set(error, -result, "jail: cannot make the filter of %s threads: %s",
                         thread_kind_name(kind), strerror(-result));
    return 0;
}

void filter_free(struct sock_fprog *program)
{
    free(program->filter);
    *program = (struct sock_fprog){0};
}

int filter_load(const struct sock_fprog *program)
{
    /* SPEC_ALLOW: older kernels else slow down every store of the thread, and the guest shares the
     * address space with us anyway. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, program) < 0)
        return -errno;
    return 0;
}
