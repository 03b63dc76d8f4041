/* SPDX-License-Identifier: Apache-2.0 */
/* nacre doctor: what this host offers, what nacre will use of it, and what to do about what is
 * missing. */
#include "base/clock.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A line of the report: what, its state, what to do (NULL: nothing). */
static void line(const char *what, const char *state, const char *advice)
{
    printf("  %-18s %s\n", what, state);
    if (advice)
        printf("  %-18s   -> %s\n", "", advice);
}

#define PROBE_EXITS 2000

/* A real-mode guest that does `out %al, $0x10` in a loop: the time of a round trip. -1: cannot run.
 */
static double kvm_exit_microseconds(int kvm)
{
    static const uint8_t code[] = {0xe6, 0x10, 0xeb, 0xfc}; /* out; jmp back */
    double result = -1;
    uint8_t *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    int vcpu = vm >= 0 ? ioctl(vm, KVM_CREATE_VCPU, 0) : -1;
    struct kvm_run *run = MAP_FAILED;
    if (memory == MAP_FAILED)
        goto out;
    if (vcpu >= 0 && size > 0)
        run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        goto out;
    memcpy(memory, code, sizeof(code));
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = 0x1000, .memory_size = 4096, .userspace_addr = (uintptr_t)memory};
    struct kvm_sregs special;
    struct kvm_regs registers = {.rip = 0x1000, .rflags = 2};
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ||
        ioctl(vcpu, KVM_GET_SREGS, &special) < 0)
        goto out;
    special.cs.base = special.cs.selector = 0;
    if (ioctl(vcpu, KVM_SET_SREGS, &special) < 0 || ioctl(vcpu, KVM_SET_REGS, &registers) < 0)
        goto out;
    uint64_t start = clock_monotonic_ns();
    for (int i = 0; i < PROBE_EXITS; i++)
        if (ioctl(vcpu, KVM_RUN, 0) < 0 || run->exit_reason != KVM_EXIT_IO)
            goto out;
    result = (double)(clock_monotonic_ns() - start) / PROBE_EXITS / 1000;
out:
    if (run != MAP_FAILED)
        munmap(run, (size_t)size);
    if (memory != MAP_FAILED)
        munmap(memory, 4096);
    if (vcpu >= 0)
        close(vcpu);
    if (vm >= 0)
        close(vm);
    return result;
}

static void check_kvm(void)
{
    char state[128];
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        snprintf(state, sizeof(state), "no (/dev/kvm: %s)", strerror(errno));
        line("KVM", state,
             errno == EACCES ? "add your user to the group kvm" : "nacre runs without it");
        return;
    }
    double cost = kvm_exit_microseconds(kvm);
    close(kvm);
    if (cost < 0) {
        line("KVM", "/dev/kvm is there, but a small guest does not run", "nacre runs without it");
        return;
    }
    snprintf(state, sizeof(state), "works; %.1f us an exit (%s)", cost,
             cost < 10 ? "hardware" : "slow: nested or emulated");
    line("KVM", state, "this build has no kvm engine yet");
}

static void check_device(const char *what, const char *path, const char *advice)
{
    char state[128];
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        line(what, "yes", NULL);
        return;
    }
    snprintf(state, sizeof(state), "no (%s: %s)", path, strerror(errno));
    line(what, state, advice);
}

/* Present unless the kernel does not know the call at all. */
static void check_call(const char *what, long number, const char *advice)
{
    long result = syscall(number, -1, 0, 0, 0);
    bool there = result >= 0 || (errno != ENOSYS && errno != EPERM);
    if (result >= 0)
        close((int)result);
    line(what, there ? "yes" : "no", there ? NULL : advice);
}

static void check_huge_pages(void)
{
    char text[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
    bool read = file && fgets(text, sizeof(text), file);
    if (file)
        fclose(file);
    bool on = read && (strstr(text, "[advise]") || strstr(text, "[always]"));
    line("huge pages", on ? "yes (shmem_enabled)" : "not for shared memory",
         on ? NULL
            : "echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled makes guests faster");
}

static void check_protection_keys(void)
{
    long key = syscall(SYS_pkey_alloc, 0, 0);
    if (key >= 0)
        syscall(SYS_pkey_free, key);
    line("protection keys", key >= 0 ? "yes" : "no", NULL);
}

static const struct option_spec no_options[] = {{0}};

static int run(int argc, char **argv)
{
    struct error error = {0};
    int result = options_parse(&command_doctor, NULL, argc, argv, &error);
    if (result < 0) {
        fprintf(stderr, "nacre: %s\n", error.message);
        return EXIT_CODE_CONFIGURATION;
    }
    if (result > 0)
        return EXIT_CODE_OK;
    printf("This host offers:\n");
    check_kvm();
    check_device("tap networking", "/dev/net/tun", "not needed: --net user works without it");
    check_call("io_uring", SYS_io_uring_setup, "disks use threads instead");
    check_call("userfaultfd", SYS_userfaultfd,
               "sysctl vm.unprivileged_userfaultfd=1, or run as root");
    check_huge_pages();
    check_protection_keys();
    check_call("seccomp", SYS_seccomp, NULL);
    check_call("Landlock", SYS_landlock_create_ruleset, "needs Linux 5.13 with Landlock enabled");
    printf("\nnacre will use: engine interpret, --net user, memory from a memfd\n");
    return EXIT_CODE_OK;
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "say what this host offers and what nacre will use",
    .usage = "",
    .examples = "  nacre doctor\n",
    .options = no_options,
    .run = run,
};
