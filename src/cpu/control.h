/* SPDX-License-Identifier: Apache-2.0 */
/* Control, debug and model-specific registers, CPUID. APM vol. 2 §3, §13, appendix A; vol. 3
 * appendix E. */
#ifndef NACRE_CPU_CONTROL_H
#define NACRE_CPU_CONTROL_H

#include "cpu/vcpu.h"

/* All return false with the exception recorded. They flush the TLB and update the mode as needed.
 * CPL is checked by the caller's instruction. */
bool control_write_cr0(struct vcpu *vcpu, uint64_t value);
bool control_write_cr3(struct vcpu *vcpu, uint64_t value);
bool control_write_cr4(struct vcpu *vcpu, uint64_t value);
bool control_write_cr8(struct vcpu *vcpu, uint64_t value);
bool control_write_xcr0(struct vcpu *vcpu, uint64_t value);
bool control_read_dr(struct vcpu *vcpu, unsigned number, uint64_t *value);
bool control_write_dr(struct vcpu *vcpu, unsigned number, uint64_t value);
/* POPF, SYSRET, IRET ...: changes the bits of mask in RFLAGS and does what a change of IF, TF, AC,
 * VM entails. */
void control_write_rflags(struct vcpu *vcpu, uint64_t value, uint64_t mask);

/* PAE paging reads its four top-level entries when CR3 is loaded. False: #GP recorded. APM vol. 2
 * §5.2.3 */
bool control_load_pdptes(struct vcpu *vcpu);

/* False: no instruction leads to what is in the control registers, EFER, XCR0 and RFLAGS: a state
 * was loaded that is damaged, or of another model. */
bool control_loaded(const struct vcpu *vcpu);

bool msr_read(struct vcpu *vcpu, uint32_t index, uint64_t *value);
bool msr_write(struct vcpu *vcpu, uint32_t index, uint64_t value);

/* EFER bits that the model has. */
uint64_t efer_allowed(const struct cpu_model *model);

/*
 * Guest time-stamp counter now. It ticks once a nanosecond (TSC_HZ), the same on every vcpu, and so
 * does kvmclock: no scaling anywhere, and a guest that moves to another host keeps its frequency.
 */
#define TSC_HZ UINT64_C(1000000000)
uint64_t tsc_read(const struct vcpu *vcpu);
/* clock_monotonic_ns() at which the guest TSC reaches `tsc`. */
uint64_t tsc_deadline_ns(const struct vcpu *vcpu, uint64_t tsc);

struct cpuid_result {
    uint32_t eax, ebx, ecx, edx;
};
struct cpuid_result cpuid_query(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf);

/* Bytes of an XSAVE image that holds these components (XCR0 bits), legacy area and header included.
 */
uint32_t xstate_size(uint64_t components, bool compacted);

/* Where an XSAVE component (2 or more) lies in the standard format, in bytes. False: there is none.
 */
bool xstate_component(unsigned index, uint32_t *offset, uint32_t *size);

/* A named, versioned set of features. Feature words are the raw CPUID registers. */
struct cpu_model {
    const char *name; /* "x86-64-v2" */
    const char *description;
    char vendor[13];
    char brand[49];
    uint32_t signature; /* leaf 1 EAX */
    uint32_t leaf1_ecx, leaf1_edx, leaf7_ebx, leaf7_ecx, leaf7_edx;
    uint32_t leaf80000001_ecx, leaf80000001_edx, leafd1_eax;
    uint32_t leaf80000008_ebx, leaf80000021_eax;
    uint64_t xcr0_supported;
    unsigned physical_address_bits;
    bool kvm_paravirtual; /* offer leaf 0x40000000 */
    bool optional;        /* "host": what the host lacks is left out */
};

/* NULL when there is no such model. */
const struct cpu_model *cpu_model_find(const char *name);
/*
 * The model as this host can run it, in *fitted: engines let the host's units do the vector and bit
 * instructions. -ENOTSUP when the model needs a feature that the host has not.
 */
int cpu_model_fit(const struct cpu_model *model, struct cpu_model *fitted, struct error *error);
/* What hosts differ in: the feature bits of a model that are instructions of the host's. */
#define CPU_HOST_WORDS 4
struct cpu_host_features {
    uint32_t words[CPU_HOST_WORDS];
};
void cpu_model_host_features(const struct cpu_model *model, struct cpu_host_features *features);
/* Leaves of a model that fits this host just these: those a saved machine was made with. -ENOTSUP
 * when it has not all of them. */
int cpu_model_restrict(struct cpu_model *model, const struct cpu_host_features *features,
                       struct error *error);
/* Models by index for --cpu help; NULL past the last. */
const struct cpu_model *cpu_model_at(unsigned index);
/* The name of the next feature the model has; starts with *position 0. NULL: no more. */
const char *cpu_model_feature(const struct cpu_model *model, unsigned *position);
#define CPU_MODEL_DEFAULT "x86-64-v2"

#endif
