/* SPDX-License-Identifier: Apache-2.0 */
/* IDT, TSS, catching of traps, the guest's first and last C code. */
#include "runtime/runtime.h"

struct gate {
    uint16_t offset_low, selector;
    uint8_t stack, type;
    uint16_t offset_middle;
#ifdef __x86_64__
    uint32_t offset_high, reserved;
#endif
} __attribute__((packed));

struct table_pointer {
    uint16_t limit;
    word base;
} __attribute__((packed));

static struct gate gates[VECTOR_COUNT] __attribute__((aligned(16)));
static void (*hooks[VECTOR_COUNT])(struct trap_frame *frame);
static uint8_t ring0_stack[16384] __attribute__((aligned(16)));

static struct trap caught;
static bool catching;
static void *resume[5]; /* for __builtin_longjmp */
struct task_state task_state;

void trap_hook(unsigned vector, void (*hook)(struct trap_frame *frame))
{
    hooks[vector] = hook;
}

void trap_gate(unsigned vector, word entry, unsigned selector, unsigned type, unsigned stack)
{
    gates[vector] = (struct gate){
        .offset_low = (uint16_t)entry,
        .selector = (uint16_t)selector,
        .stack = (uint8_t)stack,
        .type = (uint8_t)type,
        .offset_middle = (uint16_t)(entry >> 16),
#ifdef __x86_64__
        .offset_high = (uint32_t)(entry >> 32),
#endif
    };
}

void traps_load(void)
{
    struct table_pointer pointer = {sizeof(gates) - 1, (word)gates};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

/* Called by runtime/traps.S. */
void trap_handle(struct trap_frame *frame);
void trap_handle(struct trap_frame *frame)
{
    if (hooks[frame->vector]) {
        hooks[frame->vector](frame);
        return;
    }
    struct trap trap = {
        .vector = (unsigned)frame->vector,
        .error = frame->error,
        .ip = frame->ip,
        .cs = frame->cs,
        .flags = frame->flags,
        .ax = frame->ax,
        .sp = frame->cs & 3 ? frame->sp : 0,
        .address = read_cr2(),
    };
    if (!catching) {
        print("FAIL unexpected trap: vector %x error %lx at %lx address %lx\n", trap.vector,
              trap.error, trap.ip, trap.address);
        machine_power_off();
    }
    catching = false;
    caught = trap;
    __builtin_longjmp(resume, 1);
}

__attribute__((noinline)) struct trap trap_catch(void (*function)(void *), void *argument)
{
    caught = (struct trap){.vector = TRAP_NONE};
    if (!__builtin_setjmp(resume)) {
        catching = true;
        function(argument);
    }
    catching = false;
    return caught;
}

struct user_entry {
    void *code;
    word stack;
    void *argument;
};

void user_enter(void *code, word stack, void *argument);

static void enter(void *opaque)
{
    const struct user_entry *entry = opaque;
    user_enter(entry->code, entry->stack, entry->argument);
}

struct trap user_catch(void *code, word stack, void *argument)
{
    struct user_entry entry = {code, stack, argument};
    return trap_catch(enter, &entry);
}

void machine_power_off(void)
{
    print("END\n");
    port_write16(0x604, 0x2000 | 5 << 10); /* ACPI PM1a control: SLP_EN, nacre's S5 */
    port_write16(0x604, 0x2000);           /* QEMU's */
    for (;;)
        __asm__ volatile("cli; hlt");
}

static void task_register_load(void)
{
    word base = (word)&task_state, limit = sizeof(task_state) - 1;
    gdt[SELECTOR_TSS / 8] = limit | (uint64_t)(base & 0xffffff) << 16 | UINT64_C(0x89) << 40 |
                            (uint64_t)(base >> 24 & 0xff) << 56;
#ifdef __x86_64__
    gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
    task_state.sp[0] = (word)(ring0_stack + sizeof(ring0_stack));
#else
    task_state.sp0 = (word)(ring0_stack + sizeof(ring0_stack));
    task_state.ss0 = SELECTOR_DATA;
#endif
    task_state.io_map = sizeof(task_state);
    __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
}

/* Called by runtime/start.S. */
void runtime_main(void);
void runtime_main(void)
{
    for (unsigned vector = 0; vector < VECTOR_COUNT; vector++) {
        bool for_user = vector == TRAP_BP || vector == TRAP_OF || vector == VECTOR_USER_EXIT;
        trap_gate(vector, (word)trap_entries[vector], SELECTOR_CODE, for_user ? 0xee : 0x8e, 0);
    }
    traps_load();
    task_register_load();
    guest_main();
    machine_power_off();
}
