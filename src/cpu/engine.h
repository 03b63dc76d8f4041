/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine runs guest instructions on a vcpu until something outside the CPU is needed. Port and
 * MMIO accesses are served inside run() by a call into the bus; what comes back is an enum
 * vcpu_exit. Between two calls of run() another engine may take over: a vcpu can have several
 * attached, and all of them hear which code has changed.
 */
#ifndef NACRE_CPU_ENGINE_H
#define NACRE_CPU_ENGINE_H

#include "cpu/vcpu.h"

#include <stdio.h>

struct engine_ops {
    const char *name;    /* "interpret" */
    const char *summary; /* one line for --engine help */
    enum engine_index index;
    /* Per-vcpu state in vcpu->engine_data[index]. */
    int (*create)(struct vcpu *vcpu, struct error *error);
    void (*destroy)(struct vcpu *vcpu);
    enum vcpu_exit (*run)(struct vcpu *vcpu);
    /* Prepares the thread that will call run(), before it is jailed. -errno with *error. Optional:
     * run() does without where nothing is forbidden. */
    int (*thread_start)(struct vcpu *vcpu, struct error *error);
    /* Makes run() look at vcpu->requests soon. Any thread, also while another engine runs.
     * Optional.
     */
    void (*kick)(struct vcpu *vcpu);
    /* Drops code cached from the physical page; ~0: all. Own vcpu's thread, or while it is stopped.
     */
    void (*invalidate)(struct vcpu *vcpu, uint64_t gpa_page);
    /* 0 when this host can run the engine, else -errno with why not. Optional: it always can. */
    int (*probe)(struct error *error);
    /* Prints "name: number" lines. Any thread while the vcpu runs: counters are read with relaxed
     * atomic loads, nothing else is touched. Optional. */
    void (*stats)(struct vcpu *vcpu, FILE *stream);
};

/* What the user asks of engines; the same for all vcpus of a VM. */
struct engine_options {
    uint64_t code_cache_bytes; /* most that translated code may take, all vcpus together */
    uint64_t switch_every;     /* instructions until the next attached engine goes on; 0: never */
    bool perf_map;             /* name translated code in /tmp/perf-PID.map */
};
extern const struct engine_options engine_options_default;
#define CODE_CACHE_DEFAULT MIB(128)
#define CODE_CACHE_MIN     MIB(1)
#define CODE_CACHE_MAX     GIB(1)

extern const struct engine_ops engine_interpret, engine_translate;

/* Every engine in this build, the one to prefer first, NULL-terminated. */
extern const struct engine_ops *const engines[];

/* By name; NULL or "auto": the first that this host can run. NULL with *error. */
const struct engine_ops *engine_choose(const char *name, struct error *error);

/* Creates the engine's state on the vcpu, before its thread starts; the first one attached is the
 * one that runs. -errno with *error. */
int engine_attach(struct vcpu *vcpu, const struct engine_ops *engine, struct error *error);
/* The first, and with switch_every all others that this host can run. -errno with *error. */
int engine_attach_configured(struct vcpu *vcpu, const struct engine_ops *first,
                             struct error *error);
void engine_detach_all(struct vcpu *vcpu);

/* After VCPU_EXIT_SWITCH: the next attached engine goes on, with a new budget of instructions. */
void engine_switch(struct vcpu *vcpu);

/* As the operations of the same name, for all engines attached. */
int engine_thread_start(struct vcpu *vcpu, struct error *error);
void engine_kick(struct vcpu *vcpu);
void engine_invalidate(struct vcpu *vcpu, uint64_t gpa_page);

/* The statistics of the vcpu and its engines, a line each. Any thread. */
void engine_print_stats(struct vcpu *vcpu, FILE *stream);

#endif
