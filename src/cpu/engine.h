/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine runs guest instructions on a vcpu until something outside the CPU is needed. Port and
 * MMIO accesses are served inside run() by a call into the bus; what comes back is an enum
 * vcpu_exit. Between two calls of run() another engine may take over.
 */
#ifndef NACRE_CPU_ENGINE_H
#define NACRE_CPU_ENGINE_H

#include "cpu/vcpu.h"

struct engine_ops {
    const char *name; /* "interpret" */
    /* Per-vcpu state in vcpu->engine_data. */
    int (*create)(struct vcpu *vcpu, struct error *error);
    void (*destroy)(struct vcpu *vcpu);
    enum vcpu_exit (*run)(struct vcpu *vcpu);
    /* Makes run() look at vcpu->requests soon. Any thread. */
    void (*kick)(struct vcpu *vcpu);
    /* Drops code cached from the physical page; ~0: all. Own vcpu's thread. */
    void (*invalidate)(struct vcpu *vcpu, uint64_t gpa_page);
};

extern const struct engine_ops engine_interpret;

/* Every engine in this build, NULL-terminated. */
extern const struct engine_ops *const engines[];

#endif
