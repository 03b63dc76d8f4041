/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side: a trampoline that loads every register, runs the instruction, and stores every
 * register. */
#include "differential/differential.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define TRAMPOLINE UINT64_C(0x21000000) /* below 2 GiB: reached by absolute 32-bit addresses */
#define FRAME      UINT64_C(0x22000000)

/* Fixed offsets in the frame: what is loaded, and what is stored. */
enum { IN_REGISTERS = 0x000, IN_FLAGS = 0x080, IN_XMM = 0x100, OUT = 0x400 };

static sigjmp_buf fault_exit;

static void on_fault(int number)
{
    siglongjmp(fault_exit, number);
}

int host_create(struct error *error)
{
    const struct {
        uint64_t address, size;
        int protection;
    } areas[] = {{SCRATCH_ADDRESS, 4096, PROT_READ | PROT_WRITE},
                 {TRAMPOLINE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC},
                 {FRAME, 4096, PROT_READ | PROT_WRITE}};
    for (unsigned i = 0; i < ARRAY_SIZE(areas); i++)
        if (mmap((void *)(uintptr_t)areas[i].address, areas[i].size, areas[i].protection,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
            return error_set(error, errno, "cannot map the test area at 0x%llx",
                             (unsigned long long)areas[i].address);
    return 0;
}

static const int fault_signals[] = {SIGFPE, SIGILL, SIGSEGV};

/* An engine has handlers of its own: ours are there only while the host runs a case. */
static void handlers_install(struct sigaction *old)
{
    const struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    for (unsigned i = 0; i < ARRAY_SIZE(fault_signals); i++)
        sigaction(fault_signals[i], &action, &old[i]);
}

static void handlers_restore(const struct sigaction *old)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fault_signals); i++)
        sigaction(fault_signals[i], &old[i], NULL);
}

static uint8_t *emit(uint8_t *at, const void *bytes, size_t count)
{
    memcpy(at, bytes, count);
    return at + count;
}

/* mov between register and [absolute 32-bit address] */
static uint8_t *emit_move(uint8_t *at, unsigned number, uint32_t address, bool store)
{
    const uint8_t bytes[] = {number >= 8 ? 0x4c : 0x48, store ? 0x89 : 0x8b,
                             (uint8_t)(4 | (number & 7) << 3), 0x25};
    at = emit(at, bytes, sizeof(bytes));
    return emit(at, &address, 4);
}

static uint8_t *emit_xmm(uint8_t *at, unsigned number, uint32_t address, bool store)
{
    const uint8_t prefix = 0x44;
    const uint8_t bytes[] = {0x0f, store ? 0x11 : 0x10, (uint8_t)(4 | (number & 7) << 3), 0x25};
    if (number >= 8)
        at = emit(at, &prefix, 1);
    at = emit(at, bytes, sizeof(bytes));
    return emit(at, &address, 4);
}

static uint8_t *emit_all(uint8_t *at, uint32_t base, bool store)
{
    for (unsigned i = 0; i < 16; i++)
        at = emit_xmm(at, i, base + IN_XMM + i * 16, store);
    for (unsigned i = 0; i < 16; i++)
        if (i != GPR_RSP)
            at = emit_move(at, i, base + IN_REGISTERS + i * 8, store);
    return at;
}

static void build(const struct test_case *test)
{
    static const uint8_t enter[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57};
    static const uint8_t leave[] = {0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d,
                                    0x41, 0x5c, 0x5d, 0x5b, 0xfc, 0xc3};
    static const uint8_t push_flags[] = {0xff, 0x34, 0x25}, pop_flags[] = {0x8f, 0x04, 0x25};
    static const uint8_t popfq = 0x9d, pushfq = 0x9c;
    uint32_t in = (uint32_t)FRAME, out = (uint32_t)FRAME + OUT, flags;
    uint8_t *at = (uint8_t *)(uintptr_t)TRAMPOLINE;
    at = emit(at, enter, sizeof(enter));
    at = emit(at, push_flags, sizeof(push_flags));
    flags = in + IN_FLAGS;
    at = emit(at, &flags, 4);
    at = emit(at, &popfq, 1);
    at = emit_all(at, in, false);
    at = emit(at, test->code, test->length);
    at = emit_all(at, out, true);
    at = emit(at, &pushfq, 1);
    at = emit(at, pop_flags, sizeof(pop_flags));
    flags = out + IN_FLAGS;
    at = emit(at, &flags, 4);
    emit(at, leave, sizeof(leave));
}

void host_run(const struct test_case *test, const struct machine_state *before,
              struct machine_state *after)
{
    uint8_t *frame = (uint8_t *)(uintptr_t)FRAME, *scratch = (uint8_t *)(uintptr_t)SCRATCH_ADDRESS;
    build(test);
    memcpy(frame + IN_REGISTERS, before->registers, sizeof(before->registers));
    memcpy(frame + IN_FLAGS, &before->rflags, 8);
    memcpy(frame + IN_XMM, before->xmm, sizeof(before->xmm));
    memcpy(scratch, before->scratch, SCRATCH_SIZE);
    *after = *before;
    struct sigaction old[ARRAY_SIZE(fault_signals)];
    handlers_install(old);
    bool faulted = sigsetjmp(fault_exit, 0);
    if (!faulted)
        ((void (*)(void))(uintptr_t)TRAMPOLINE)();
    handlers_restore(old);
    if (faulted) {
        after->faulted = true;
        return;
    }
    memcpy(after->registers, frame + OUT + IN_REGISTERS, sizeof(after->registers));
    memcpy(&after->rflags, frame + OUT + IN_FLAGS, 8);
    memcpy(after->xmm, frame + OUT + IN_XMM, sizeof(after->xmm));
    memcpy(after->scratch, scratch, SCRATCH_SIZE);
    after->registers[GPR_RSP] = before->registers[GPR_RSP];
}
