/* SPDX-License-Identifier: Apache-2.0 */
/* Is there a KVM, does a guest run in it, and is it hardware or an emulation? */
#include "base/clock.h"
#include "cli/doctor.h"
#include "cpu/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOW_EXIT_MICROSECONDS 10
#define PROBE_EXITS            2000

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

static bool in_this_build(void)
{
    for (unsigned i = 0; engines[i]; i++)
        if (engines[i]->index == ENGINE_KVM)
            return true;
    return false;
}

void check_kvm(struct finding *finding)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        snprintf(finding->state, sizeof(finding->state), "no (/dev/kvm: %s)", strerror(errno));
        finding->advice =
            errno == EACCES ? "add your user to the group kvm" : "nacre runs without it";
        return;
    }
    double cost = kvm_exit_microseconds(kvm);
    close(kvm);
    if (!in_this_build())
        finding->advice = "this build has no kvm engine; nacre runs without it";
    if (cost < 0)
        snprintf(finding->state, sizeof(finding->state),
                 "/dev/kvm is there, but a small guest does not run");
    else
        snprintf(finding->state, sizeof(finding->state), "works; %.1f us an exit (%s)", cost,
                 cost < SLOW_EXIT_MICROSECONDS ? "hardware" : "slow: nested or emulated");
}
