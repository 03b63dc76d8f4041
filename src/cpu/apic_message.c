/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt messages between local APICs and from MSI and the IOAPIC: who is meant, and what
 * happens there. Intel SDM vol. 3 §11.6, §11.11. */
#include "cpu/apic_private.h"

struct message {
    uint32_t destination;
    bool logical, level, assert_level;
    bool broadcast_all; /* destination says so for its width */
    unsigned delivery;
    uint8_t vector;
};

/* Logical destination modes: flat and cluster for xAPIC, cluster for x2APIC. Intel SDM vol. 3
 * §11.6.2.2 */
static bool logical_match(const struct local_apic *apic, uint32_t destination)
{
    uint32_t id = apic_logical_id(apic);
    if (apic_x2(apic))
        return id >> 16 == destination >> 16 && id & destination & 0xffff;
    uint32_t mine = id >> 24;
    if (apic->format >> 28 == 0xf)
        return mine & destination & 0xff;
    return mine >> 4 == (destination >> 4 & 0xf) && mine & destination & 0xf;
}

static bool message_match(const struct local_apic *apic, const struct message *message)
{
    if (message->broadcast_all)
        return true;
    return message->logical ? logical_match(apic, message->destination)
                            : apic->vcpu->index == message->destination;
}

static void message_accept(struct local_apic *apic, const struct message *message)
{
    struct vcpu *vcpu = apic->vcpu;
    switch (message->delivery) {
    case DELIVERY_FIXED:
    case DELIVERY_LOWEST:
        apic_inject(apic, message->vector, message->level);
        break;
    case DELIVERY_NMI:
        vcpu_request(vcpu, VCPU_REQUEST_NMI);
        break;
    case DELIVERY_INIT:
        if (message->assert_level || !message->level)
            vcpu_request(vcpu, VCPU_REQUEST_INIT);
        break;
    case DELIVERY_STARTUP:
        vcpu->startup_vector = message->vector;
        vcpu_request(vcpu, VCPU_REQUEST_STARTUP);
        break;
    default: /* SMI and ExtINT by message: nobody here takes them */
        break;
    }
}

/* Lowest priority: any one of those addressed will do; take the one that sleeps, else the first. */
static struct local_apic *lowest_priority(const struct vcpu_group *group,
                                          const struct message *message)
{
    struct local_apic *chosen = NULL;
    for (unsigned i = 0; i < group->count; i++) {
        struct local_apic *apic = group->vcpus[i]->apic;
        if (!message_match(apic, message) || !(apic->spurious & SPURIOUS_ENABLE))
            continue;
        if (!chosen || apic->tpr < chosen->tpr)
            chosen = apic;
    }
    return chosen;
}

static void message_deliver(const struct vcpu_group *group, const struct message *message,
                            const struct local_apic *except)
{
    if (message->delivery == DELIVERY_LOWEST) {
        struct local_apic *apic = lowest_priority(group, message);
        if (apic)
            message_accept(apic, message);
        return;
    }
    for (unsigned i = 0; i < group->count; i++) {
        struct local_apic *apic = group->vcpus[i]->apic;
        if (apic != except && message_match(apic, message))
            message_accept(apic, message);
    }
}

void apic_deliver_message(struct vcpu_group *group, uint64_t address, uint32_t data)
{
    struct message message = {
        .destination = address >> 12 & 0xff,
        .logical = address & BIT(2),
        .delivery = data >> 8 & 7,
        .vector = (uint8_t)data,
        .level = data & BIT(15),
        .assert_level = data & BIT(14),
    };
    message.broadcast_all = message.destination == 0xff;
    message_deliver(group, &message, NULL);
}

void apic_send(struct local_apic *apic, uint32_t command, uint32_t destination)
{
    enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };
    unsigned shorthand = command >> 18 & 3;
    struct message message = {
        .destination = destination,
        .logical = command & BIT(11),
        .delivery = command >> 8 & 7,
        .vector = (uint8_t)command,
        .level = command & BIT(15),
        .assert_level = command & BIT(14),
        .broadcast_all = destination == (apic_x2(apic) ? 0xffffffff : 0xff),
    };
    if (shorthand == SHORTHAND_SELF) {
        message_accept(apic, &message);
        return;
    }
    if (shorthand != SHORTHAND_NONE)
        message.broadcast_all = true;
    message_deliver(apic->vcpu->group, &message, shorthand == SHORTHAND_OTHERS ? apic : NULL);
}
