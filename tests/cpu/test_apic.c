/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC by its registers: priorities, interrupt messages, pins, MSRs. Intel SDM vol. 3
 * §11. Its timer: test_apic_timer.c. */
#include "bare.h"
#include "cpu/apic_private.h"

enum { SHORTHAND_SELF = 1 << 18, SHORTHAND_ALL = 2 << 18, SHORTHAND_OTHERS = 3 << 18 };
enum { LOGICAL = 1 << 11, ASSERT = 1 << 14, LEVEL = 1 << 15 };
enum { DELIVERY_SHIFT = 8, ICR_MSR = 0x830, SELF_IPI_MSR = 0x83f, ID_MSR = 0x802 };

static unsigned eoi_count;
static uint8_t eoi_vector;

static void probe_eoi(void *opaque, uint8_t vector)
{
    eoi_count++;
    eoi_vector = vector;
}

static struct local_apic *start(void **state)
{
    struct bare *bare = *state;
    eoi_count = 0;
    bare->bus.eoi_sink = probe_eoi;
    for (unsigned i = 0; i < bare->group.count; i++)
        apic_write(bare->group.vcpus[i]->apic, REGISTER_SPURIOUS, SPURIOUS_ENABLE | 0xff);
    return bare->vcpu->apic;
}

static struct local_apic *second(void **state)
{
    return ((struct bare *)*state)->group.vcpus[1]->apic;
}

static bool bit(struct local_apic *apic, unsigned bitmap, unsigned vector)
{
    return apic_read(apic, bitmap + vector / 32 * 16) >> vector % 32 & 1;
}

static void end(struct local_apic *apic)
{
    apic_write(apic, REGISTER_EOI, 0);
}

static void send(struct local_apic *apic, uint32_t destination, uint32_t command)
{
    apic_write(apic, REGISTER_COMMAND_HIGH, destination << 24);
    apic_write(apic, REGISTER_COMMAND, command);
}

static void test_highest_first(void **state)
{
    struct local_apic *apic = start(state);
    assert_false(apic_has_interrupt(apic));
    apic_inject(apic, 0x31, false);
    apic_inject(apic, 0xef, false);
    apic_inject(apic, 0x45, false);
    assert_true(bit(apic, REGISTER_IRR, 0xef));
    assert_int_equal(apic_take_interrupt(apic), 0xef);
    assert_false(bit(apic, REGISTER_IRR, 0xef));
    assert_true(bit(apic, REGISTER_ISR, 0xef));
    assert_int_equal(apic_take_interrupt(apic), -1);
    end(apic);
    assert_false(bit(apic, REGISTER_ISR, 0xef));
    assert_int_equal(apic_take_interrupt(apic), 0x45);
    end(apic);
    assert_int_equal(apic_take_interrupt(apic), 0x31);
}

/* Nesting goes by classes of sixteen vectors. */
static void test_classes(void **state)
{
    struct local_apic *apic = start(state);
    apic_inject(apic, 0x45, false);
    assert_int_equal(apic_take_interrupt(apic), 0x45);
    apic_inject(apic, 0x4f, false); /* the same class waits */
    assert_false(apic_has_interrupt(apic));
    apic_inject(apic, 0x50, false);
    assert_int_equal(apic_take_interrupt(apic), 0x50);
    assert_int_equal(apic_read(apic, REGISTER_PPR), 0x50);
    end(apic);
    assert_int_equal(apic_read(apic, REGISTER_PPR), 0x40);
    assert_false(apic_has_interrupt(apic));
    end(apic);
    assert_int_equal(apic_take_interrupt(apic), 0x4f);
}

static void test_task_priority(void **state)
{
    struct local_apic *apic = start(state);
    apic_write(apic, REGISTER_TPR, 0x53);
    assert_int_equal(apic_read(apic, REGISTER_PPR), 0x53);
    apic_inject(apic, 0x5f, false);
    assert_false(apic_has_interrupt(apic));
    apic_inject(apic, 0x60, false);
    assert_int_equal(apic_take_interrupt(apic), 0x60);
    assert_int_equal(apic_read(apic, REGISTER_PPR), 0x60); /* the higher of the two */
    end(apic);
    apic_write(apic, REGISTER_TPR, 0x40);
    assert_int_equal(apic_take_interrupt(apic), 0x5f);
}

static void test_cr8_is_the_task_priority(void **state)
{
    struct local_apic *apic = start(state);
    apic_write(apic, REGISTER_TPR, 0x75);
    assert_int_equal(apic->vcpu->cr8, 7);
    assert_true(control_write_cr8(apic->vcpu, 9));
    assert_int_equal(apic_read(apic, REGISTER_TPR), 0x90);
}

static void test_disabled_by_software(void **state)
{
    struct local_apic *apic = start(state);
    apic_write(apic, REGISTER_LVT_TIMER, 0x31);
    apic_write(apic, REGISTER_SPURIOUS, 0xff);
    assert_int_equal(apic_read(apic, REGISTER_LVT_TIMER), LVT_MASKED | 0x31);
    apic_inject(apic, 0x45, false);
    assert_false(apic_has_interrupt(apic));
    apic_write(apic, REGISTER_LVT_TIMER, 0x31); /* cannot be unmasked now */
    assert_int_equal(apic_read(apic, REGISTER_LVT_TIMER), LVT_MASKED | 0x31);
    apic_write(apic, REGISTER_SPURIOUS, SPURIOUS_ENABLE | 0xff);
    assert_false(apic_has_interrupt(apic)); /* it was refused, not kept */
}

static void test_level_tells_the_ioapic(void **state)
{
    struct local_apic *apic = start(state);
    apic_inject(apic, 0x45, true);
    apic_inject(apic, 0x55, false);
    assert_true(bit(apic, REGISTER_TMR, 0x45));
    assert_false(bit(apic, REGISTER_TMR, 0x55));
    assert_int_equal(apic_take_interrupt(apic), 0x55);
    end(apic);
    assert_int_equal(eoi_count, 0);
    assert_int_equal(apic_take_interrupt(apic), 0x45);
    end(apic);
    assert_int_equal(eoi_count, 1);
    assert_int_equal(eoi_vector, 0x45);
    end(apic); /* nothing in service */
    assert_int_equal(eoi_count, 1);
}

static void test_illegal_vector(void **state)
{
    struct local_apic *apic = start(state);
    apic_inject(apic, 0x0f, false);
    assert_false(apic_has_interrupt(apic));
    assert_int_equal(apic_read(apic, REGISTER_ERROR), 0);
    apic_write(apic, REGISTER_ERROR, 0); /* a write makes the errors visible */
    assert_int_equal(apic_read(apic, REGISTER_ERROR), ERROR_ILLEGAL_RECEIVED);
    apic_write(apic, REGISTER_ERROR, 0);
    assert_int_equal(apic_read(apic, REGISTER_ERROR), 0);
}

static void test_fixed_ipi(void **state)
{
    struct local_apic *apic = start(state), *other = second(state);
    send(apic, 1, ASSERT | 0x41);
    assert_int_equal(apic_take_interrupt(other), 0x41);
    assert_false(apic_has_interrupt(apic));
    assert_int_equal(apic_read(apic, REGISTER_COMMAND) & COMMAND_BUSY, 0);
    send(apic, 0xff, ASSERT | 0x52);
    assert_int_equal(apic_take_interrupt(apic), 0x52);
    assert_int_equal(apic_take_interrupt(other), 0x52);
    send(apic, 7, ASSERT | 0x63); /* nobody */
    assert_false(apic_has_interrupt(apic) || apic_has_interrupt(other));
}

static void test_shorthands(void **state)
{
    static const struct {
        uint32_t shorthand;
        bool self, others;
    } cases[] = {{SHORTHAND_SELF, true, false},
                 {SHORTHAND_ALL, true, true},
                 {SHORTHAND_OTHERS, false, true}};
    struct local_apic *apic = start(state), *other = second(state);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t vector = (uint8_t)(0x41 + 0x10 * i);
        send(apic, 0, cases[i].shorthand | ASSERT | vector);
        assert_int_equal(apic_take_interrupt(apic), cases[i].self ? vector : -1);
        assert_int_equal(apic_take_interrupt(other), cases[i].others ? vector : -1);
    }
}

static void test_logical_destinations(void **state)
{
    struct local_apic *apic = start(state), *other = second(state);
    apic_write(apic, REGISTER_LOGICAL, 1u << 24);
    apic_write(other, REGISTER_LOGICAL, 2u << 24);
    send(apic, 2, LOGICAL | ASSERT | 0x41);
    assert_int_equal(apic_take_interrupt(apic), -1);
    assert_int_equal(apic_take_interrupt(other), 0x41);
    send(apic, 3, LOGICAL | ASSERT | 0x51);
    assert_int_equal(apic_take_interrupt(apic), 0x51);
    assert_int_equal(apic_take_interrupt(other), 0x51);
    /* Clusters: four bits say which, four bits who in it. */
    apic_write(apic, REGISTER_FORMAT, 0);
    apic_write(other, REGISTER_FORMAT, 0);
    apic_write(apic, REGISTER_LOGICAL, 0x11u << 24);
    apic_write(other, REGISTER_LOGICAL, 0x21u << 24);
    send(apic, 0x21, LOGICAL | ASSERT | 0x61);
    assert_int_equal(apic_take_interrupt(apic), -1);
    assert_int_equal(apic_take_interrupt(other), 0x61);
}

static void test_lowest_priority(void **state)
{
    struct local_apic *apic = start(state), *other = second(state);
    apic_write(apic, REGISTER_LOGICAL, 1u << 24);
    apic_write(other, REGISTER_LOGICAL, 2u << 24);
    apic_write(apic, REGISTER_TPR, 0x20);
    send(apic, 3, LOGICAL | ASSERT | DELIVERY_LOWEST << DELIVERY_SHIFT | 0x41);
    assert_int_equal(apic_take_interrupt(other), 0x41);
    assert_false(apic_has_interrupt(apic));
    apic_write(other, REGISTER_TPR, 0x30);
    send(apic, 3, LOGICAL | ASSERT | DELIVERY_LOWEST << DELIVERY_SHIFT | 0x51);
    assert_int_equal(apic_take_interrupt(apic), 0x51);
}

static void test_nmi_init_startup(void **state)
{
    struct local_apic *apic = start(state), *other = second(state);
    send(apic, 1, DELIVERY_NMI << DELIVERY_SHIFT);
    assert_true(atomic_load(&other->vcpu->requests) & VCPU_REQUEST_NMI);
    send(apic, 1, DELIVERY_INIT << DELIVERY_SHIFT | ASSERT | LEVEL);
    assert_true(atomic_load(&other->vcpu->requests) & VCPU_REQUEST_INIT);
    atomic_store(&other->vcpu->requests, 0);
    send(apic, 1, DELIVERY_INIT << DELIVERY_SHIFT | LEVEL); /* its end: nothing */
    assert_int_equal(atomic_load(&other->vcpu->requests), 0);
    send(apic, 1, DELIVERY_STARTUP << DELIVERY_SHIFT | ASSERT | 0x9a);
    assert_true(atomic_load(&other->vcpu->requests) & VCPU_REQUEST_STARTUP);
    assert_int_equal(other->vcpu->startup_vector, 0x9a);
}

/* A message of a device or of the IOAPIC. */
static void test_messages(void **state)
{
    struct bare *bare = *state;
    struct local_apic *apic = start(state), *other = second(state);
    apic_deliver_message(&bare->group, 0xfee00000 | 1 << 12, 0x41);
    assert_int_equal(apic_take_interrupt(other), 0x41);
    apic_deliver_message(&bare->group, 0xfee00000, LEVEL | ASSERT | 0x45);
    assert_int_equal(apic_take_interrupt(apic), 0x45);
    assert_true(bit(apic, REGISTER_TMR, 0x45));
    apic_write(other, REGISTER_LOGICAL, 2u << 24);
    apic_deliver_message(&bare->group, 0xfee00000 | 2 << 12 | 4, 0x55);
    assert_int_equal(apic_take_interrupt(other), 0x55);
    apic_deliver_message(&bare->group, 0xfee00000 | 0xff << 12, 0x65);
    assert_int_equal(apic_take_interrupt(apic), 0x65);
    assert_int_equal(apic_take_interrupt(other), 0x65);
}

/* The 8259 pair comes in through LINT0 of the boot processor, until its owner says otherwise. */
static void test_lint0(void **state)
{
    struct local_apic *apic = start(state);
    const unsigned lint0 = REGISTER_LVT_TIMER + 16 * LVT_LINT0;
    apic_write(apic, lint0, DELIVERY_EXTINT << DELIVERY_SHIFT);
    assert_true(apic_accepts_extint(apic));
    apic_set_lint0(apic, 0, 1);
    assert_true(atomic_load(&apic->vcpu->extint_level));
    apic_write(apic, lint0, LVT_MASKED | DELIVERY_EXTINT << DELIVERY_SHIFT);
    assert_false(atomic_load(&apic->vcpu->extint_level));
    apic_write(apic, lint0, DELIVERY_EXTINT << DELIVERY_SHIFT);
    assert_true(atomic_load(&apic->vcpu->extint_level));
    apic_set_lint0(apic, 0, 0);
    assert_false(atomic_load(&apic->vcpu->extint_level));
    apic_write(apic, lint0, 0x71); /* as an interrupt of its own */
    apic_set_lint0(apic, 0, 1);
    assert_int_equal(apic_take_interrupt(apic), 0x71);
}

static void test_read_only_registers(void **state)
{
    struct local_apic *apic = start(state), *other = second(state);
    assert_int_equal(apic_read(apic, REGISTER_ID), 0);
    assert_int_equal(apic_read(other, REGISTER_ID), 1 << 24);
    uint32_t version = apic_read(apic, REGISTER_VERSION);
    assert_int_equal(version & 0xff, 0x14);
    assert_int_equal((version >> 16 & 0xff) + 1, LVT_COUNT);
    apic_write(apic, REGISTER_VERSION, 0);
    apic_write(apic, REGISTER_PPR, 0xff);
    apic_write(apic, REGISTER_IRR, 0xffffffff);
    assert_int_equal(apic_read(apic, REGISTER_VERSION), version);
    assert_int_equal(apic_read(apic, REGISTER_PPR), 0);
    assert_false(apic_has_interrupt(apic));
    apic_write(apic, REGISTER_LVT_ERROR, 0xffffffff);
    assert_int_equal(apic_read(apic, REGISTER_LVT_ERROR), 0x100ff);
}

static void test_modes(void **state)
{
    struct local_apic *apic = start(state);
    struct vcpu *vcpu = apic->vcpu;
    const uint64_t base = APIC_DEFAULT_ADDRESS | APIC_BASE_BSP;
    uint64_t value;
    assert_false(apic_msr_read(apic, ID_MSR, &value)); /* not in xAPIC mode */
    assert_false(apic_msr_write(apic, MSR_APIC_BASE, base | APIC_BASE_X2APIC));
    assert_false(apic_msr_write(apic, MSR_APIC_BASE, base | APIC_BASE_ENABLE | 1));
    assert_true(apic_msr_write(apic, MSR_APIC_BASE, base | APIC_BASE_ENABLE | APIC_BASE_X2APIC));
    assert_true(apic_x2(apic));
    assert_false(apic_msr_write(apic, MSR_APIC_BASE, base | APIC_BASE_ENABLE)); /* not back */
    assert_true(apic_msr_write(apic, MSR_APIC_BASE, base));
    apic_inject(apic, 0x45, false);
    assert_false(apic_has_interrupt(apic));
    assert_true(apic_accepts_extint(apic)); /* INTR goes straight in */
    assert_int_equal(vcpu->apic_base, base);
}

static void test_x2apic(void **state)
{
    struct local_apic *apic = start(state), *other = second(state);
    uint64_t value, base = APIC_DEFAULT_ADDRESS | APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    assert_true(apic_msr_write(apic, MSR_APIC_BASE, base | APIC_BASE_BSP));
    assert_true(apic_msr_write(other, MSR_APIC_BASE, base));
    assert_true(apic_msr_read(other, ID_MSR, &value));
    assert_int_equal(value, 1);
    assert_false(apic_msr_write(apic, ID_MSR, 5));
    assert_true(apic_msr_write(apic, ICR_MSR, UINT64_C(1) << 32 | ASSERT | 0x41));
    assert_int_equal(apic_take_interrupt(other), 0x41);
    assert_true(apic_msr_read(apic, ICR_MSR, &value));
    assert_int_equal(value, UINT64_C(1) << 32 | ASSERT | 0x41);
    assert_true(apic_msr_write(apic, ICR_MSR, UINT64_C(2) << 32 | LOGICAL | ASSERT | 0x51));
    assert_int_equal(apic_take_interrupt(other), 0x51); /* logical id: 1 << APIC id */
    assert_true(apic_msr_write(apic, SELF_IPI_MSR, 0x61));
    assert_int_equal(apic_take_interrupt(apic), 0x61);
    assert_false(apic_msr_read(apic, SELF_IPI_MSR, &value));
    assert_false(apic_msr_write(apic, 0x80b, 1)); /* EOI takes only 0 */
    assert_false(apic_msr_write(apic, 0x808, BIT(32)));
    assert_true(apic_msr_write(apic, 0x80b, 0));
}

static void test_reset(void **state)
{
    struct local_apic *apic = start(state), *other = second(state);
    apic_inject(apic, 0x45, false);
    apic_write(apic, REGISTER_TPR, 0x30);
    apic_reset(apic, false);
    apic_reset(other, false);
    assert_false(apic_has_interrupt(apic));
    assert_int_equal(apic_read(apic, REGISTER_SPURIOUS), 0xff);
    assert_int_equal(apic_read(apic, REGISTER_TPR), 0);
    assert_int_equal(apic_read(apic, REGISTER_FORMAT), 0xffffffff);
    assert_int_equal(apic_read(other, REGISTER_LVT_TIMER + 16 * LVT_LINT0), LVT_MASKED);
}

#define APIC_TEST(name) cmocka_unit_test_setup_teardown(name, bare_setup_two, bare_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        APIC_TEST(test_highest_first),
        APIC_TEST(test_classes),
        APIC_TEST(test_task_priority),
        APIC_TEST(test_cr8_is_the_task_priority),
        APIC_TEST(test_disabled_by_software),
        APIC_TEST(test_level_tells_the_ioapic),
        APIC_TEST(test_illegal_vector),
        APIC_TEST(test_fixed_ipi),
        APIC_TEST(test_shorthands),
        APIC_TEST(test_logical_destinations),
        APIC_TEST(test_lowest_priority),
        APIC_TEST(test_nmi_init_startup),
        APIC_TEST(test_messages),
        APIC_TEST(test_lint0),
        APIC_TEST(test_read_only_registers),
        APIC_TEST(test_modes),
        APIC_TEST(test_x2apic),
        APIC_TEST(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
