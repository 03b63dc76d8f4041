/* SPDX-License-Identifier: Apache-2.0 */
/* The high precision event timer. */
#ifndef NACRE_DEVICE_HPET_H
#define NACRE_DEVICE_HPET_H

#include "base/bits.h"
#include "bus/bus.h"

#define HPET_ADDRESS     UINT64_C(0xfed00000)
#define HPET_TIMER_COUNT 3
/* Low half of the capabilities register, which the ACPI table repeats: Intel, legacy replacement,
 * 64 bits, revision 1. */
#define HPET_ID (UINT64_C(0x8086) << 16 | BIT(15) | BIT(13) | (HPET_TIMER_COUNT - 1) << 8 | 1)

/* The devices whose lines the HPET can take over. */
enum { HPET_LEGACY_PIT, HPET_LEGACY_RTC, HPET_LEGACY_COUNT };

/*
 * Fills legacy[] with the lines that the 8254 and the RTC are to drive instead of GSI 0 and 8. The
 * bus owns the HPET. 0 or -errno with *error.
 */
int hpet_create(struct bus *bus, struct irq_line legacy[HPET_LEGACY_COUNT], struct error *error);

#endif
