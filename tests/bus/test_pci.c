/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI bus through its configuration ports, as a guest sees it. */
#include "bus/pci.h"
#include "device/bridges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define SLOT     3
#define BAR_SIZE 0x1000
#define BAR      0x10
#define COMMAND  0x04
#define MARK     0x5a5a0000u
#define NO_INTX  BIT(10)
#define WANTED   BIT(19) /* interrupt status, in the dword of the command */
#define WIRE     (SLOT & 3)
#define GSI      (PCI_WIRE_GSI + WIRE)

struct fixture {
    struct loop *loop;
    struct memory *memory;
    struct bus bus;
    struct pci_bus *pci;
    struct pci_device device;
    uint32_t levels; /* by GSI */
    unsigned messages;
};

static void probe_gsi(void *opaque, unsigned number, int level)
{
    struct fixture *fixture = opaque;
    fixture->levels = level ? fixture->levels | 1u << number : fixture->levels & ~(1u << number);
}

static void probe_message(void *opaque, uint64_t gpa, uint32_t data)
{
    ((struct fixture *)opaque)->messages++;
}

static uint64_t card_read(void *opaque, uint64_t offset, unsigned size)
{
    return (MARK + offset) & bytes_mask(size);
}

static void card_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static void card_reset(struct device *device)
{
    pci_reset_config((struct pci_device *)device);
}

static void card_destroy(struct device *device)
{
}

static const struct bus_ops card_ops = {card_read, card_write};
static const struct device_ops device_ops = {.reset = card_reset, .destroy = card_destroy};

static int setup(void **state)
{
    struct error error;
    const struct pci_identity identity = {
        .vendor = 0x1234, .device = 0x5678, .class_code = 0x00ff00, .interrupt_pin = 1};
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->loop = loop_create(&error);
    fixture->memory = memory_create(MIB(1), &error);
    if (!fixture->loop || !fixture->memory ||
        bus_init(&fixture->bus, fixture->memory, fixture->loop, NULL, &error) < 0)
        return -1;
    fixture->bus.gsi_sinks[1].set = probe_gsi;
    fixture->bus.gsi_sinks[1].opaque = fixture;
    fixture->bus.message_sink = probe_message;
    fixture->bus.message_opaque = fixture;
    fixture->pci = pci_bus_create(&fixture->bus, &error);
    fixture->device.device =
        (struct device){.name = "card", .ops = &device_ops, .state = &pci_device_state};
    if (!fixture->pci ||
        pci_add_device(fixture->pci, &fixture->device, &identity, SLOT, 0, &error) < 0)
        return -1;
    pci_add_bar(&fixture->device, 0, BUS_MMIO, BAR_SIZE, false, &card_ops, fixture, "card");
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    bus_destroy(&fixture->bus);
    memory_destroy(fixture->memory);
    loop_destroy(fixture->loop);
    free(fixture);
    return 0;
}

static void address(struct fixture *fixture, unsigned slot, unsigned offset)
{
    bus_write(&fixture->bus, BUS_PORT, 0xcf8, BIT(31) | slot << 11 | (offset & 0xfc), 4);
}

static uint32_t config_read(struct fixture *fixture, unsigned offset)
{
    address(fixture, SLOT, offset);
    return (uint32_t)bus_read(&fixture->bus, BUS_PORT, 0xcfc, 4);
}

static void config_write(struct fixture *fixture, unsigned offset, uint32_t value)
{
    address(fixture, SLOT, offset);
    bus_write(&fixture->bus, BUS_PORT, 0xcfc, value, 4);
}

static uint32_t card_at(struct fixture *fixture, uint64_t gpa)
{
    return (uint32_t)bus_read(&fixture->bus, BUS_MMIO, gpa, 4);
}

static void test_identity_cannot_be_written(void **state)
{
    config_write(*state, 0, 0);
    assert_int_equal(config_read(*state, 0), 0x56781234);
}

static void test_empty_slot_reads_as_ones(void **state)
{
    struct fixture *fixture = *state;
    address(fixture, SLOT + 1, 0);
    assert_int_equal(bus_read(&fixture->bus, BUS_PORT, 0xcfc, 4), 0xffffffff);
}

static void test_bar_tells_its_size(void **state)
{
    config_write(*state, BAR, 0xffffffff);
    assert_int_equal(config_read(*state, BAR), ~(BAR_SIZE - 1u));
}

static void test_bar_moves(void **state)
{
    config_write(*state, BAR, 0xd0000000);
    assert_int_equal(card_at(*state, 0xd0000004), 0xffffffff); /* not decoded yet */
    config_write(*state, COMMAND, 2);
    assert_int_equal(card_at(*state, 0xd0000004), MARK + 4);
    config_write(*state, BAR, 0xd0100000);
    assert_int_equal(card_at(*state, 0xd0000004), 0xffffffff);
    assert_int_equal(card_at(*state, 0xd0100008), MARK + 8);
    config_write(*state, COMMAND, 0);
    assert_int_equal(card_at(*state, 0xd0100008), 0xffffffff);
}

static void test_reset_unmaps(void **state)
{
    struct fixture *fixture = *state;
    config_write(fixture, BAR, 0xd0000000);
    config_write(fixture, COMMAND, 2);
    bus_reset_devices(&fixture->bus);
    assert_int_equal(card_at(fixture, 0xd0000000), 0xffffffff);
    assert_int_equal(config_read(fixture, COMMAND) & 7, 0);
}

static void test_resources_are_assigned(void **state)
{
    struct fixture *fixture = *state;
    pci_assign_resources(fixture->pci);
    uint32_t base = config_read(fixture, BAR);
    assert_in_range(base, PCI_MMIO_BASE, PCI_MMIO_END - BAR_SIZE);
    assert_int_equal(card_at(fixture, base), MARK);
    assert_int_equal(config_read(fixture, 0x3c) & 0xff, pci_firmware_irq(SLOT & 3));
}

/* An access across the end of configuration space must stay inside it. */
static void test_access_across_the_end(void **state)
{
    struct fixture *fixture = *state;
    address(fixture, SLOT, 0xfc);
    bus_write(&fixture->bus, BUS_PORT, 0xcff, 0xffffffff, 4);
    assert_int_equal(bus_read(&fixture->bus, BUS_PORT, 0xcff, 4) & 0xff, 0);
    assert_int_equal(config_read(fixture, 0), 0x56781234);
}

static void test_masked_vector_stays_pending(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    assert_int_equal(pci_add_msix(&fixture->device, 1, 2, &error), 0);
    unsigned capability = config_read(fixture, 0x34) & 0xff;
    assert_int_equal(config_read(fixture, capability) & 0xff, 0x11);
    config_write(fixture, capability, BIT(31));
    assert_true(pci_msix_enabled(&fixture->device));
    pci_msix_send(&fixture->device, 1);
    pci_msix_send(&fixture->device, 7); /* there is none */
    assert_int_equal(fixture->device.msix.pending[0], BIT(1));
    pci_msix_destroy(&fixture->device);
}

/* Unmasking sends what was pending, once; a message needs bus mastering. */
static void test_pending_vector_is_sent(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    assert_int_equal(pci_add_msix(&fixture->device, 1, 2, &error), 0);
    config_write(fixture, BAR + 4, 0xd0000000);
    config_write(fixture, COMMAND, 2);
    config_write(fixture, config_read(fixture, 0x34) & 0xff, BIT(31));
    pci_msix_send(&fixture->device, 1);
    bus_write(&fixture->bus, BUS_MMIO, 0xd0000000 + 16 + 12, 0, 4);
    assert_int_equal(fixture->messages, 0);
    config_write(fixture, COMMAND, 6);
    assert_int_equal(fixture->messages, 1);
    assert_int_equal(bus_read(&fixture->bus, BUS_MMIO, 0xd0000000 + 0x800, 8), 0);
    pci_msix_send(&fixture->device, 1);
    assert_int_equal(fixture->messages, 2);
    pci_msix_destroy(&fixture->device);
}

static void test_intx_disable_acts_at_once(void **state)
{
    struct fixture *fixture = *state;
    pci_set_intx(&fixture->device, 1);
    assert_int_equal(fixture->levels, BIT(GSI));
    assert_int_equal(config_read(fixture, COMMAND) & WANTED, WANTED);
    config_write(fixture, COMMAND, NO_INTX);
    assert_int_equal(fixture->levels, 0);
    assert_int_equal(config_read(fixture, COMMAND) & WANTED, WANTED); /* it still asks */
    config_write(fixture, COMMAND, 0);
    assert_int_equal(fixture->levels, BIT(GSI));
    config_write(fixture, COMMAND, NO_INTX);
    pci_set_intx(&fixture->device, 0);
    config_write(fixture, COMMAND, 0);
    assert_int_equal(fixture->levels, 0);
    assert_int_equal(config_read(fixture, COMMAND) & WANTED, 0);
}

/* PIRQRC of the ISA bridge, for guests that use the 8259s. */
static void test_intx_is_routed_to_isa(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    assert_int_equal(bridges_create(fixture->pci, &error), 0);
    bus_reset_devices(&fixture->bus);
    pci_set_intx(&fixture->device, 1);
    assert_int_equal(fixture->levels, BIT(GSI)); /* off after a reset */
    address(fixture, 1, 0x60);
    assert_int_equal(bus_read(&fixture->bus, BUS_PORT, 0xcfc, 4), 0x80808080);
    bus_write(&fixture->bus, BUS_PORT, 0xcfc + WIRE, 5, 1);
    assert_int_equal(fixture->levels, BIT(GSI) | BIT(5));
    bus_write(&fixture->bus, BUS_PORT, 0xcfc + WIRE, 11, 1);
    assert_int_equal(fixture->levels, BIT(GSI) | BIT(11));
    bus_write(&fixture->bus, BUS_PORT, 0xcfc + WIRE, 8, 1); /* no PCI interrupt goes there */
    assert_int_equal(fixture->levels, BIT(GSI));
    bus_write(&fixture->bus, BUS_PORT, 0xcfc, 0x0b0b0b0b, 4); /* shared */
    assert_int_equal(fixture->levels, BIT(GSI) | BIT(11));
    pci_set_intx(&fixture->device, 0);
    assert_int_equal(fixture->levels, 0);
    pci_assign_resources(fixture->pci);
    pci_set_intx(&fixture->device, 1);
    assert_int_equal(fixture->levels, BIT(GSI) | BIT(pci_firmware_irq(WIRE)));
}

#define PCI_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PCI_TEST(test_identity_cannot_be_written),
        PCI_TEST(test_empty_slot_reads_as_ones),
        PCI_TEST(test_bar_tells_its_size),
        PCI_TEST(test_bar_moves),
        PCI_TEST(test_reset_unmaps),
        PCI_TEST(test_resources_are_assigned),
        PCI_TEST(test_access_across_the_end),
        PCI_TEST(test_masked_vector_stays_pending),
        PCI_TEST(test_pending_vector_is_sent),
        PCI_TEST(test_intx_disable_acts_at_once),
        PCI_TEST(test_intx_is_routed_to_isa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
