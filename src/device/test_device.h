/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_TEST_DEVICE_H
#define NACRE_DEVICE_TEST_DEVICE_H

#include "bus/bus.h"

struct test_device_config {
    /* The guest ends the machine with this number. On a vcpu's thread. */
    void (*ended)(void *opaque, uint32_t number);
    void *opaque;
};

/* The bus owns it. -errno with *error. */
int test_device_create(struct bus *bus, const struct test_device_config *config,
                       struct error *error);

#endif
