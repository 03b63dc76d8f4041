/* SPDX-License-Identifier: Apache-2.0 */
/* KVM's paravirtual interface as a guest sees it: steal time, PV EOI, the MSRs. Linux
 * Documentation/virt/kvm/x86/msr.rst. */
#include "bare.h"
#include "cpu/apic.h"

#include <time.h>

enum {
    WORD = 0x20000,
    STEAL = 0x20040,
    WALL_CLOCK = 0x4b564d00,
    SYSTEM_TIME = 0x4b564d01,
    STEAL_TIME = 0x4b564d03,
    END_OF_INTERRUPT = 0x4b564d04,
    ENABLE = 1,
    APIC_EOI = 0xb0,
    APIC_PPR = 0xa0,
    APIC_SPURIOUS = 0xf0,
    APIC_ISR = 0x100,
};

static bool in_service(struct vcpu *vcpu, unsigned vector)
{
    return apic_read(vcpu->apic, APIC_ISR + vector / 32 * 16) >> vector % 32 & 1;
}

/* In 64-bit code with interrupts on and PV EOI's word at WORD. */
static struct bare *start(void **state)
{
    struct bare *bare = *state;
    bare_enter_long(bare);
    apic_write(bare->vcpu->apic, APIC_SPURIOUS, 0x1ff);
    bare->vcpu->rflags |= RFLAGS_IF;
    assert_true(msr_write(bare->vcpu, END_OF_INTERRUPT, WORD | ENABLE));
    return bare;
}

/* Takes what waits, and goes on with interrupts on. Returns the handler's vector. */
static int take(struct bare *bare)
{
    bool stop;
    bare->vcpu->rip = CODE;
    bare->vcpu->registers[GPR_RSP] = STACK;
    assert_int_equal(vcpu_service_requests(bare->vcpu, &stop), VCPU_EXIT_NONE);
    bare->vcpu->rflags |= RFLAGS_IF;
    return bare->vcpu->rip == CODE ? -1 : (int)(bare->vcpu->rip - HANDLER) / 16;
}

static void test_features(void **state)
{
    struct bare *bare = *state;
    uint32_t features = cpuid_query(bare->vcpu, 0x40000001, 0).eax;
    assert_true(features & BIT(5) && features & BIT(6));
}

static void test_msrs(void **state)
{
    static const struct {
        uint32_t index;
        uint64_t refused;
    } cases[] = {{STEAL_TIME, STEAL | 2}, {END_OF_INTERRUPT, WORD | 2}, {0x4b564d02, 0}};
    struct bare *bare = *state;
    uint64_t value;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_false(msr_write(bare->vcpu, cases[i].index, cases[i].refused));
        assert_raised(bare->vcpu, VECTOR_GP, 0);
    }
    assert_true(msr_write(bare->vcpu, SYSTEM_TIME, 0x21000 | ENABLE));
    assert_true(msr_read(bare->vcpu, SYSTEM_TIME, &value));
    assert_int_equal(value, 0x21000 | ENABLE);
    assert_int_not_equal(bare_load(bare, 0x21000, 4), 0); /* version */
    assert_true(msr_write(bare->vcpu, WALL_CLOCK, 0x22000));
    assert_true(bare_load(bare, 0x22004, 4) > 1700000000);
}

static void test_eoi_by_word(void **state)
{
    struct bare *bare = start(state);
    apic_inject(bare->vcpu->apic, 0x41, false);
    assert_int_equal(take(bare), 0x41);
    assert_int_equal(bare_load(bare, WORD, 4), 1);
    assert_true(in_service(bare->vcpu, 0x41));
    bare_store(bare, WORD, 0, 4); /* the guest's EOI */
    assert_int_equal(apic_read(bare->vcpu->apic, APIC_PPR), 0);
    assert_false(in_service(bare->vcpu, 0x41));
}

/* One of a lower priority comes as soon as the word is cleared, without anything in between. */
static void test_eoi_lets_next_in(void **state)
{
    struct bare *bare = start(state);
    apic_inject(bare->vcpu->apic, 0x41, false);
    assert_int_equal(take(bare), 0x41);
    bare_store(bare, WORD, 0, 4);
    apic_inject(bare->vcpu->apic, 0x31, false);
    assert_int_equal(take(bare), 0x31);
    assert_false(in_service(bare->vcpu, 0x41));
    assert_true(in_service(bare->vcpu, 0x31));
}

/* While another waits the EOI must be seen at once: the offer is taken back. */
static void test_offer_withdrawn(void **state)
{
    struct bare *bare = start(state);
    apic_inject(bare->vcpu->apic, 0x41, false);
    assert_int_equal(take(bare), 0x41);
    apic_inject(bare->vcpu->apic, 0x31, false);
    assert_int_equal(take(bare), -1);
    assert_int_equal(bare_load(bare, WORD, 4), 0);
    assert_true(in_service(bare->vcpu, 0x41));
    apic_write(bare->vcpu->apic, APIC_EOI, 0);
    assert_int_equal(take(bare), 0x31);
    assert_int_equal(bare_load(bare, WORD, 4), 1);
}

/* A guest may write the register although it need not. */
static void test_plain_eoi(void **state)
{
    struct bare *bare = start(state);
    apic_inject(bare->vcpu->apic, 0x41, false);
    assert_int_equal(take(bare), 0x41);
    apic_write(bare->vcpu->apic, APIC_EOI, 0);
    assert_int_equal(bare_load(bare, WORD, 4), 0);
    assert_false(in_service(bare->vcpu, 0x41));
}

/* The IOAPIC waits for the EOI of a level-triggered interrupt; two at once need theirs, too. */
static void test_not_offered(void **state)
{
    struct bare *bare = start(state);
    apic_inject(bare->vcpu->apic, 0x41, true);
    assert_int_equal(take(bare), 0x41);
    assert_int_equal(bare_load(bare, WORD, 4), 0);
    apic_write(bare->vcpu->apic, APIC_EOI, 0);
    apic_inject(bare->vcpu->apic, 0x51, false);
    apic_inject(bare->vcpu->apic, 0x61, false);
    assert_int_equal(take(bare), 0x61);
    assert_int_equal(bare_load(bare, WORD, 4), 0);
    apic_write(bare->vcpu->apic, APIC_EOI, 0);
    assert_int_equal(take(bare), 0x51);
    assert_int_equal(bare_load(bare, WORD, 4), 1);
    /* Switched off while the offer stands. */
    assert_true(msr_write(bare->vcpu, END_OF_INTERRUPT, 0));
    assert_int_equal(bare_load(bare, WORD, 4), 0);
    assert_true(in_service(bare->vcpu, 0x51));
}

static void test_word_outside_ram(void **state)
{
    struct bare *bare = start(state);
    assert_true(msr_write(bare->vcpu, END_OF_INTERRUPT, GIB(3) | ENABLE));
    apic_inject(bare->vcpu->apic, 0x41, false);
    assert_int_equal(take(bare), 0x41);
    assert_true(in_service(bare->vcpu, 0x41));
}

static void sleep_ms(unsigned milliseconds)
{
    const struct timespec time = {.tv_nsec = (long)milliseconds * 1000000};
    nanosleep(&time, NULL);
}

/* A thread that sleeps anywhere but in vcpu_wait() has been kept from running. */
static void test_steal_time(void **state)
{
    struct bare *bare = start(state);
    assert_true(msr_write(bare->vcpu, STEAL_TIME, STEAL | ENABLE));
    assert_int_equal(bare_load(bare, STEAL, 8), 0);
    apic_inject(bare->vcpu->apic, 0x41, false);
    assert_int_equal(take(bare), 0x41);
    sleep_ms(20);
    apic_inject(bare->vcpu->apic, 0x51, false);
    assert_int_equal(take(bare), 0x51);
    uint64_t stolen = bare_load(bare, STEAL, 8);
    assert_true(stolen >= 15000000);
    assert_int_equal(bare_load(bare, STEAL + 8, 4) % 2, 0); /* version */
    /* What passes while the machine is stopped is not. */
    vcpu_request(bare->vcpu, VCPU_REQUEST_STOP);
    assert_int_equal(take(bare), -1);
    sleep_ms(20);
    apic_inject(bare->vcpu->apic, 0x61, false);
    assert_int_equal(take(bare), 0x61);
    assert_int_equal(bare_load(bare, STEAL, 8), stolen);
}

static void *wake(void *opaque)
{
    sleep_ms(20);
    vcpu_request(opaque, VCPU_REQUEST_STOP);
    return NULL;
}

static void test_halt_is_not_stolen(void **state)
{
    struct bare *bare = start(state);
    pthread_t thread;
    bare->vcpu->run_state = VCPU_HALTED;
    assert_int_equal(pthread_create(&thread, NULL, wake, bare->vcpu), 0);
    vcpu_wait(bare->vcpu);
    pthread_join(thread, NULL);
    assert_true(bare->vcpu->slept_ns >= 15000000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_setup, bare_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_features),        TEST(test_msrs),
        TEST(test_eoi_by_word),     TEST(test_eoi_lets_next_in),
        TEST(test_offer_withdrawn), TEST(test_plain_eoi),
        TEST(test_not_offered),     TEST(test_word_outside_ram),
        TEST(test_steal_time),      TEST(test_halt_is_not_stolen),
    };
    return cmocka_run_group_tests_name("paravirtual", tests, NULL, NULL);
}
